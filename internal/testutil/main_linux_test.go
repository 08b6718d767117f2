package testutil_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
)

// fixture has the tests of a test binary that this one starts leak something.
const fixture = "BAREPOD_TEST_FIXTURE"

func TestMain(m *testing.M) {
	if os.Getenv(fixture) != "" {
		*testutil.SettleTime = 300 * time.Millisecond // it leaks for sure
	}
	testutil.Main(m)
}

var leaks = map[string]struct {
	leak func(t *testing.T)
	want string // in the output
	root bool

	machine bool // is looked for only where this process is alone
}{
	"nothing": {leak: func(*testing.T) {}},
	"descriptor": {leak: func(t *testing.T) {
		_, err := syscall.Open("/dev/zero", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		require.NoError(t, err)
	}, want: "-> /dev/zero"},
	"poller descriptor": {leak: func(t *testing.T) {
		_, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		require.NoError(t, err)
	}, want: "-> anon_inode:[eventpoll]"},
	"goroutine": {leak: func(*testing.T) {
		go func() { select {} }()
	}, want: "select (no cases)"},
	"child": {leak: func(t *testing.T) {
		require.NoError(t, exec.Command("sleep", "8").Start())
	}, want: " sleep (state "},
	"zombie": {leak: func(t *testing.T) {
		cmd := exec.Command("true")
		require.NoError(t, cmd.Start())
		require.NoError(t, unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
	}, want: "(state Z)"},
	"file": {leak: func(t *testing.T) {
		require.NoError(t, os.WriteFile(filepath.Join(os.TempDir(), "forgotten"), nil, 0o600))
	}, want: "/forgotten"},
	"poisoned thread": {leak: poison(unix.CLONE_NEWUTS), want: " with uts uts:[", root: true},
	"unshared working directory": {
		leak: poison(unix.CLONE_FS), want: "with a working directory and umask of its own",
	},
	"mount": {leak: func(t *testing.T) {
		dir, err := os.MkdirTemp("", "")
		require.NoError(t, err)
		require.NoError(t, unix.Mount("none", dir, "tmpfs", 0, ""))
	}, want: "mount of / of tmpfs none on ", root: true},
	"cgroup": {leak: func(t *testing.T) {
		testutil.RequireFeature(t, "cgroup")
		for _, dir := range cgroupsNamed("barepod-testutil") {
			require.NoError(t, os.Mkdir(dir, 0o755))
		}
	}, want: "barepod-testutil", root: true, machine: true},
	"namespace": {leak: func(t *testing.T) {
		testutil.RequireFeature(t, "unshare")
		require.NoError(t, exec.Command("sh", "-c", "unshare --net sleep 2 & sleep 0.1").Run())
	}, want: "namespace net:[", root: true, machine: true},
	"process": {leak: func(t *testing.T) {
		require.NoError(t, testutil.ChildCommand("orphan", testutil.Busybox(t)).Run())
	}, want: "of /memfd:barepod-testutil", machine: true},
}

// It leaves a process that runs from a memory image.
var _ = testutil.Child("orphan", func(args []string) {
	image, err := os.ReadFile(args[0])
	if err != nil {
		panic(err)
	}
	fd, err := unix.MemfdCreate("barepod-testutil", unix.MFD_CLOEXEC)
	if err != nil {
		panic(err)
	}
	if _, err = unix.Write(fd, image); err != nil {
		panic(err)
	}
	if err := (&exec.Cmd{Path: fmt.Sprintf("/proc/self/fd/%d", fd), Args: []string{"sleep", "8"}}).Start(); err != nil {
		panic(err)
	}
})

// poison returns a function that gives a changed thread back to the scheduler.
func poison(flags int) func(t *testing.T) {
	return func(t *testing.T) {
		failed := make(chan error)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if unix.Gettid() == os.Getpid() {
				done := make(chan struct{}) // the first thread shows in another way
				go func() { defer close(done); poison(flags)(t) }()
				<-done
				failed <- nil
				return
			}
			failed <- unix.Unshare(flags)
		}()
		require.NoError(t, <-failed)
	}
}

func cgroupsNamed(name string) []string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(dir + "/cgroup.procs"); err == nil {
			return []string{filepath.Join(dir, name)}
		}
	}
	return []string{filepath.Join("/sys/fs/cgroup/memory", name)}
}

// TestFixture leaks; TestMainReports runs it in another process.
func TestFixture(t *testing.T) {
	name := os.Getenv(fixture)
	if name == "" {
		return // it leaks only in the process that TestMainReports starts
	}
	leaks[name].leak(t)
}

func TestMainReports(t *testing.T) {
	for name, leak := range leaks {
		t.Run(name, func(t *testing.T) {
			if leak.root {
				testutil.RequireRoot(t)
			}
			if name == "process" {
				testutil.Busybox(t)
			}
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestFixture$", "-test.v")
			cmd.Env = append(os.Environ(), fixture+"="+name)
			if leak.machine {
				cmd.Env = append(cmd.Env, "BAREPOD_SHARED_MACHINE=")
			}
			out, err := cmd.CombinedOutput()
			clean(t, string(out))
			if leak.want == "" {
				require.NoError(t, err, "%s", out)
				return
			}
			require.Error(t, err, "%s", out)
			require.Contains(t, string(out), "--- PASS: TestFixture")
			require.Contains(t, string(out), "FAIL: left behind:")
			require.Contains(t, string(out), leak.want)
		})
	}
}

// clean removes what a fixture left, as its output names it.
func clean(t *testing.T, out string) {
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch last := words[len(words)-1]; {
		case words[0] == "mount" && strings.HasPrefix(last, os.TempDir()):
			require.NoError(t, unix.Unmount(last, unix.MNT_DETACH))
			require.NoError(t, os.RemoveAll(filepath.Dir(last)))
		case words[0] == "cgroup" && strings.HasSuffix(last, "/barepod-testutil"):
			require.NoError(t, os.Remove(last))
		case strings.Contains(line, "/memfd:barepod-testutil") || words[0] == "child":
			var pid int
			_, err := fmt.Sscan(words[1], &pid)
			require.NoError(t, err)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func TestLeaksInsideATest(t *testing.T) {
	before := testutil.Snapshot()
	require.Empty(t, testutil.Leaks(before, testutil.Snapshot()))
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.Len(t, testutil.Leaks(before, testutil.Snapshot()), 2)
	require.NoError(t, r.Close())
	require.NoError(t, w.Close())
	testutil.RequireNoLeaks(t, before)
}
