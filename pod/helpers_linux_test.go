package pod_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

// limit bounds the tests' calls: none of them takes nearly as long.
const limit = 2 * time.Minute

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

var configs atomic.Int64

// testConfig returns a configuration whose state, data and cgroups are the test's
// own. When the test ends, all pods there are removed and what they shared, too.
func testConfig(t testing.TB) sandbox.Config {
	t.Helper()
	testutil.RequireRoot(t)
	dir := t.TempDir()
	cfg := sandbox.Config{
		Name: "web", StateDir: filepath.Join(dir, "state"), DataDir: filepath.Join(dir, "data"),
		Cgroup: sandbox.Cgroup{Parent: fmt.Sprintf("/barepod-pod-%d-%d", os.Getpid(), configs.Add(1))},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		for id, err := range pod.List(cfg.StateDir) {
			require.NoError(t, err)
			require.NoError(t, pod.Remove(ctx, cfg.StateDir, id))
		}
		require.NoError(t, sandbox.Sweep(ctx, cfg.StateDir))
	})
	return cfg
}

// busybox returns a root file system of busybox.
func busybox(t testing.TB) sandbox.Rootfs {
	t.Helper()
	testutil.RequireRoot(t) // before the program: nobody else needs it
	dir := testutil.Rootfs(t, testutil.Tree{
		"bin": testutil.Applets("sleep", "cat", "ls", "echo", "kill", "hostname", "true", "grep"),
		"tmp": testutil.Dir().WithMode(0o777 | os.ModeSticky),
	})
	return sandbox.Dir{Path: dir}
}

// sh returns a container that runs a script.
func sh(name string, root sandbox.Rootfs, script string) pod.Container {
	return pod.Container{Name: name, Rootfs: root, Command: []string{"/bin/sh", "-c", script}}
}

// forever is a script that ends with 0 on SIGTERM. It says when it is ready.
const forever = `trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done`

// deaf is a script that ignores SIGTERM.
const deaf = `trap '' TERM; echo ready; while :; do sleep 0.05; done`

// newPod makes a pod that is removed when the test ends.
func newPod(t testing.TB, cfg sandbox.Config, containers ...pod.Container) *pod.Pod {
	t.Helper()
	// A signal that comes before the handler is lost: no 30 s for that.
	return newPodOf(t, pod.Spec{Sandbox: cfg, Containers: containers, TerminationGracePeriod: 2 * time.Second})
}

func newPodOf(t testing.TB, spec pod.Spec) *pod.Pod {
	t.Helper()
	p, err := pod.New(testContext(t), spec)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		require.NoError(t, p.Remove(ctx))
		require.NoError(t, p.Close())
	})
	return p
}

func container(t testing.TB, p *pod.Pod, name string) *pod.ContainerHandle {
	t.Helper()
	c, err := p.Container(name)
	require.NoError(t, err)
	return c
}

// awaitLog waits until a log file has the text.
func awaitLog(t testing.TB, path, text string) {
	t.Helper()
	require.True(t, testutil.Await(func() bool {
		b, err := os.ReadFile(path)
		return err == nil && string(b) == text
	}), "%s must become %q", path, text)
}
