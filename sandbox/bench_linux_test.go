package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

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

// BenchmarkNewRemove is a sandbox without volumes, beside a floor of the bare
// system calls that nobody can do without.
func BenchmarkNewRemove(b *testing.B) {
	cfg := benchConfig(b)
	ctx := context.Background()
	// The first sandbox of a state directory makes what all share.
	newSandboxB(b, cfg)
	b.Run("sandbox", func(b *testing.B) {
		for b.Loop() {
			sb, err := sandbox.New(ctx, cfg)
			require.NoError(b, err)
			require.NoError(b, sb.Remove(ctx))
			require.NoError(b, sb.Close())
		}
	})
	b.Run("floor", func(b *testing.B) {
		dir := tmpfs(b)
		for b.Loop() {
			floorNew(b, dir)
		}
	})
}

// floorNew makes a network, IPC, UTS and mount namespace, a tmpfs, a cgroup and
// one pin on a thread that is thrown away, and takes all of it down.
func floorNew(b *testing.B, dir string) {
	b.Helper()
	pin := filepath.Join(dir, "pin")
	group := floorCgroup
	errs := make(chan error, 1)
	go floorThread(errs)
	require.NoError(b, <-errs)
	require.NoError(b, os.Mkdir(group, 0o755))
	require.NoError(b, os.WriteFile(pin, nil, 0o600))
	require.NoError(b, unix.Mount("/proc/self/ns/uts", pin, "", unix.MS_BIND, ""))
	require.NoError(b, unix.Unmount(pin, unix.MNT_DETACH))
	require.NoError(b, os.Remove(pin))
	require.NoError(b, os.Remove(group))
}

func floorThread(errs chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The runtime never ends the first thread: take another one.
		done := make(chan error)
		go floorThread(done)
		errs <- <-done
		runtime.UnlockOSThread()
		return
	}
	err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("floor", "/mnt", "tmpfs", 0, "size=1m")
	}
	errs <- err
}

// floorCgroup is made and removed by the floor: in the hierarchy of the memory
// controller, or the only one.
var floorCgroup = func() string {
	name := fmt.Sprintf("barepod-floor-%d", os.Getpid())
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err == nil {
		return "/sys/fs/cgroup/memory/" + name
	}
	return "/sys/fs/cgroup/" + name
}()

// BenchmarkStartWait is a container that runs a static program which only
// exits, beside a bare clone, mounts and exec of it.
func BenchmarkStartWait(b *testing.B) {
	cfg := benchConfig(b)
	ctx := context.Background()
	root := benchRoot(b)
	sb := newSandboxB(b, cfg)
	b.Run("sandbox", func(b *testing.B) {
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
	})
	b.Run("floor", func(b *testing.B) {
		floor := floorImage(b, root)
		for b.Loop() {
			require.NoError(b, exec.Command(floor).Run())
		}
	})
}

func benchRoot(b *testing.B) string {
	b.Helper()
	root := b.TempDir()
	data, err := os.ReadFile(testutil.StaticTrue(b))
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(filepath.Join(root, "true"), data, 0o755))
	return root
}
