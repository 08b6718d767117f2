package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

// soon is how long the processes of a sandbox with DieWithCreator may outlive it.
const soon = time.Second

// pidfds opens the processes with these numbers; closeAll closes them.
func pidfds(t testing.TB, pids []int) map[int]unix.PollFd {
	t.Helper()
	fds := map[int]unix.PollFd{}
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		require.NoError(t, err)
		fds[pid] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	return fds
}

func closeAll(t testing.TB, processes map[int]unix.PollFd) {
	t.Helper()
	for _, p := range processes {
		require.NoError(t, unix.Close(int(p.Fd)))
	}
}

// running returns how many of the processes have not ended. A PID 1 that has
// given up all it had but waits for the machine's init to reap what was in its
// namespace has: when that comes to it is not in our hands.
func running(t testing.TB, processes map[int]unix.PollFd) int {
	t.Helper()
	n := 0
	for pid, p := range processes {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		polled := []unix.PollFd{p}
		_, err := unix.Poll(polled, 0) // after the look at what may be another one
		require.NoError(t, err)
		if polled[0].Revents&unix.POLLIN == 0 && fields(string(status))["VmSize"] != "" {
			n++
		}
	}
	return n
}

// processesIn lists all processes of a sandbox, in its cgroups or not.
func processesIn(t testing.TB, cfg sandbox.Config) []int {
	t.Helper()
	pids := processesOf(cfg.ID)
	files, err := filepath.Glob("/sys/fs/cgroup/pids" + cfg.Cgroup.Parent + "/" + cfg.ID + "/*/cgroup.procs")
	require.NoError(t, err)
	if len(files) == 0 {
		files, err = filepath.Glob("/sys/fs/cgroup" + cfg.Cgroup.Parent + "/" + cfg.ID + "/*/cgroup.procs")
		require.NoError(t, err)
	}
	for _, file := range files {
		for _, field := range strings.Fields(read(t, file)) {
			pid, err := strconv.Atoi(field)
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

var _ = testutil.Child("creator", func(args []string) {
	p := readPlan(args)
	ctx := context.Background()
	sb := must(sandbox.New(ctx, p.Config))
	// On a thread that ends: a parent-death signal would come at once.
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(done)
		for _, s := range p.Scripts {
			cmd := shell(sb, sandbox.Dir{Path: p.Root}, s[1])
			cmd.Name = s[0]
			proc := must(cmd.Start(ctx))
			must(proc.Exec("/bin/sleep", "1000").Start(ctx))
		}
	}()
	<-done
	runtime.GC()
	fmt.Println("ready")
	line := ""
	_, _ = fmt.Scanln(&line)
	if err := sb.Close(); err != nil {
		panic(err)
	}
	fmt.Println("closed")
	time.Sleep(time.Hour) // a bare select would be a deadlock to a runtime without cgo
})

// creatorPlan has containers whose processes have processes, too.
func creatorPlan(t *testing.T, cfg sandbox.Config) plan {
	t.Helper()
	p := crashPlan(t, "creator", cfg)
	for _, name := range []string{"one", "two"} {
		p.Scripts = append(p.Scripts, [2]string{name, "sleep 1000 & setsid sleep 1000 & trap '' TERM HUP; sleep 1000"})
	}
	return p
}

// requireSleeping waits until n processes of the sandbox sleep: then its shells
// have started what they start.
func requireSleeping(t testing.TB, cfg sandbox.Config, n int) {
	t.Helper()
	require.True(t, testutil.Await(func() bool {
		sleeping := 0
		for _, pid := range processesIn(t, cfg) {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // it may end
			if string(name) == "sleep\n" {
				sleeping++
			}
		}
		return sleeping == n
	}))
}

func TestDieWithCreator(t *testing.T) {
	for _, end := range []string{"killed", "closed"} {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/shared=%t", end, shared), func(t *testing.T) {
				p := creatorPlan(t, sandbox.Config{DieWithCreator: true, ShareProcessNamespace: shared})
				before := testutil.Snapshot()
				child := runPlan(t, "creator", p)
				require.Equal(t, "ready", child.ReadLine())
				requireSleeping(t, p.Config, 8)
				fds := pidfds(t, processesIn(t, p.Config))
				require.GreaterOrEqual(t, len(fds), 2*2+2*3) // keepers, and what they keep
				require.Equal(t, len(fds), running(t, fds))
				if end == "killed" {
					child.Kill()
				} else {
					child.WriteLine("close")
					require.Equal(t, "closed", child.ReadLine())
				}
				require.Eventually(t, func() bool { return running(t, fds) == 0 }, soon, time.Millisecond)
				closeAll(t, fds)
				child.Kill()
				require.True(t, testutil.Await(func() bool {
					require.NoError(t, sandbox.Sweep(t.Context(), p.Config.StateDir))
					_, err := os.Lstat(filepath.Join(p.Config.StateDir, p.Config.ID))
					return os.IsNotExist(err)
				}))
				requireNothingLeft(t, before, p.Config)
			})
		}
	}
}

// All others survive.
func TestSurviveCreator(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%t", shared), func(t *testing.T) {
			p := creatorPlan(t, sandbox.Config{ShareProcessNamespace: shared})
			child := runPlan(t, "creator", p)
			require.Equal(t, "ready", child.ReadLine())
			requireSleeping(t, p.Config, 8)
			fds := pidfds(t, processesIn(t, p.Config))
			child.Kill()
			require.NoError(t, sandbox.Sweep(t.Context(), p.Config.StateDir))
			time.Sleep(50 * time.Millisecond)
			require.Equal(t, len(fds), running(t, fds))
			sb, err := sandbox.Open(t.Context(), p.Config.StateDir, p.Config.ID)
			require.NoError(t, err)
			defer sb.Close()
			one, err := sb.Process(t.Context(), "one")
			require.NoError(t, err)
			defer one.Close()
			require.Equal(t, "here", inside(t, one, "echo here"))
			require.NoError(t, sb.Remove(t.Context()))
			require.Zero(t, running(t, fds))
			closeAll(t, fds)
		})
	}
}
