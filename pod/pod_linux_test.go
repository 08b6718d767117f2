package pod_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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

	got := p.Spec()
	require.Equal(t, p.ID(), got.Sandbox.ID)
	require.Equal(t, spec.Containers, got.Containers)
	require.Equal(t, spec.TerminationGracePeriod, got.TerminationGracePeriod)
	change := func(s pod.Spec) {
		s.Sandbox.Labels["a"] = "changed"
		s.Containers[0].Name = "changed"
		s.Containers[0].Command[0] = "changed"
		s.Containers[0].Env[0] = "changed"
		s.Containers[0].Rootfs.(sandbox.Overlay).Lower[0] = "changed" //nolint:forcetypeassert // as above
	}
	change(spec)
	change(p.Spec())
	require.Equal(t, got, p.Spec())

	again, err := pod.Open(testContext(t), cfg.StateDir, p.ID())
	require.NoError(t, err)
	require.Equal(t, got, again.Spec())
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
		if point == "pod.done" {
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
