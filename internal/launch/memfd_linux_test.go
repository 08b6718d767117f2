package launch_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/testutil"
)

// requireRuns starts a small program and waits for its end.
func requireRuns(t testing.TB, dir string) {
	t.Helper()
	p := build("runs", func(p *launch.Program) { exit(p, launch.Int(11)) })
	run, err := p.Start([3]*os.File{}, dir)
	require.NoError(t, err)
	require.Equal(t, 11, waitFor(t, run.PID()))
	require.NoError(t, run.Close())
}

// Before Linux 6.3 there is no MFD_EXEC.
func TestMemfdBeforeExec(t *testing.T) {
	var asked []int
	launch.ReplaceMemfdCreate(t, func(name string, flags int) (int, error) {
		asked = append(asked, flags)
		if flags&unix.MFD_EXEC != 0 {
			return -1, unix.EINVAL
		}
		return launch.MemfdCreate(name, flags)
	})
	requireRuns(t, "/nonexistent")
	const sealed = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	require.Equal(t, []int{sealed | unix.MFD_EXEC, sealed}, asked)
}

func TestMemfdFails(t *testing.T) {
	launch.ReplaceMemfdCreate(t, func(string, int) (int, error) { return -1, unix.EMFILE })
	_, err := build0().Start([3]*os.File{}, t.TempDir())
	require.EqualError(t, err, "memfd_create: too many open files")
	require.ErrorIs(t, err, unix.EMFILE)
}

// forbidMemfd acts as vm.memfd_noexec=2 does.
func forbidMemfd(t testing.TB) {
	t.Helper()
	launch.ReplaceMemfdCreate(t, func(string, int) (int, error) { return -1, unix.EACCES })
}

func TestMemfdForbidden(t *testing.T) {
	forbidMemfd(t)
	dir := t.TempDir()
	requireRuns(t, dir)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "the file has no name")

	_, err = build0().Start([3]*os.File{}, filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "launch image (vm.memfd_noexec=2 forbids a memfd): open "+dir+"/missing")
}

// execve refuses a file that is open for writing, and every child that is
// forked meanwhile has all our descriptors until it executes something.
func TestMemfdForbiddenTogether(t *testing.T) {
	forbidMemfd(t)
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for range 10 {
				if i%4 == 0 {
					_ = exec.Command("/bin/true").Run() // if there is one
					continue
				}
				run, err := build0().Start([3]*os.File{}, dir)
				if err != nil {
					t.Error(err)
					return
				}
				if err := run.Reap(); err != nil {
					t.Error(err)
				}
				if err := run.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// The process gets a PID namespace of its own, in which it forbids executable
// memfds for good, and a mount namespace for a noexec file system.
var _ = testutil.Child("memfd_noexec", func(args []string) {
	dir := args[0]
	say := func(what string, err error) {
		if err != nil {
			what += ": " + strings.ReplaceAll(err.Error(), dir, "DIR")
		}
		fmt.Println(what)
	}
	say("mount", unix.Mount("tmpfs", dir+"/noexec", "tmpfs", unix.MS_NOEXEC, "size=1m"))
	if err := os.WriteFile("/proc/sys/vm/memfd_noexec", []byte("2"), 0); err != nil {
		say("sysctl", err)
		return
	}
	say("sysctl", nil)
	run, err := build0().Start([3]*os.File{}, dir)
	say("start", err)
	if err == nil {
		say("reap", run.Reap())
		say("close", run.Close())
	}
	_, err = build0().Start([3]*os.File{}, dir+"/noexec")
	say("noexec", err)
})

func TestMemfdNoexecSysctl(t *testing.T) {
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, "memfd_noexec")
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "noexec"), 0o755))
	cmd := testutil.ChildCommand("memfd_noexec", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "mount\nsysctl\nstart\nreap\nclose\n"+
		"noexec: launch image: vm.memfd_noexec=2 forbids a memfd and DIR/noexec is on a file system mounted noexec: permission denied\n", string(out))
}

// The process, an ordinary user's, looks into programs of its own: at two files
// that readers may see (PTRACE_MODE_READ) and one for tracers (PTRACE_MODE_ATTACH).
var _ = testutil.Child("stranger", func(args []string) {
	for _, dumpable := range []bool{true, false} {
		p := build("secret", func(p *launch.Program) {
			if !dumpable {
				p.Call("prctl", launch.Named(unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), launch.Int(0))
			}
			echo(p)
		})
		run, err := p.Start([3]*os.File{}, "/")
		if err == nil {
			err = run.Send([]byte("up?"))
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		proc := filepath.Join("/proc", itoa(run.PID()))
		// Its answer comes when it is as it wants to be.
		fmt.Println(receiveOne(run), os.IsPermission(errOf(os.Readlink(proc+"/exe"))),
			os.IsPermission(errOf(os.ReadDir(proc+"/fd"))), os.IsPermission(errOf(os.Open(proc+"/mem"))))
		_, _ = run.Kill(), run.Close()
	}
})

func errOf[T any](_ T, err error) error { return err }

// A program that has made itself non-dumpable, as all do before anything else,
// is closed to other processes of its user (CVE-2016-9962).
func TestNotDumpable(t *testing.T) {
	cmd := testutil.ChildCommand("stranger")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "up? false false false\nup? true true true\n", string(out))
}
