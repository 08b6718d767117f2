package cgroup_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/testutil"
)

// TestSystemd leads two lives of one pod through systemd, in a process of its own. Only the machine's own
// hierarchies will do, as systemd uses them all.
func TestSystemd(t *testing.T) {
	testutil.RequireFeature(t, "systemd")
	if os.Getenv(alone) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestSystemd$", "-test.v")
		cmd.Env = append(os.Environ(), alone+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestSystemd")
		require.NoError(t, exec.Command("systemctl", "stop", "barepodtest.slice").Run())
		return
	}
	h := hosts(t)[0]
	cfg := cgroup.Config{Driver: cgroup.Systemd, Parent: "barepodtest.slice"}
	id := "a-b." + strings.ToLower(rand.Text()[:8])
	ctx := bound(t, time.Minute)

	for range 2 {
		pod, err := h.Create(cfg, id)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, errors.Join(pod.Kill(ctx), pod.Remove(ctx))) })
		require.Equal(t, "/barepodtest.slice/barepodtest-"+strings.ReplaceAll(id, "-", ":")+".slice", pod.Path())
		require.NotEmpty(t, dirs(h, pod.Path()))
		_, err = h.Create(cfg, id)
		require.ErrorIs(t, err, fs.ErrExist)
		require.NoError(t, pod.Set(cgroup.Resources{Memory: 64 << 20, PIDs: 50, CPU: 0.125, CPUWeight: 50}))
		require.Contains(t, []string{"13000", "13000 100000"}, shows(t, h, pod, "cpu.max", "cpu.cfs_quota_us"))
		require.NoError(t, pod.Set(cgroup.Resources{Memory: 64 << 20}))
		require.Equal(t, "max", shows(t, h, pod, "pids.max"))
		require.ErrorIs(t, pod.Adopt(os.Getpid()), errors.ErrUnsupported)

		_, err = pod.Keepers()
		require.ErrorIs(t, err, errors.ErrUnsupported)

		ctr, err := h.Create(cfg, id, "c-1")
		require.NoError(t, err)
		j, err := ctr.Join()
		require.NoError(t, err)
		require.Nil(t, j.Dir)
		keeper := exec.Command("/bin/sleep", "60")
		require.NoError(t, keeper.Start())
		require.NoError(t, ctr.Adopt(keeper.Process.Pid))
		require.NoError(t, ctr.Set(cgroup.Resources{Memory: 16 << 20, PIDs: 20, CPU: 0.5}))
		child := start(t, ctr, "exec sleep 60")
		second := exec.Command("/bin/sleep", "60")
		require.NoError(t, second.Start())
		require.NoError(t, ctr.Adopt(second.Process.Pid))
		s, err := ctr.Stats()
		require.NoError(t, err)
		require.Equal(t, int64(2), s.PIDs)
		require.Equal(t, int64(16<<20), s.MemoryLimit)
		s, err = pod.Stats()
		require.NoError(t, err)
		require.Equal(t, int64(3), s.PIDs)

		require.NoError(t, pod.Kill(ctx))
		requireKilled(t, child)
		requireKilled(t, second)
		keepers, err := ctr.Keepers()
		require.NoError(t, err)
		populated, err := keepers.Populated()
		require.NoError(t, err)
		require.True(t, populated)
		require.Error(t, ctr.Remove(bound(t, 50*time.Millisecond)), "the keeper is there")
		require.NoError(t, keeper.Process.Signal(syscall.SIGTERM))
		require.Error(t, keeper.Wait())

		require.NoError(t, ctr.Remove(ctx))
		require.NoError(t, ctr.Remove(ctx))

		// A further life of the container.
		ctr, err = h.Create(cfg, id, "c-1")
		require.NoError(t, err)
		child = exec.Command("/bin/sleep", "60")
		require.NoError(t, child.Start())
		require.NoError(t, ctr.Adopt(child.Process.Pid))
		require.NoError(t, child.Process.Kill())
		requireKilled(t, child)

		require.NoError(t, pod.Remove(ctx))
		require.NoError(t, pod.Remove(ctx))
		require.Empty(t, dirs(h, pod.Path()))
	}
	require.NoError(t, h.RemoveParent(cfg))
}
