package pod_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

func TestStartFails(t *testing.T) {
	ctx := testContext(t)
	cfg := testConfig(t)
	root := busybox(t)
	tests := []struct {
		name   string
		broken pod.Container
		field  string
	}{
		{"no program", pod.Container{Rootfs: root, Command: []string{"/bin/none"}}, "Containers[2].Command[0]"},
		{"program not in PATH", pod.Container{Rootfs: root, Command: []string{"none"}}, "Containers[2].Command[0]"},
		{"no root", pod.Container{Rootfs: sandbox.Dir{Path: "/nonexistent/root"}, Command: []string{"/bin/true"}}, "Containers[2].Rootfs.Path"},
		{"no working directory", pod.Container{Rootfs: root, Command: []string{"/bin/true"}, WorkingDir: "/none"}, "Containers[2].WorkingDir"},
		{"log is a directory", pod.Container{Rootfs: root, Command: []string{"/bin/true"}, LogPath: "/proc"}, "Containers[2].LogPath"},
		{"log is a device", pod.Container{Rootfs: root, Command: []string{"/bin/true"}, LogPath: os.DevNull}, "Containers[2].LogPath"},
		{"no directory for the log", pod.Container{Rootfs: root, Command: []string{"/bin/true"}, LogPath: "/nonexistent/log"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.broken.Name = "broken"
			p := newPod(t, cfg, sh("ran-before", root, forever), sh("a", root, forever), tt.broken, sh("after", root, forever))
			require.NoError(t, container(t, p, "ran-before").Start(ctx))

			err := p.Start(ctx)
			var e *pod.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "start", e.Op)
			require.Equal(t, p.ID()+"/broken", e.ID)
			var invalid *sandbox.InvalidError
			require.Equal(t, tt.field != "", errors.As(err, &invalid), "%v", err)
			if tt.field != "" {
				require.Equal(t, tt.field, invalid.Field)
			} else {
				require.ErrorIs(t, err, fs.ErrNotExist)
			}

			s, err := p.Status(ctx)
			require.NoError(t, err)
			require.NotNil(t, s.Containers[0].State.Running, "was not started by this call")
			require.Equal(t, syscall.SIGKILL, s.Containers[1].State.Terminated.Signal)
			require.NotNil(t, s.Containers[2].State.Waiting, "has left nothing")
			require.NotNil(t, s.Containers[3].State.Waiting)
			require.Equal(t, pod.PhasePending, s.Phase)
		})
	}
}

func TestStartTwice(t *testing.T) {
	ctx := testContext(t)
	root := busybox(t)
	p := newPod(t, testConfig(t), sh("a", root, forever), sh("b", root, "exit 0"))
	require.NoError(t, p.Start(ctx))
	_, err := container(t, p, "b").Wait(ctx)
	require.NoError(t, err)
	before, err := p.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, pod.PhaseRunning, before.Phase)

	require.NoError(t, p.Start(ctx))
	after, err := p.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, before.Containers[0], after.Containers[0], "runs on")
	require.Equal(t, 0, before.Containers[1].RestartCount)
	require.Equal(t, 1, after.Containers[1].RestartCount)
	require.ErrorIs(t, container(t, p, "a").Start(ctx), sandbox.ErrExist)
}

func TestStop(t *testing.T) {
	root := busybox(t)
	dir := t.TempDir()
	quit := `trap 'exit 7' QUIT; echo ready; while :; do sleep 0.05; done`
	tests := []struct {
		name       string
		script     string
		signal     string
		grace      time.Duration
		share      bool
		wantCode   int
		wantSignal syscall.Signal
	}{
		{name: "default signal", script: forever},
		{name: "own signal", script: quit, signal: "SIGQUIT", wantCode: 7},
		{name: "kill after grace", script: deaf, grace: 100 * time.Millisecond, wantCode: 137, wantSignal: syscall.SIGKILL},
		{name: "SIGKILL", script: deaf, signal: "SIGKILL", wantCode: 137, wantSignal: syscall.SIGKILL},
		{name: "shared PIDs", script: `sh -c "` + deaf + `" & ` + forever, share: true},
		{name: "shared PIDs, kill after grace", script: deaf, grace: 100 * time.Millisecond, share: true, wantCode: 137, wantSignal: syscall.SIGKILL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := testContext(t)
			cfg := testConfig(t)
			cfg.ShareProcessNamespace = tt.share
			var containers []pod.Container
			for _, name := range []string{"a", "b", "c"} {
				c := sh(name, root, tt.script)
				c.StopSignal = tt.signal
				c.LogPath = filepath.Join(dir, strings.ReplaceAll(tt.name, " ", "-")+"-"+name)
				containers = append(containers, c)
			}
			p := newPodOf(t, pod.Spec{Sandbox: cfg, Containers: containers, TerminationGracePeriod: tt.grace})
			require.NoError(t, p.Stop(ctx), "nothing was started")
			require.NoError(t, p.Start(ctx))
			for _, c := range containers {
				ready := "ready\n"
				if strings.Contains(tt.script, "&") {
					ready += ready
				}
				awaitLog(t, c.LogPath, ready)
			}
			require.NoError(t, p.Stop(ctx))
			require.NoError(t, p.Stop(ctx), "again")
			s, err := p.Status(ctx)
			require.NoError(t, err)
			for _, c := range s.Containers {
				require.Equal(t, tt.wantCode, c.State.Terminated.ExitCode)
				require.Equal(t, tt.wantSignal, c.State.Terminated.Signal)
				stats, err := container(t, p, c.Name).Stats(ctx)
				require.NoError(t, err)
				require.Zero(t, stats.PIDs, "nothing of the container runs any more")
			}
		})
	}
}

// TestStopCancelled has the caller lose patience before the grace period is over.
func TestStopCancelled(t *testing.T) {
	ctx := testContext(t)
	log := filepath.Join(t.TempDir(), "log")
	c := sh("a", busybox(t), deaf)
	c.LogPath = log
	p := newPod(t, testConfig(t), c)
	require.NoError(t, p.Start(ctx))
	awaitLog(t, log, "ready\n")

	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Stop(short), context.DeadlineExceeded)
	s, err := p.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, pod.PhaseRunning, s.Phase)
	_, err = p.Wait(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	require.NoError(t, container(t, p, "a").Kill(ctx))
	s, err = p.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, pod.PhaseFailed, s.Phase)
}

func TestRemoveOfRunning(t *testing.T) {
	ctx := testContext(t)
	cfg := testConfig(t)
	p := newPod(t, cfg, sh("a", busybox(t), deaf))
	require.NoError(t, p.Start(ctx))
	waited := make(chan error, 1)
	go func() {
		_, err := p.Wait(ctx)
		waited <- err
	}()
	require.NoError(t, pod.Remove(ctx, cfg.StateDir, p.ID()))
	if err := <-waited; err != nil {
		require.ErrorIs(t, err, sandbox.ErrNotExist)
	}

	s, err := p.Status(ctx)
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	require.Equal(t, pod.PhaseUnknown, s.Phase)
	_, err = p.Wait(ctx)
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	_, err = container(t, p, "a").Wait(ctx)
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	_, err = container(t, p, "a").Exec("true")
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	require.ErrorIs(t, p.Start(ctx), sandbox.ErrNotExist)
	require.NoError(t, p.Stop(ctx), "nothing runs")
}
