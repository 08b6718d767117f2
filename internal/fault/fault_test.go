package fault_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/fault"
)

func TestSet(t *testing.T) {
	require.NoError(t, fault.Point("a"))
	wanted := errors.New("wanted")
	restore := fault.Set(func(point string) error {
		if point == "b" {
			return wanted
		}
		return nil
	})
	inner := fault.Set(func(string) error { return errors.ErrUnsupported })
	require.ErrorIs(t, fault.Point("a"), errors.ErrUnsupported)
	inner()
	require.NoError(t, fault.Point("a"))
	require.ErrorIs(t, fault.Point("b"), wanted)
	restore()
	require.NoError(t, fault.Point("b"))
}

func BenchmarkPoint(b *testing.B) {
	for b.Loop() {
		_ = fault.Point("a")
	}
}
