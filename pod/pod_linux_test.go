package pod_test

import (
	"bytes"
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

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

func TestPodLife(t *testing.T) {
	ctx := testContext(t)
	cfg := testConfig(t)
	cfg.Volumes = []volume.Volume{{Name: "site", Source: volume.EmptyDir{Medium: volume.MediumMemory}}}
	root := busybox(t)
	writer := sh("writer", root, `echo "hello from $(hostname)" > /site/new && mv /site/new /site/index`)
	reader := sh("reader", root, `while [ ! -f /site/index ]; do sleep 0.01; done; cat /site/index; exit 3`)
	writer.Mounts = []volume.Mount{{Volume: "site", Path: "/site"}}
	reader.Mounts = []volume.Mount{{Volume: "site", Path: "/site", ReadOnly: true}}
	reader.LogPath = filepath.Join(t.TempDir(), "log")
	p := newPod(t, cfg, reader, writer)

	require.Equal(t, "web", p.Name())
	require.NotEmpty(t, p.ID())
	s, err := p.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, pod.PhasePending, s.Phase)
	require.Equal(t, &pod.Waiting{Reason: pod.ReasonContainerCreating}, s.Containers[0].State.Waiting)
	_, err = p.Wait(ctx)
	require.ErrorIs(t, err, pod.ErrNotStarted)

	require.NoError(t, p.Start(ctx))
	s, err = p.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, pod.PhaseFailed, s.Phase)
	require.Equal(t, p.ID(), s.ID)
	require.Equal(t, "web", s.Name)
	require.Equal(t, "reader", s.Containers[0].Name)
	require.Equal(t, "writer", s.Containers[1].Name)
	first, second := s.Containers[0].State.Terminated, s.Containers[1].State.Terminated
	require.Equal(t, pod.ReasonError, first.Reason)
	require.Equal(t, 3, first.ExitCode)
	require.Equal(t, pod.ReasonCompleted, second.Reason)
	require.Equal(t, 0, second.ExitCode)
	require.True(t, first.FinishedAt.After(first.StartedAt))
	log, err := os.ReadFile(reader.LogPath)
	require.NoError(t, err)
	require.Equal(t, "hello from web\n", string(log))

	require.NoError(t, p.Remove(ctx))
	require.NoError(t, p.Remove(ctx))
	_, err = pod.Open(ctx, cfg.StateDir, p.ID())
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	require.NoError(t, pod.Remove(ctx, cfg.StateDir, p.ID()))
}

func TestSpecIsCopied(t *testing.T) {
	cfg := testConfig(t)
	cfg.Labels = map[string]string{"a": "b"}
	c := sh("a", sandbox.Overlay{Lower: []string{"/x"}}, "true")
	c.Env = []string{"A=b"}
	spec := pod.Spec{Sandbox: cfg, Containers: []pod.Container{c}, TerminationGracePeriod: time.Second}
	p := newPodOf(t, spec)

	want := p.Spec()
	require.Equal(t, p.ID(), want.Sandbox.ID)
	require.Equal(t, spec.Containers, want.Containers)
	require.Equal(t, spec.TerminationGracePeriod, want.TerminationGracePeriod)
	change := func(s pod.Spec) {
		s.Sandbox.Labels["a"] = "changed"
		s.Containers[0].Name = "changed"
		s.Containers[0].Command[0] = "changed"
		s.Containers[0].Env[0] = "changed"
		s.Containers[0].Rootfs.(sandbox.Overlay).Lower[0] = "changed" //nolint:forcetypeassert // as above
	}
	change(spec)
	change(p.Spec())
	require.Equal(t, want, p.Spec())

	again, err := pod.Open(testContext(t), cfg.StateDir, p.ID())
	require.NoError(t, err)
	require.Equal(t, want, again.Spec())
	require.NoError(t, again.Close())
}

func TestNewFails(t *testing.T) {
	ctx := testContext(t)
	cfg := testConfig(t)
	cfg.ID = "taken"
	c := sh("a", sandbox.HostRoot{}, "true")
	p := newPod(t, cfg, c)

	_, err := pod.New(ctx, pod.Spec{Sandbox: cfg, Containers: []pod.Container{c}})
	require.ErrorIs(t, err, sandbox.ErrExist)
	require.ErrorIs(t, err, fs.ErrExist)
	var e *pod.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "taken", e.ID)
	_, err = p.Status(ctx)
	require.NoError(t, err, "the other pod stays")

	cfg.ID = "late"
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err = pod.New(done, pod.Spec{Sandbox: cfg, Containers: []pod.Container{c}})
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, filepath.Join(cfg.StateDir, "late"))

	// What fails last undoes everything.
	boom := errors.New("boom")
	restore := fault.Set(func(point string) error {
		if point == "new.done" {
			return boom
		}
		return nil
	})
	defer restore()
	_, err = pod.New(ctx, pod.Spec{Sandbox: cfg, Containers: []pod.Container{c}})
	require.ErrorIs(t, err, boom)
	require.NoDirExists(t, filepath.Join(cfg.StateDir, "late"))
}

func TestOpenOfNoPod(t *testing.T) {
	ctx := testContext(t)
	cfg := testConfig(t)
	_, err := pod.Open(ctx, cfg.StateDir, "none")
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotErrorIs(t, err, sandbox.ErrIncomplete)

	sb, err := sandbox.New(ctx, cfg)
	require.NoError(t, err)
	defer sb.Close()
	_, err = pod.Open(ctx, cfg.StateDir, sb.ID())
	require.ErrorIs(t, err, sandbox.ErrIncomplete)
	require.NoError(t, pod.Remove(ctx, cfg.StateDir, sb.ID()))
}

func TestList(t *testing.T) {
	cfg := testConfig(t)
	c := sh("a", sandbox.HostRoot{}, "true")
	want := []string{"a", "b", "c"}
	for range pod.List(cfg.StateDir) {
		t.Fatal("there is nothing yet")
	}
	for _, id := range []string{"b", "c", "a"} {
		cfg.ID = id
		newPod(t, cfg, c)
	}
	var got []string
	for id, err := range pod.List(cfg.StateDir) {
		require.NoError(t, err)
		got = append(got, id)
	}
	require.Equal(t, want, got)
}

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
	require.NoError(t, pod.Remove(ctx, cfg.StateDir, p.ID()))
	s, err := p.Status(ctx)
	if err != nil {
		require.Equal(t, pod.PhaseUnknown, s.Phase)
	}
	require.Error(t, p.Start(ctx))
	require.NoError(t, p.Stop(ctx), "nothing runs")
}

func TestLog(t *testing.T) {
	ctx := testContext(t)
	log := filepath.Join(t.TempDir(), "log")
	a := sh("a", busybox(t), `echo out; echo err >&2; cat`)
	a.LogPath = log
	p := newPod(t, testConfig(t), a)
	require.NoError(t, p.Start(ctx))
	_, err := p.Wait(ctx)
	require.NoError(t, err)
	info, err := os.Stat(log)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode())
	require.NoError(t, p.Start(ctx), "again")
	_, err = p.Wait(ctx)
	require.NoError(t, err)
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "out\nerr\nout\nerr\n", string(b), "appended")
	require.NoError(t, p.Remove(ctx))
	require.FileExists(t, log, "is the caller's")
}

// run runs a command in a container and returns what it writes.
func run(t testing.TB, c *pod.ContainerHandle, path string, args ...string) (string, sandbox.Exit) {
	t.Helper()
	cmd, err := c.Exec(path, args...)
	require.NoError(t, err)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	exit, err := cmd.Run(testContext(t))
	require.NoError(t, err)
	return out.String(), exit
}

func TestResources(t *testing.T) {
	testutil.RequireFeature(t, "memory.oom")
	ctx := testContext(t)
	c := sh("hungry", busybox(t), `x=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; while :; do x=$x$x; done`)
	c.Resources = sandbox.Resources{Memory: 16 << 20}
	p := newPod(t, testConfig(t), c)
	require.NoError(t, p.Start(ctx))
	s, err := p.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, pod.PhaseFailed, s.Phase)
	require.Equal(t, pod.ReasonOOMKilled, s.Containers[0].State.Terminated.Reason)
	require.Equal(t, 137, s.Containers[0].State.Terminated.ExitCode)
}
