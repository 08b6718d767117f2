package feature_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/feature"
)

func TestError(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"full", &feature.Error{Feature: "idmapped tmpfs", Needs: "Linux 6.3", Err: syscall.EINVAL}, "idmapped tmpfs: not supported, needs Linux 6.3: invalid argument"},
		{"untried", &feature.Error{Feature: "idmapped tmpfs", Needs: "Linux 6.3"}, "idmapped tmpfs: not supported, needs Linux 6.3"},
		{"bare", &feature.Error{Feature: "idmapped tmpfs"}, "idmapped tmpfs: not supported"},
		{"other system", feature.NeedsLinux("namespaces"), "namespaces: not supported, needs Linux"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.EqualError(t, tt.err, tt.want)
			require.ErrorIs(t, fmt.Errorf("make it: %w", tt.err), errors.ErrUnsupported)
			var e *feature.Error
			require.ErrorAs(t, fmt.Errorf("make it: %w", tt.err), &e)
		})
	}
	require.ErrorIs(t, tests[0].err, syscall.EINVAL)
	require.NotErrorIs(t, tests[1].err, syscall.EINVAL)
}
