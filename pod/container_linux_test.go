package pod_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

func TestContainerNotStarted(t *testing.T) {
	ctx := testContext(t)
	p := newPod(t, testConfig(t), sh("a", sandbox.HostRoot{}, "true"))
	_, err := p.Container("b")
	var invalid *sandbox.InvalidError
	require.ErrorAs(t, err, &invalid)

	c := container(t, p, "a")
	require.Equal(t, "a", c.Name())
	_, err = c.Wait(ctx)
	require.ErrorIs(t, err, pod.ErrNotStarted)
	require.EqualError(t, err, "pod: wait "+p.ID()+"/a: container has not been started")
	_, err = c.Exec("true")
	require.ErrorIs(t, err, os.ErrProcessDone)
	require.ErrorIs(t, c.Signal(syscall.SIGTERM), os.ErrProcessDone)
	_, err = c.Stats(ctx)
	require.ErrorIs(t, err, pod.ErrNotStarted)
	require.NoError(t, c.Stop(ctx))
	require.NoError(t, c.Kill(ctx))
}

func TestContainerEnded(t *testing.T) {
	ctx := testContext(t)
	p := newPod(t, testConfig(t), sh("a", busybox(t), "exit 5"))
	c := container(t, p, "a")
	require.NoError(t, c.Start(ctx))
	for range 2 {
		exit, err := c.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, 5, exit.Code)
	}
	_, err := c.Exec("true")
	require.ErrorIs(t, err, os.ErrProcessDone)
	require.NotErrorIs(t, err, pod.ErrNotStarted)
	require.ErrorIs(t, c.Signal(syscall.SIGTERM), os.ErrProcessDone)
	require.NoError(t, c.Stop(ctx))
	require.NoError(t, c.Kill(ctx))
}

func TestContainerRestart(t *testing.T) {
	ctx := testContext(t)
	cfg := testConfig(t)
	p := newPod(t, cfg, sh("a", busybox(t), "exit 3"))
	c := container(t, p, "a")
	for n := range 3 {
		require.NoError(t, c.Start(ctx))
		_, err := c.Wait(ctx)
		require.NoError(t, err)
		s, err := c.Status(ctx)
		require.NoError(t, err)
		require.Equal(t, n, s.RestartCount)
		require.Equal(t, 3, s.State.Terminated.ExitCode)
	}
	// Another handle knows it, too.
	again, err := pod.Open(ctx, cfg.StateDir, p.ID())
	require.NoError(t, err)
	defer again.Close()
	s, err := again.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, 2, s.Containers[0].RestartCount)
}

// TestRestartFails has a start fail at each of its steps: the container stays
// what it was, and the failed start does not count.
func TestRestartFails(t *testing.T) {
	ctx := testContext(t)
	root := busybox(t)
	var points []string
	restore := fault.Set(func(point string) error {
		points = append(points, point)
		return nil
	})
	p := newPod(t, testConfig(t), sh("a", root, "exit 3"))
	c := container(t, p, "a")
	points = nil
	require.NoError(t, c.Start(ctx))
	restore()
	_, err := c.Wait(ctx)
	require.NoError(t, err)
	before, err := c.Status(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, points)
	for _, point := range points {
		if !strings.HasPrefix(point, "start.") || point == "start.done" {
			continue
		}
		t.Run(point, func(t *testing.T) {
			restore := fault.Set(func(at string) error {
				if at == point {
					return os.ErrDeadlineExceeded
				}
				return nil
			})
			err := c.Start(ctx)
			restore()
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			after, err := c.Status(ctx)
			require.NoError(t, err)
			require.Equal(t, before, after)
			exit, err := c.Wait(ctx)
			require.NoError(t, err)
			require.Equal(t, 3, exit.Code)
		})
	}
	require.NoError(t, c.Start(ctx))
	_, err = c.Wait(ctx)
	require.NoError(t, err)
	after, err := c.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, after.RestartCount)
}

// TestRestartBeforeWaiters starts a container again as soon as it has ended,
// while others still are about to read how.
func TestRestartBeforeWaiters(t *testing.T) {
	ctx := testContext(t)
	p := newPod(t, testConfig(t), sh("a", busybox(t), "sleep 0.05; exit 4"))
	c := container(t, p, "a")
	require.NoError(t, c.Start(ctx))
	for range 5 {
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				exit, err := c.Wait(ctx)
				if err != nil || exit.Code != 4 {
					t.Errorf("%+v, %v", exit, err)
				}
			})
		}
		_, err := c.Wait(ctx)
		require.NoError(t, err)
		require.NoError(t, c.Start(ctx))
		wg.Wait()
	}
	s, err := c.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, 5, s.RestartCount)
}

func TestExec(t *testing.T) {
	ctx := testContext(t)
	a := sh("a", busybox(t), forever)
	a.Env = []string{"PATH=/bin", "GREETING=hello"}
	p := newPod(t, testConfig(t), a)
	require.NoError(t, p.Start(ctx))
	c := container(t, p, "a")

	out, exit := run(t, c, "sh", "-c", `echo $GREETING from $(hostname); exit 6`)
	require.Equal(t, "hello from web\n", out)
	require.Equal(t, 6, exit.Code)
	s, err := p.Status(ctx)
	require.NoError(t, err)
	require.Len(t, s.Containers, 1, "a command is no container")

	// A command goes with its container, not with what made it.
	cmd, err := c.Exec("sleep", "1000")
	require.NoError(t, err)
	proc, err := cmd.Start(ctx)
	require.NoError(t, err)
	defer proc.Close()
	stats, err := c.Stats(ctx)
	require.NoError(t, err)
	require.GreaterOrEqual(t, stats.PIDs, int64(2))
	late, err := c.Exec("true")
	require.NoError(t, err)
	require.NoError(t, c.Stop(ctx))
	exit, err = proc.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
	_, err = late.Start(ctx)
	require.ErrorIs(t, err, os.ErrProcessDone)

	// After a restart Exec means the new process.
	require.NoError(t, c.Start(ctx))
	out, _ = run(t, c, "echo", "again")
	require.Equal(t, "again\n", out)

	require.NoError(t, p.Close())
	_, err = c.Exec("true")
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestSignal(t *testing.T) {
	ctx := testContext(t)
	a := sh("a", busybox(t), `trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done`)
	a.LogPath = filepath.Join(t.TempDir(), "log")
	p := newPod(t, testConfig(t), a)
	c := container(t, p, "a")
	require.NoError(t, c.Start(ctx))
	awaitLog(t, a.LogPath, "ready\n")
	require.NoError(t, c.Signal(syscall.SIGUSR1))
	exit, err := c.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, 9, exit.Code)
	require.Zero(t, exit.Signal)
}

func TestWaitCancelled(t *testing.T) {
	ctx := testContext(t)
	p := newPod(t, testConfig(t), sh("a", busybox(t), forever))
	require.NoError(t, p.Start(ctx))
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err := container(t, p, "a").Wait(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	s, err := p.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, pod.PhaseRunning, s.Phase)
}
