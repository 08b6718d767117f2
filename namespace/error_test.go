package namespace_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/namespace"
)

func TestErrors(t *testing.T) {
	require.ErrorIs(t, namespace.ErrNotNamespace, fs.ErrInvalid)
	require.ErrorIs(t, namespace.ErrPinned, fs.ErrExist)
	require.NotErrorIs(t, fs.ErrExist, namespace.ErrPinned)
	require.NotErrorIs(t, namespace.ErrPinned, fs.ErrInvalid)

	err := error(&namespace.Error{Op: "enter", Kind: namespace.Net | namespace.UTS, Err: fs.ErrPermission})
	require.EqualError(t, err, "namespace: enter net,uts: permission denied")
	require.ErrorIs(t, err, fs.ErrPermission)
	err = &namespace.Error{Op: "open", Path: "/x", Err: namespace.ErrNotNamespace}
	require.EqualError(t, err, "namespace: open /x: not a namespace")

	err = &namespace.UnsupportedError{Feature: "x", Needs: "y"}
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestPanicError(t *testing.T) {
	cause := errors.New("cause")
	require.ErrorIs(t, &namespace.PanicError{Value: cause}, cause)
	err := &namespace.PanicError{Value: 7, Stack: []byte("main.f()")}
	require.EqualError(t, err, "panic: 7\n\nmain.f()")
	require.NoError(t, err.Unwrap())
}
