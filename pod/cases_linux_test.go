package pod_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// must ends a child process of a test.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// decode returns the Spec that a child got as its argument.
func decode(arg string) (spec pod.Spec) {
	must(json.Unmarshal([]byte(arg), &spec))
	return spec
}

func encode(t testing.TB, spec pod.Spec) string {
	t.Helper()
	b, err := json.Marshal(spec)
	require.NoError(t, err)
	return string(b)
}

// The creator makes a pod, starts it, says so, and waits for its end.
var _ = testutil.Child("creator", func(args []string) {
	ctx := context.Background()
	p, err := pod.New(ctx, decode(args[0]))
	must(err)
	must(p.Start(ctx))
	fmt.Println(p.ID())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
})

// TestCase_R13_ExactExitStatus kills the creator of a pod, and has the containers
// end before and after that in all ways there are: another process reads exactly
// how. An exit code of 137 is one thing, SIGKILL another.
func TestCase_R13_ExactExitStatus(t *testing.T) {
	const wait = "while [ ! -f /signs/go ]; do sleep 0.01; done; "
	tests := []struct {
		name   string
		script string
		kill   syscall.Signal // sent from outside
		code   int
		signal syscall.Signal
		reason string
	}{
		{"ended-before", "exit 3", 0, 3, 0, "Error"},
		{"completed", wait + "exit 0", 0, 0, 0, "Completed"},
		{"failed", wait + "exit 42", 0, 42, 0, "Error"},
		{"code-137", wait + "exit 137", 0, 137, 0, "Error"},
		{"code-255", wait + "exit 255", 0, 255, 0, "Error"},
		{"killed", deaf, syscall.SIGKILL, 137, syscall.SIGKILL, "Error"},
		{"own-signal", wait + "kill -ABRT $$; sleep 1", 0, 134, syscall.SIGABRT, "Error"},
		{"hang-up", "sleep 1000", syscall.SIGHUP, 129, syscall.SIGHUP, "Error"},
	}
	ctx := testContext(t)
	cfg := testConfig(t)
	// In a PID namespace of its own, a process cannot kill itself.
	cfg.ShareProcessNamespace = true
	signs := t.TempDir()
	cfg.Volumes = []volume.Volume{{Name: "signs", Source: volume.HostPath{Path: signs}}}
	root := busybox(t)
	spec := pod.Spec{Sandbox: cfg}
	for _, tt := range tests {
		c := sh(tt.name, root, tt.script)
		c.Mounts = []volume.Mount{{Volume: "signs", Path: "/signs", ReadOnly: true}}
		spec.Containers = append(spec.Containers, c)
	}

	creator := testutil.StartChild(t, "creator", encode(t, spec))
	id := creator.ReadLine()
	p, err := pod.Open(ctx, cfg.StateDir, id)
	require.NoError(t, err)
	defer p.Close()
	_, err = container(t, p, "ended-before").Wait(ctx)
	require.NoError(t, err)
	creator.Kill()

	s, err := p.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, pod.PhaseRunning, s.Phase)
	for i, tt := range tests {
		c := s.Containers[i]
		require.Equal(t, tt.name != "ended-before", c.State.Running != nil, "%s", c.Name)
		if tt.kill != 0 {
			require.NoError(t, container(t, p, tt.name).Signal(tt.kill))
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(signs, "go"), nil, 0o600))
	s, err = p.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, pod.PhaseFailed, s.Phase)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.Containers[i].State.Terminated
			require.Equal(t, tt.code, got.ExitCode)
			require.Equal(t, tt.signal, got.Signal)
			require.Equal(t, tt.reason, got.Reason)
			exit, err := container(t, p, tt.name).Wait(ctx)
			require.NoError(t, err)
			require.Equal(t, tt.code, exit.Code)
			require.Equal(t, tt.signal, exit.Signal)
			require.False(t, exit.FinishedAt.Before(exit.StartedAt))
		})
	}
}

// TestCase_R11_Orphans leaves 10,000 orphans to PID 1 of a shared PID namespace,
// in a pod that may not have more than 128 processes, zombies included.
func TestCase_R11_Orphans(t *testing.T) {
	orphans := "10000"
	if testing.Short() {
		orphans = "1000"
	}
	ctx := testContext(t)
	cfg := testConfig(t)
	cfg.ShareProcessNamespace = true
	cfg.Resources = sandbox.Resources{PIDs: 128}
	root := busybox(t)
	parent := sh("parent", root, `i=0; while [ $i -lt `+orphans+` ]; do (: &) || exit 1; i=$((i+1)); done; echo $i`)
	parent.LogPath = filepath.Join(t.TempDir(), "log")
	// The least that runs: it keeps the pod, and is asked in the end.
	witness := sh("witness", root, forever)
	p := newPod(t, cfg, witness, parent)
	require.NoError(t, p.Start(ctx))

	ended := make(chan error, 1)
	orphaner := container(t, p, "parent")
	go func() {
		_, err := orphaner.Wait(ctx)
		ended <- err
	}()
	var most int64
	for done := false; !done; {
		select {
		case err := <-ended:
			require.NoError(t, err)
			done = true
		case <-time.After(5 * time.Millisecond):
		}
		stats, err := p.Sandbox().Stats(ctx)
		require.NoError(t, err)
		most = max(most, stats.PIDs)
	}
	awaitLog(t, parent.LogPath, orphans+"\n")
	require.Less(t, most, int64(100))
	require.Positive(t, most)
	zombies, _ := run(t, container(t, p, "witness"), "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ' Z '")
	require.Equal(t, "0\n", zombies)
}

// TestRemoveFromElsewhere works on a pod with nothing but its ID.
func TestRemoveFromElsewhere(t *testing.T) {
	ctx := testContext(t)
	cfg := testConfig(t)
	spec := pod.Spec{Sandbox: cfg, Containers: []pod.Container{sh("a", busybox(t), forever)}, TerminationGracePeriod: 2 * time.Second}
	creator := testutil.StartChild(t, "creator", encode(t, spec))
	id := creator.ReadLine()
	creator.Kill()

	p, err := pod.Open(ctx, cfg.StateDir, id)
	require.NoError(t, err)
	defer p.Close()
	require.Equal(t, id, p.ID())
	require.Equal(t, spec.Containers, p.Spec().Containers)
	require.NoError(t, command(ctx, p))
	require.NoError(t, p.Stop(ctx))
	s, err := p.Wait(ctx)
	require.NoError(t, err)
	require.Contains(t, []pod.Phase{pod.PhaseSucceeded, pod.PhaseFailed}, s.Phase)
	require.NoError(t, p.Start(ctx), "started again by another than its creator")
	require.NoError(t, pod.Remove(ctx, cfg.StateDir, id))
	require.NoError(t, pod.Remove(ctx, cfg.StateDir, id))
	_, err = pod.Open(ctx, cfg.StateDir, id)
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	require.NotErrorIs(t, err, sandbox.ErrIncomplete)
}
