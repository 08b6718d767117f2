package cgroup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/feature"
	"github.com/barepod/barepod/internal/testutil"
)

// shows returns the content of a group's control file, wherever it is.
func shows(t *testing.T, h host, g *cgroup.Group, names ...string) string {
	t.Helper()
	for _, dir := range dirs(h, g.Path()) {
		for _, name := range names {
			if data, err := os.ReadFile(dir + "/" + name); err == nil {
				return strings.TrimSpace(string(data))
			}
		}
	}
	return ""
}

func TestSet(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		pod := newGroup(t, h, cfg, "p")
		ctr := newGroup(t, h, cfg, "p", "c")
		for _, g := range []*cgroup.Group{pod, ctr} {
			require.NoError(t, g.Set(cgroup.Resources{}))
			if !h.has("memory") || !h.has("cpu") || !h.has("pids") {
				continue
			}
			for _, n := range []int64{32 << 20, 16 << 20, 64<<20 + 1} { // down, and up, and not a page
				require.NoError(t, g.Set(cgroup.Resources{Memory: n, PIDs: n >> 20, CPU: float64(n>>20) / 32, CPUWeight: uint64(n >> 20)}))
				s, err := g.Stats()
				require.NoError(t, err)
				require.Equal(t, n&^4095, s.MemoryLimit)
				require.Equal(t, fmt.Sprint(n>>20), shows(t, h, g, "pids.max"))
				quota := fmt.Sprint(100000 * (n >> 20) / 32)
				require.Contains(t, []string{quota, quota + " 100000"}, shows(t, h, g, "cpu.max", "cpu.cfs_quota_us"))
				require.Contains(t, []string{fmt.Sprint(n >> 20), fmt.Sprint(((n>>20)*1024 + 50) / 100)}, shows(t, h, g, "cpu.weight", "cpu.shares"))
				if swap := shows(t, h, g, "memory.swap.max", "memory.memsw.limit_in_bytes"); swap != "" {
					require.Contains(t, []string{"0", fmt.Sprint(n &^ 4095)}, swap)
				}
			}
			require.NoError(t, g.Set(cgroup.Resources{}), "lifts them again")
			s, err := g.Stats()
			require.NoError(t, err)
			require.Zero(t, s.MemoryLimit)
			require.Equal(t, "max", shows(t, h, g, "pids.max"))
			require.Contains(t, []string{"-1", "max 100000"}, shows(t, h, g, "cpu.max", "cpu.cfs_quota_us"))
			require.Contains(t, []string{"100", "1024"}, shows(t, h, g, "cpu.weight", "cpu.shares"))
		}
	})
}

func TestSetErrors(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		g := newGroup(t, h, cfg, "p")
		requireField(t, g.Set(cgroup.Resources{Memory: -1}), "Memory")
		for controller, r := range map[string]cgroup.Resources{
			"cpu": {CPU: 1}, "memory": {Memory: 1 << 20}, "pids": {PIDs: 1},
		} {
			err := g.Set(r)
			if h.has(controller) {
				require.NoError(t, err)
				continue
			}
			var fe *feature.Error
			require.ErrorAs(t, err, &fe)
			require.Equal(t, "the "+controller+" cgroup controller", fe.Needs)
			require.ErrorIs(t, err, errors.ErrUnsupported)
		}
		missing, err := h.Open(cfg, "missing")
		require.NoError(t, err)
		if h.has("memory") {
			require.ErrorIs(t, missing.Set(cgroup.Resources{Memory: 1 << 20}), fs.ErrNotExist)
		}
	})
}

func TestOOM(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		newGroup(t, h, cfg, "p")
		g := newGroup(t, h, cfg, "p", "c")
		if !h.has("memory") {
			_, err := g.OOMKills()
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.Empty(t, g.OOMFile())
			return
		}
		require.NoError(t, g.Set(cgroup.Resources{Memory: 8 << 20}))
		requireKilled(t, start(t, g, `exec "$0"`, allocate+"=1"))
		n, err := g.OOMKills()
		require.NoError(t, err)
		require.Equal(t, int64(1), n)
		s, err := g.Stats()
		require.NoError(t, err)
		require.Equal(t, int64(1), s.OOMKills)
		require.Equal(t, int64(8<<20), s.MemoryLimit)
		require.Zero(t, s.PIDs)
		if s.MemoryPeak != 0 { // v2 before 5.19
			require.InDelta(t, 8<<20, s.MemoryPeak, 1<<20)
		}
	})
}

func TestStats(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		g := newGroup(t, h, cfg, "p")
		ctr := newGroup(t, h, cfg, "p", "c")
		cmd := start(t, ctr, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 60")
		require.True(t, testutil.Await(func() bool {
			s, err := g.Stats() // counts what is in the container's group
			return err == nil && s.CPUUsage > 10*time.Millisecond && s.CPUUsage < time.Minute &&
				(!h.has("pids") || s.PIDs == 1) &&
				(!h.has("memory") || s.MemoryUsage > 0 && s.MemoryUsage < 64<<20)
		}))
		require.NoError(t, cmd.Process.Kill())
		requireKilled(t, cmd)
		missing, err := h.Open(cgroup.Config{}, "barepod-test-missing")
		require.NoError(t, err)
		_, err = missing.Stats()
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}
