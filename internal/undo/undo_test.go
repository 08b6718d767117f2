package undo_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/internal/undo"
)

func TestMain(m *testing.M) { testutil.Main(m) }

type key struct{}

func TestUnwind(t *testing.T) {
	cause, second := errors.New("cause"), errors.New("second")
	var done []string
	step := func(u *undo.Stack, name string, err error) {
		u.Push(name, func(ctx context.Context) error {
			done = append(done, name)
			require.NoError(t, ctx.Err(), "the end of the caller's context is not that of the rollback")
			require.Equal(t, "value", ctx.Value(key{}))
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			require.LessOrEqual(t, time.Until(deadline), undo.Timeout)
			return err
		})
	}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	cancel()

	var u undo.Stack
	step(&u, "a", nil)
	step(&u, "b", second)
	step(&u, "c", nil)
	err := u.Unwind(ctx, cause)
	require.Equal(t, []string{"c", "b", "a"}, done)
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, err, second)
	require.EqualError(t, err, "cause\nundo: b: second")

	require.Same(t, cause, u.Unwind(ctx, cause), "nothing is undone twice")
	require.Len(t, done, 3)

	step(&u, "d", nil)
	require.Same(t, cause, u.Unwind(ctx, cause))
	step(&u, "e", nil)
	u.Release()
	require.Same(t, cause, u.Unwind(ctx, cause))
	require.Equal(t, "d", done[len(done)-1])
}
