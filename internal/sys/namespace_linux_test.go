package sys_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
)

// TestProcessNamespace opens each kind in both ways that there are.
func TestProcessNamespace(t *testing.T) {
	pidfd, err := sys.PidfdOpen(os.Getpid())
	require.NoError(t, err)
	defer pidfd.Close()
	for _, name := range []string{"mnt", "uts", "ipc", "user", "pid", "net", "cgroup", "time"} {
		t.Run(name, func(t *testing.T) {
			link, err := os.Readlink("/proc/self/ns/" + name)
			require.NoError(t, err)
			byProc, err := sys.ProcNamespace(pidfd, name)
			require.NoError(t, err)
			defer byProc.Close()
			got, err := os.Readlink(sys.ProcPath(byProc))
			require.NoError(t, err)
			require.Equal(t, link, got)

			byPidfd, err := sys.PidfdNamespace(pidfd, name)
			if err != nil {
				require.ErrorIs(t, err, syscall.ENOTTY)
				testutil.LacksFeature(t, "pidfd-namespaces", err)
			}
			defer byPidfd.Close()
			got, err = os.Readlink(sys.ProcPath(byPidfd))
			require.NoError(t, err)
			require.Equal(t, link, got)
			for _, f := range []*os.File{byProc, byPidfd} {
				flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
				require.NoError(t, err)
				require.Equal(t, unix.FD_CLOEXEC, flags&unix.FD_CLOEXEC)
			}
		})
	}
	_, err = sys.PidfdNamespace(pidfd, "bogus")
	require.ErrorIs(t, err, syscall.ENOTTY)
	_, err = sys.ProcNamespace(pidfd, "bogus")
	require.ErrorIs(t, err, syscall.ENOENT)
}

func TestPidfd(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	pidfd, err := sys.PidfdOpen(cmd.Process.Pid)
	require.NoError(t, err)
	defer pidfd.Close()

	pid, err := sys.PidfdPID(pidfd)
	require.NoError(t, err)
	require.Equal(t, cmd.Process.Pid, pid)
	exited, err := sys.PidfdExited(pidfd)
	require.NoError(t, err)
	require.False(t, exited)
	require.NoError(t, sys.PidfdSendSignal(pidfd, 0))

	require.NoError(t, sys.PidfdSendSignal(pidfd, syscall.SIGKILL))
	require.Error(t, cmd.Wait())
	exited, err = sys.PidfdExited(pidfd)
	require.NoError(t, err)
	require.True(t, exited)
	pid, err = sys.PidfdPID(pidfd)
	require.NoError(t, err)
	require.Equal(t, -1, pid)
	require.ErrorIs(t, sys.PidfdSendSignal(pidfd, 0), syscall.ESRCH)
	_, err = sys.ProcNamespace(pidfd, "net")
	require.ErrorIs(t, err, syscall.ESRCH)
	_, err = sys.PidfdNamespace(pidfd, "net")
	require.Error(t, err)

	_, err = sys.PidfdOpen(-1)
	require.ErrorIs(t, err, syscall.EINVAL)
}

func TestNoPidfd(t *testing.T) {
	f, err := os.Open("/dev/null")
	require.NoError(t, err)
	defer f.Close()
	_, err = sys.PidfdPID(f)
	require.ErrorIs(t, err, syscall.EBADF)
	_, err = sys.PidfdNamespace(f, "net")
	require.ErrorIs(t, err, syscall.ENOTTY)
	_, err = sys.ProcNamespace(f, "net")
	require.ErrorIs(t, err, syscall.EBADF)
}

func TestThreadNamespaces(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dir, err := sys.ThreadNamespaces()
	require.NoError(t, err)
	defer dir.Close()
	link, err := os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	name, err := sys.NamespaceNameAt(dir, "net")
	require.NoError(t, err)
	require.Equal(t, link, name)
	_, err = sys.NamespaceNameAt(dir, "bogus")
	require.ErrorIs(t, err, syscall.ENOENT)

	f, err := sys.OpenAt(dir, "net")
	require.NoError(t, err)
	defer f.Close()
	is, err := sys.IsNamespace(f)
	require.NoError(t, err)
	require.True(t, is)
	kind, err := sys.NamespaceKind(f)
	require.NoError(t, err)
	require.Equal(t, unix.CLONE_NEWNET, kind)
	err = sys.Setns(f, unix.CLONE_NEWUTS)
	require.ErrorIs(t, err, syscall.EINVAL, "of another kind than said")
}

func TestFileHandles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	handle, err := sys.OpenPath(nil, path, false)
	require.NoError(t, err)
	defer handle.Close()
	is, err := sys.IsNamespace(handle)
	require.NoError(t, err)
	require.False(t, is)
	root, err := sys.IsMountRoot(handle)
	require.NoError(t, err)
	require.False(t, root)
	proc, err := sys.OpenPath(nil, "/proc", true)
	require.NoError(t, err)
	defer proc.Close()
	root, err = sys.IsMountRoot(proc)
	require.NoError(t, err)
	require.True(t, root)

	f, err := sys.Reopen(handle)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, sys.TryLock(f))
	second, err := os.Open(path)
	require.NoError(t, err)
	defer second.Close()
	require.ErrorIs(t, sys.TryLock(second), syscall.EWOULDBLOCK)

	dup, err := sys.Dup(second)
	require.NoError(t, err)
	require.NoError(t, second.Close())
	_, err = dup.Stat()
	require.NoError(t, err)
	require.NoError(t, dup.Close())
	_, err = sys.Dup(dup)
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = sys.Dup(nil)
	require.ErrorIs(t, err, os.ErrInvalid)
}
