package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

// What follows is measured beside a floor of bare system calls, and beside other
// runtimes, by the program in bench/.

// benchConfig is a configuration whose state and cgroups are the benchmark's own.
func benchConfig(b *testing.B) sandbox.Config {
	b.Helper()
	testutil.RequireRoot(b)
	// State belongs on tmpfs, as /run is on most machines.
	dir := tmpfs(b)
	cfg := sandbox.Config{
		Name: "bench", StateDir: filepath.Join(dir, "state"), DataDir: filepath.Join(dir, "data"),
		Cgroup: sandbox.Cgroup{Parent: fmt.Sprintf("/barepod-bench-%d", os.Getpid())},
	}
	b.Cleanup(func() {
		require.NoError(b, sandbox.Sweep(context.Background(), cfg.StateDir))
	})
	return cfg
}

// tmpfs mounts one for the time of the benchmark.
func tmpfs(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	require.NoError(b, unix.Mount("bench", dir, "tmpfs", 0, ""))
	b.Cleanup(func() { require.NoError(b, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

func newSandboxB(b *testing.B, cfg sandbox.Config) *sandbox.Sandbox {
	b.Helper()
	sb, err := sandbox.New(context.Background(), cfg)
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, sb.Remove(context.Background()))
		require.NoError(b, sb.Close())
	})
	return sb
}

// BenchmarkNewRemove is a sandbox without volumes.
func BenchmarkNewRemove(b *testing.B) {
	cfg := benchConfig(b)
	ctx := context.Background()
	// The first sandbox of a state directory makes what all share.
	newSandboxB(b, cfg)
	for b.Loop() {
		sb, err := sandbox.New(ctx, cfg)
		require.NoError(b, err)
		require.NoError(b, sb.Remove(ctx))
		require.NoError(b, sb.Close())
	}
}

// BenchmarkStartWait is a container that runs a static program which only exits.
func BenchmarkStartWait(b *testing.B) {
	cfg := benchConfig(b)
	ctx := context.Background()
	root := benchRoot(b)
	sb := newSandboxB(b, cfg)
	for b.Loop() {
		cmd := sb.Command("/true")
		cmd.Rootfs = sandbox.Dir{Path: root}
		p, err := cmd.Start(ctx)
		require.NoError(b, err)
		exit, err := p.Wait(ctx)
		require.NoError(b, err)
		require.True(b, exit.Success())
		b.StopTimer()
		require.NoError(b, p.Close())
		b.StartTimer()
	}
}

func benchRoot(b *testing.B) string {
	b.Helper()
	root := b.TempDir()
	data, err := os.ReadFile(testutil.StaticTrue(b))
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(filepath.Join(root, "true"), data, 0o755))
	return root
}
