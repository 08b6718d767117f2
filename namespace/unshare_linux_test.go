package namespace_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
)

func TestUnshare(t *testing.T) {
	testutil.RequireRoot(t)
	const kinds = enterable | namespace.Mount
	host, err := os.Hostname()
	require.NoError(t, err)
	set, err := namespace.Unshare(kinds, func() error { return unix.Sethostname([]byte("inside")) })
	require.NoError(t, err)
	defer set.Close()
	require.Equal(t, kinds, set.Kind())
	for kind := range kinds.Kinds() {
		require.False(t, set.Of(kind).Equal(here(t, kind)), "%v", kind)
	}
	require.Nil(t, set.Of(namespace.PID))

	require.NoError(t, set.Do(func() error {
		if name, err := os.Hostname(); err != nil || name != "inside" {
			return errors.Join(err, errors.New("host name is "+name))
		}
		return nil
	}))
	now, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, host, now)
}

// TestUnshareNoProc: the handles are there even if setup hides /proc.
func TestUnshareNoProc(t *testing.T) {
	testutil.RequireRoot(t)
	set, err := namespace.Unshare(namespace.Mount|namespace.UTS, func() error {
		return hideProc()
	})
	require.NoError(t, err)
	require.Len(t, set, 2)
	require.NoError(t, set.Close())
}

// hideProc unmounts /proc in the calling thread's new mount namespace.
func hideProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Unmount("/proc", unix.MNT_DETACH); err != nil {
		return err
	}
	if _, err := os.Stat("/proc/self"); !errors.Is(err, fs.ErrNotExist) {
		return errors.New("/proc is still there")
	}
	return nil
}

func TestUnshareRefused(t *testing.T) {
	tests := []struct {
		name  string
		kinds namespace.Kind
		want  string
		is    error
	}{
		{"unknown", namespace.Net | 0x200, "namespace: unshare: unknown kind 0x200: invalid argument", fs.ErrInvalid},
		{"user", namespace.Net | namespace.User, "namespace: unshare user,net: making a user namespace: not supported, needs a process with a single thread, which no Go program is", errors.ErrUnsupported},
		{"pid", namespace.PID, "namespace: unshare pid: making a PID namespace: not supported, needs a new process: the namespace begins with its PID 1 and ends with it", errors.ErrUnsupported},
		{"time", namespace.Time, "namespace: unshare time: making a time namespace: not supported, needs a new process: its clocks can be set only until the first one is in it", errors.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := namespace.Unshare(tt.kinds, func() error { t.Error("setup was called"); return nil })
			require.EqualError(t, err, tt.want)
			require.ErrorIs(t, err, tt.is)
			require.Nil(t, set)
		})
	}
}

func TestUnshareUnprivileged(t *testing.T) {
	testutil.RequireFeature(t, "unprivileged")
	_, err := namespace.Unshare(namespace.Net, nil)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.EqualError(t, err, "namespace: unshare net: unshare: operation not permitted")
}

// TestUnshareKeepsNothing: after a failed setup no thread or file holds the
// namespaces; TestMain looks for both in the end.
func TestUnshareKeepsNothing(t *testing.T) {
	testutil.RequireRoot(t)
	before, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	cause := errors.New("cause")
	for range 20 {
		_, err := namespace.Unshare(enterable|namespace.Mount, func() error { return cause })
		require.ErrorIs(t, err, cause)
	}
	after, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	require.Len(t, after, len(before))
}

func BenchmarkUnshare(b *testing.B) {
	for _, kinds := range []namespace.Kind{
		namespace.UTS, namespace.IPC, namespace.Net, namespace.Mount,
		namespace.Net | namespace.IPC | namespace.UTS,
	} {
		b.Run(kinds.String(), func(b *testing.B) {
			testutil.RequireRoot(b)
			for b.Loop() {
				set, err := namespace.Unshare(kinds, nil)
				if err != nil {
					b.Fatal(err)
				}
				if err := set.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
