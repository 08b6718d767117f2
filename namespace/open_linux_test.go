package namespace_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
)

func TestKindValues(t *testing.T) {
	want := map[namespace.Kind]int{
		namespace.Mount: unix.CLONE_NEWNS, namespace.UTS: unix.CLONE_NEWUTS,
		namespace.IPC: unix.CLONE_NEWIPC, namespace.User: unix.CLONE_NEWUSER,
		namespace.PID: unix.CLONE_NEWPID, namespace.Net: unix.CLONE_NEWNET,
		namespace.Cgroup: unix.CLONE_NEWCGROUP, namespace.Time: unix.CLONE_NEWTIME,
	}
	for kind, flag := range want {
		require.Equal(t, flag, int(kind), kind.String())
	}
}

// TestOpenAgree opens each kind in every way and gets the same namespace.
func TestOpenAgree(t *testing.T) {
	pidfd, err := sys.PidfdOpen(os.Getpid())
	require.NoError(t, err)
	defer pidfd.Close()
	for kind := range allKinds.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			path := "/proc/self/ns/" + kind.String()
			link, err := os.Readlink(path)
			require.NoError(t, err)
			byPath, err := namespace.Open(path)
			require.NoError(t, err)
			defer byPath.Close()
			byThread, err := namespace.OfThread(kind)
			require.NoError(t, err)
			defer byThread.Close()
			byProcess, err := namespace.OfProcess(pidfd, kind)
			require.NoError(t, err)
			defer byProcess.Close()
			f, err := os.Open(path)
			require.NoError(t, err)
			byFile, err := namespace.FromFile(f)
			require.NoError(t, err)
			defer byFile.Close()
			require.Same(t, f, byFile.File())

			for _, h := range []*namespace.Handle{byPath, byThread, byProcess, byFile} {
				require.Equal(t, kind, h.Kind())
				require.Equal(t, link, h.String())
				require.Equal(t, byPath.ID(), h.ID())
				require.True(t, h.Equal(byPath))
				flags, err := unix.FcntlInt(h.File().Fd(), unix.F_GETFD, 0)
				require.NoError(t, err)
				require.Equal(t, unix.FD_CLOEXEC, flags&unix.FD_CLOEXEC)
			}
		})
	}
}

func TestEqual(t *testing.T) {
	a, b := unshare(t, namespace.Net|namespace.UTS), unshare(t, namespace.Net)
	require.True(t, a.Of(namespace.Net).Equal(a.Of(namespace.Net)))
	require.False(t, a.Of(namespace.Net).Equal(b.Of(namespace.Net)))
	require.False(t, a.Of(namespace.Net).Equal(a.Of(namespace.UTS)))
	require.False(t, a.Of(namespace.Net).Equal(nil))
	require.NotEqual(t, a.Of(namespace.Net).ID(), b.Of(namespace.Net).ID())
}

func TestOwner(t *testing.T) {
	user, err := here(t, namespace.Net).Owner()
	require.NoError(t, err)
	defer user.Close()
	require.True(t, user.Equal(here(t, namespace.User)))
	if os.Geteuid() == 0 {
		_, err = here(t, namespace.User).Owner()
		require.ErrorIs(t, err, fs.ErrPermission, "the first user namespace has a parent")
	}
}

func TestOpenRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(file("text"), []byte("net:[4026531840]"), 0o600))
	require.NoError(t, os.Symlink("text", file("link")))
	require.NoError(t, os.Symlink("gone", file("dangling")))
	require.NoError(t, os.Symlink("loop", file("loop")))
	require.NoError(t, syscall.Mkfifo(file("fifo"), 0o600))
	ln, err := net.Listen("unix", file("socket"))
	require.NoError(t, err)
	defer ln.Close()
	tests := []struct {
		name, path string
		want       error
	}{
		{"file", file("text"), namespace.ErrNotNamespace},
		{"link to file", file("link"), namespace.ErrNotNamespace},
		{"fifo", file("fifo"), namespace.ErrNotNamespace}, // and no blocking
		{"socket", file("socket"), namespace.ErrNotNamespace},
		{"directory", dir, namespace.ErrNotNamespace},
		{"device", "/dev/null", namespace.ErrNotNamespace},
		{"terminal", "/dev/ptmx", namespace.ErrNotNamespace},
		{"procfs", "/proc/self/status", namespace.ErrNotNamespace},
		{"directory of namespaces", "/proc/self/ns", namespace.ErrNotNamespace},
		{"missing", file("gone"), fs.ErrNotExist},
		{"dangling link", file("dangling"), fs.ErrNotExist},
		{"loop", file("loop"), syscall.ELOOP},
		{"below a file", file("text/x"), syscall.ENOTDIR},
		{"empty path", "", fs.ErrNotExist},
		{"NUL", "/proc/self/ns/net\x00", syscall.EINVAL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := namespace.Open(tt.path)
			require.ErrorIs(t, err, tt.want)
			require.Nil(t, h)
			var e *namespace.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "open", e.Op)
			require.Equal(t, tt.path, e.Path)
		})
	}
}

func TestFromFileRefused(t *testing.T) {
	f, err := os.Open("/dev/null")
	require.NoError(t, err)
	defer f.Close()
	_, err = namespace.FromFile(f)
	require.ErrorIs(t, err, namespace.ErrNotNamespace)
	_, err = f.Stat()
	require.NoError(t, err, "the caller keeps a file that was refused")

	path, err := sys.OpenPath(nil, "/proc/self/ns/net", true)
	require.NoError(t, err)
	defer path.Close()
	_, err = namespace.FromFile(path)
	require.ErrorIs(t, err, syscall.EBADF, "O_PATH")

	require.NoError(t, f.Close())
	_, err = namespace.FromFile(f)
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = namespace.FromFile(nil)
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestOneKindOnly(t *testing.T) {
	pidfd, err := sys.PidfdOpen(os.Getpid())
	require.NoError(t, err)
	defer pidfd.Close()
	for _, kind := range []namespace.Kind{0, 1, namespace.Net | 1, namespace.Net | namespace.UTS} {
		_, err := namespace.OfThread(kind)
		require.ErrorIs(t, err, fs.ErrInvalid)
		_, err = namespace.OfProcess(pidfd, kind)
		require.ErrorIs(t, err, fs.ErrInvalid)
	}
}

func TestOfProcess(t *testing.T) {
	testutil.RequireRoot(t)
	cmd := helper(t, "block")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS}
	pidfd := start(t, cmd)
	for kind := range allKinds.Kinds() {
		h, err := namespace.OfProcess(pidfd, kind)
		require.NoError(t, err)
		own := kind == namespace.Net || kind == namespace.UTS
		require.Equal(t, own, !h.Equal(here(t, kind)), "%v", kind)
		require.NoError(t, h.Close())
	}

	// Ended but not reaped, then reaped.
	require.NoError(t, cmd.Process.Kill())
	require.True(t, testutil.Await(func() bool {
		exited, err := sys.PidfdExited(pidfd)
		return err == nil && exited
	}))
	for kind := range allKinds.Kinds() {
		_, err := namespace.OfProcess(pidfd, kind)
		require.ErrorIs(t, err, os.ErrProcessDone, "%v of a zombie", kind)
	}
	require.Error(t, cmd.Wait())
	_, err := namespace.OfProcess(pidfd, namespace.Net)
	require.ErrorIs(t, err, os.ErrProcessDone)
}

func TestOfProcessNoPidfd(t *testing.T) {
	f, err := os.Open("/dev/null")
	require.NoError(t, err)
	defer f.Close()
	_, err = namespace.OfProcess(f, namespace.Net)
	require.ErrorIs(t, err, syscall.EBADF)
	_, err = namespace.OfProcess(nil, namespace.Net)
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.NotErrorIs(t, err, errors.ErrUnsupported)
}

func TestCloseTwice(t *testing.T) {
	h, err := namespace.OfThread(namespace.Net)
	require.NoError(t, err)
	require.NoError(t, h.Close())
	require.NoError(t, h.Close())
	require.ErrorIs(t, h.Do(func() error { return nil }), fs.ErrClosed)
	require.ErrorIs(t, h.Pin(filepath.Join(t.TempDir(), "net")), fs.ErrClosed)
	_, err = h.Owner()
	require.ErrorIs(t, err, fs.ErrClosed)
}
