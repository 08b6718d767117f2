package state_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/internal/testutil"
)

// oddName is a process name that looks like the end of itself.
var _ = testutil.Child("odd name", func([]string) {
	if err := os.WriteFile("/proc/self/comm", []byte("a) R 1 (x"), 0); err != nil {
		panic(err)
	}
	report(nil)
	await()
})

func TestIdentify(t *testing.T) {
	c := testutil.StartChild(t, "odd name")
	c.ReadLine()
	p, err := state.Identify(c.PID())
	require.NoError(t, err)
	self, err := state.Identify(os.Getpid())
	require.NoError(t, err)
	require.Equal(t, c.PID(), p.PID)
	require.Equal(t, state.BootID(), p.BootID)
	require.NotEmpty(t, p.BootID)
	require.GreaterOrEqual(t, p.StartTime, self.StartTime)
	again, err := state.Identify(c.PID())
	require.NoError(t, err)
	require.Equal(t, p, again)

	pidfd, err := p.Open()
	require.NoError(t, err)
	require.NoError(t, pidfd.Close())
	c.Kill()
	_, err = state.Identify(c.PID())
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestProcOpenRefuses(t *testing.T) {
	self, err := state.Identify(os.Getpid())
	require.NoError(t, err)
	ended := testutil.StartChild(t, "odd name")
	gone, err := state.Identify(ended.PID())
	require.NoError(t, err)
	ended.Kill()
	zombie := testutil.StartChild(t, "odd name")
	undead, err := state.Identify(zombie.PID())
	require.NoError(t, err)
	require.NoError(t, zombie.Process.Kill())
	require.NoError(t, unix.Waitid(unix.P_PID, zombie.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil))

	tests := map[string]state.Proc{
		"gone":              gone,
		"zombie":            undead,
		"another start":     {PID: self.PID, StartTime: self.StartTime + 1, BootID: self.BootID},
		"another boot":      {PID: self.PID, StartTime: self.StartTime, BootID: "00000000-0000-0000-0000-000000000000"},
		"no boot":           {PID: self.PID, StartTime: self.StartTime},
		"nothing":           {},
		"negative":          {PID: -1, BootID: self.BootID},
		"number of a group": {PID: 0, BootID: self.BootID},
	}
	for name, p := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := p.Open()
			require.ErrorIs(t, err, os.ErrProcessDone)
		})
	}
}

// TestCase_R14_PIDReuse has the number of a recorded process given to another.
func TestCase_R14_PIDReuse(t *testing.T) {
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, "ns_last_pid")
	first := exec.Command("sleep", "60")
	require.NoError(t, first.Start())
	recorded, err := state.Identify(first.Process.Pid)
	require.NoError(t, err)
	require.NoError(t, first.Process.Kill())
	require.Error(t, first.Wait())
	time.Sleep(20 * time.Millisecond) // the start time counts in hundredths

	second := takePID(t, recorded.PID)
	now, err := state.Identify(second)
	require.NoError(t, err)
	require.Equal(t, recorded.PID, now.PID)
	_, err = recorded.Open()
	require.ErrorIs(t, err, os.ErrProcessDone)
	pidfd, err := now.Open()
	require.NoError(t, err)
	require.NoError(t, pidfd.Close())
}

// takePID starts a process with this number.
func takePID(t *testing.T, pid int) int {
	t.Helper()
	for range 200 {
		require.NoError(t, os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(fmt.Sprint(pid-1)), 0))
		cmd := exec.Command("sleep", "60")
		require.NoError(t, cmd.Start())
		if cmd.Process.Pid == pid {
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
			return pid
		}
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
	}
	t.Fatal("others were faster to take the number each time")
	return 0
}

func TestWaitPidfd(t *testing.T) {
	kinds := map[string]func(t *testing.T, pid int) *os.File{
		"non-blocking": func(t *testing.T, pid int) *os.File {
			p, err := state.Identify(pid)
			require.NoError(t, err)
			f, err := p.Open()
			require.NoError(t, err)
			return f
		},
		"blocking, as received from another process": func(t *testing.T, pid int) *os.File {
			fd, err := unix.PidfdOpen(pid, 0)
			require.NoError(t, err)
			return os.NewFile(uintptr(fd), "pidfd")
		},
	}
	for name, openPidfd := range kinds {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("sleep", "60")
			require.NoError(t, cmd.Start())
			pidfd := openPidfd(t, cmd.Process.Pid)
			defer pidfd.Close()

			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, state.WaitPidfd(short, pidfd), context.DeadlineExceeded)

			// Many wait; those that give up do not disturb the others.
			before := threadCount(t)
			var waiters, quitters sync.WaitGroup
			gaveUp, giveUp := context.WithCancel(ctx)
			errs := make([]error, 200)
			for i := range len(errs) / 2 {
				waiters.Go(func() { errs[2*i] = state.WaitPidfd(ctx, pidfd) })
				quitters.Go(func() {
					if err := state.WaitPidfd(gaveUp, pidfd); !errors.Is(err, context.Canceled) {
						errs[2*i+1] = fmt.Errorf("gave up with %w", err)
					}
				})
			}
			time.Sleep(50 * time.Millisecond)
			require.Less(t, threadCount(t)-before, 50, "a waiter takes no thread")
			giveUp()
			quitters.Wait()
			require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
			waiters.Wait()
			require.NoError(t, errors.Join(errs...))

			require.NoError(t, state.WaitPidfd(ctx, pidfd), "not reaped by the waiters")
			require.Error(t, cmd.Wait())
			require.NoError(t, state.WaitPidfd(ctx, pidfd), "reaped")
		})
	}
}

func threadCount(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	return len(tasks)
}

func TestWaitPidfdOfClosed(t *testing.T) {
	self, err := state.Identify(os.Getpid())
	require.NoError(t, err)
	pidfd, err := self.Open()
	require.NoError(t, err)
	require.NoError(t, pidfd.Close())
	require.ErrorIs(t, state.WaitPidfd(ctx, pidfd), os.ErrClosed)
}
