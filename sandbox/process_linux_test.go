package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"

	"github.com/barepod/barepod/sandbox"
)

func TestExitCodes(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	for _, code := range []int{0, 1, 2, 7, 100, 126, 127, 128, 129, 137, 143, 254, 255} {
		before := time.Now()
		_, exit := run(t, shell(sb, sandbox.Dir{Path: root}, fmt.Sprint("exit ", code)))
		require.Equal(t, code, exit.Code)
		require.Zero(t, exit.Signal)
		require.Equal(t, code == 0, exit.Success())
		require.False(t, exit.OOMKilled)
		require.False(t, exit.FinishedAt.Before(exit.StartedAt))
		require.WithinRange(t, exit.StartedAt, before.Add(-time.Second), time.Now())
		require.Positive(t, exit.MaxRSS)
	}
}

// TestExitSignals: with and without a core dump.
func TestExitSignals(t *testing.T) {
	root := busyboxRoot(t)
	// In a PID namespace of its own the first process is PID 1, which no signal
	// of its own ends.
	sb := newSandbox(t, sandbox.Config{ShareProcessNamespace: true})
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSEGV, syscall.SIGABRT, syscall.Signal(34), syscall.Signal(64)} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := shell(sb, sandbox.Dir{Path: root}, fmt.Sprintf("kill -%d $$", sig))
			cmd.Dir, cmd.Rlimits = "/tmp", []sandbox.Rlimit{maxCore(t)}
			_, exit := run(t, cmd)
			require.Equal(t, sig, exit.Signal)
			require.Equal(t, 128+int(sig), exit.Code)
			require.False(t, exit.Success())
			// And from outside.
			p := idle(t, sb, sandbox.Dir{Path: root}, "main")
			require.NoError(t, p.Signal(sig))
			require.Equal(t, sig, wait(t, p).Signal)
		})
	}
}

// maxCore lets a process dump its core as far as this one may.
func maxCore(t testing.TB) sandbox.Rlimit {
	t.Helper()
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_CORE, &limit))
	return sandbox.Rlimit{Type: "RLIMIT_CORE", Soft: limit.Max, Hard: limit.Max}
}

func TestSignal(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd := shell(sb, sandbox.Dir{Path: root}, "trap 'exit 9' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.01; done")
	cmd.Stdout = w
	p := start(t, cmd)
	require.NoError(t, w.Close())
	readLine(t, r, "ready\n")
	require.NoError(t, p.Signal(0))
	require.NoError(t, p.Signal(syscall.SIGUSR1))
	readLine(t, r, "usr1\n")
	require.Error(t, p.Signal(syscall.Signal(65)))
	require.NoError(t, p.Signal(syscall.SIGTERM))
	require.Equal(t, 9, wait(t, p).Code)
	err = p.Signal(syscall.SIGTERM)
	require.ErrorIs(t, err, os.ErrProcessDone)
	require.ErrorIs(t, err, sandbox.ErrProcessDone)
	require.NoError(t, p.Kill(t.Context()), "it is dead: that is what was wanted")
}

func readLine(t testing.TB, r *os.File, want string) {
	t.Helper()
	b := make([]byte, len(want))
	_, err := r.Read(b)
	require.NoError(t, err)
	require.Equal(t, want, string(b))
}

// TestKill: all of the container's processes go, and nothing else.
func TestKill(t *testing.T) {
	root := busyboxRoot(t)
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			sb := newSandbox(t, sandbox.Config{ShareProcessNamespace: shared})
			other := idle(t, sb, sandbox.Dir{Path: root}, "other")
			cmd := shell(sb, sandbox.Dir{Path: root}, "trap '' TERM HUP INT; (setsid sleep 1000 &); sleep 1000 & sleep 1000; true")
			cmd.Name = "main"
			p := start(t, cmd)
			more := start(t, p.Exec("/bin/sleep", "1000"))
			require.True(t, testutil.Await(func() bool {
				stats, err := p.Stats(t.Context())
				return err == nil && stats.PIDs == 5
			}))
			require.NoError(t, p.Kill(t.Context()))
			require.Equal(t, syscall.SIGKILL, wait(t, p).Signal)
			require.Equal(t, syscall.SIGKILL, wait(t, more).Signal)
			stats, err := p.Stats(t.Context())
			require.NoError(t, err)
			require.Zero(t, stats.PIDs)
			require.NoError(t, other.Signal(0))
		})
	}
}

// TestWait: any number of waiters, in any handle, before and after the end.
func TestWait(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	cmd := shell(sb, sandbox.Dir{Path: root}, "cat; exit 3")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd.Name, cmd.Stdin = "main", r
	p := start(t, cmd)
	require.NoError(t, r.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = p.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, p.Signal(0), "the end of a context ends no process")

	var wg sync.WaitGroup
	exits := make([]sandbox.Exit, 20)
	for i := range exits {
		wg.Go(func() {
			of := p
			if i%2 == 0 {
				again, err := sb.Process(t.Context(), "main")
				if err != nil {
					return
				}
				defer again.Close()
				of = again
			}
			exits[i], _ = of.Wait(t.Context())
		})
	}
	time.Sleep(20 * time.Millisecond)
	require.NoError(t, w.Close())
	wg.Wait()
	for _, exit := range exits {
		require.Equal(t, 3, exit.Code)
		require.Equal(t, exits[0], exit)
	}
	again, err := sandbox.Open(t.Context(), sb.Config().StateDir, sb.ID())
	require.NoError(t, err)
	defer again.Close()
	late, err := again.Process(t.Context(), "main")
	require.NoError(t, err)
	defer late.Close()
	require.Equal(t, exits[0], wait(t, late))
	require.Equal(t, p.PID(), late.PID())
	require.ErrorIs(t, late.Signal(0), os.ErrProcessDone)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	exit, err := late.Wait(ended)
	require.True(t, err == nil && exit == exits[0] || errors.Is(err, context.Canceled))
}

// TestNames: one running process a name; the next one replaces what the last
// one has left.
func TestNames(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	p := idle(t, sb, sandbox.Dir{Path: root}, "main")
	second := sb.Command("/bin/true")
	second.Name, second.Rootfs = "main", sandbox.Dir{Path: root}
	_, err := second.Start(t.Context())
	require.ErrorIs(t, err, sandbox.ErrExist)
	require.ErrorIs(t, err, fs.ErrExist)
	exec := p.Exec("/bin/true")
	exec.Name = "main"
	_, err = exec.Start(t.Context())
	require.ErrorIs(t, err, fs.ErrExist)
	require.NoError(t, p.Signal(0), "the first one is undisturbed")
	require.NoError(t, p.Kill(t.Context()))
	for code := range 3 {
		cmd := shell(sb, sandbox.Dir{Path: root}, fmt.Sprint("exit ", code))
		cmd.Name = "main"
		next := start(t, cmd)
		require.Equal(t, code, wait(t, next).Code)
	}
	status, err := sb.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, status.Processes, 1)
	require.Equal(t, 2, status.Processes[0].Exit.Code)
	_, err = sb.Process(t.Context(), "none")
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, bad := range []string{"", "..", "a/b", "main/../main", "."} {
		_, err = sb.Process(t.Context(), bad)
		requireField(t, err, "name")
	}
}

// TestUnnamed: a process without a name is forgotten with its handle, one that
// still runs is not.
func TestUnnamed(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	ended, err := shell(sb, sandbox.Dir{Path: root}, "true").Start(t.Context())
	require.NoError(t, err)
	running, err := shell(sb, sandbox.Dir{Path: root}, "sleep 1000").Start(t.Context())
	require.NoError(t, err)
	wait(t, ended)
	for _, p := range []*sandbox.Process{ended, running} {
		require.Regexp(t, "^p-[0-9a-f]{12}$", p.Name())
		require.NoError(t, p.Close())
		require.NoError(t, p.Close())
	}
	_, err = sb.Process(t.Context(), ended.Name())
	require.ErrorIs(t, err, fs.ErrNotExist)
	again, err := sb.Process(t.Context(), running.Name())
	require.NoError(t, err)
	require.NoError(t, again.Kill(t.Context()))
	require.NoError(t, again.Close())
	_, err = ended.Wait(t.Context())
	require.Error(t, err)
	require.Error(t, ended.Signal(0))
	_, err = ended.Exec("/bin/true").Start(t.Context())
	require.Error(t, err)
}

func TestProcessStatus(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	before := time.Now().Add(-time.Second)
	p := idle(t, sb, sandbox.Dir{Path: root}, "main")
	status, err := p.Status()
	require.NoError(t, err)
	require.WithinRange(t, status.StartedAt, before, time.Now())
	status.StartedAt = time.Time{}
	require.Equal(t, sandbox.ProcessStatus{Name: "main", State: sandbox.Running, PID: p.PID()}, status)
	require.NoError(t, p.Kill(t.Context()))
	exit := wait(t, p)
	status, err = p.Status()
	require.NoError(t, err)
	require.Equal(t, sandbox.ProcessStatus{Name: "main", State: sandbox.Exited, PID: p.PID(), StartedAt: exit.StartedAt, Exit: &exit}, status)
}

// TestRunCanceled: the end of the context ends Run, not the process.
func TestRunCanceled(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	cmd := shell(sb, sandbox.Dir{Path: root}, "sleep 1000")
	cmd.Name = "main"
	_, err := cmd.Run(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	p, err := sb.Process(t.Context(), "main")
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Signal(0))
	_, err = shell(sb, sandbox.Dir{Path: root}, "true").Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
