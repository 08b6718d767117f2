package sandbox_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

// TestOOM: of the container's limit and of the pod's.
func TestOOM(t *testing.T) {
	testutil.RequireFeature(t, "memory.oom")
	root := busyboxRoot(t)
	for name, limits := range map[string][2]int64{"container": {0, 16 << 20}, "pod": {16 << 20, 0}, "both": {64 << 20, 16 << 20}} {
		t.Run(name, func(t *testing.T) {
			sb := newSandbox(t, sandbox.Config{Resources: sandbox.Resources{Memory: limits[0]}})
			cmd := shell(sb, sandbox.Dir{Path: root}, "exec tail /dev/zero")
			cmd.Name, cmd.Resources.Memory = "main", limits[1]
			_, exit := run(t, cmd)
			require.Equal(t, 137, exit.Code)
			require.True(t, exit.OOMKilled)
			// The next one of the name begins anew.
			cmd = shell(sb, sandbox.Dir{Path: root}, "exit 3")
			cmd.Name, cmd.Resources.Memory = "main", limits[1]
			_, exit = run(t, cmd)
			require.Equal(t, 3, exit.Code)
			require.False(t, exit.OOMKilled)
		})
	}
}

// TestOOMOfChild: a kill that the container's first process survives is told
// as well.
func TestOOMOfChild(t *testing.T) {
	testutil.RequireFeature(t, "memory.oom")
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	cmd := shell(sb, sandbox.Dir{Path: root}, "tail /dev/zero; exit 4")
	cmd.Resources.Memory = 16 << 20
	_, exit := run(t, cmd)
	require.Equal(t, 4, exit.Code)
	require.True(t, exit.OOMKilled)
}

// TestCase_R23_KilledIsNotOOM: SIGKILL alone does not look like it.
func TestCase_R23_KilledIsNotOOM(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	p := idle(t, sb, sandbox.Dir{Path: root}, "main")
	require.NoError(t, p.Kill(t.Context()))
	exit := wait(t, p)
	require.Equal(t, 137, exit.Code)
	require.False(t, exit.OOMKilled)
}

// TestCase_R24_MemoryVolumeCounts: what is in a memory volume counts as the pod's
// memory; a container that comes back to it can still run.
func TestCase_R24_MemoryVolumeCounts(t *testing.T) {
	testutil.RequireFeature(t, "memory.oom")
	root := busyboxRoot(t)
	cfg := sandbox.Config{Resources: sandbox.Resources{Memory: 64 << 20}}
	cfg.Volumes = append(cfg.Volumes, memory("mem", 8<<20))
	sb := newSandbox(t, cfg)
	for range 3 {
		cmd := shell(sb, sandbox.Dir{Path: root}, "dd if=/dev/zero of=/mem/f bs=1M count=100 2>/dev/null; stat -c %s /mem/f", mount("mem", "/mem"))
		cmd.Name = "main"
		require.Equal(t, "8388608", output(t, cmd))
	}
	stats, err := sb.Stats(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, stats.MemoryUsage, int64(8<<20))
	require.Equal(t, int64(64<<20), stats.MemoryLimit)
}

func TestPIDsLimit(t *testing.T) {
	root := busyboxRoot(t)
	testutil.RequireFeature(t, "cgroup")
	for name, limits := range map[string][2]int64{"container": {0, 5}, "pod": {5, 0}} {
		t.Run(name, func(t *testing.T) {
			sb := newSandbox(t, sandbox.Config{Resources: sandbox.Resources{PIDs: limits[0]}})
			cmd := shell(sb, sandbox.Dir{Path: root}, "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait")
			cmd.Resources.PIDs = limits[1]
			out, exit := run(t, cmd)
			require.NotZero(t, exit.Code)
			require.Contains(t, out, "can't fork")
		})
	}
}

func TestStats(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{Resources: sandbox.Resources{CPU: 1, Memory: 256 << 20, PIDs: 100}})
	cmd := shell(sb, sandbox.Dir{Path: root}, "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; sleep 1000 & echo done; sleep 1000")
	r, w := pipe(t)
	cmd.Name, cmd.Stdout, cmd.Resources = "main", w, sandbox.Resources{CPU: 0.5, CPUWeight: 200, Memory: 128 << 20, PIDs: 50}
	p := start(t, cmd)
	readLine(t, r, "done\n")
	of, err := p.Stats(t.Context())
	require.NoError(t, err)
	require.Positive(t, of.CPUUsage)
	require.Positive(t, of.MemoryUsage)
	require.Equal(t, int64(128<<20), of.MemoryLimit)
	require.GreaterOrEqual(t, of.PIDs, int64(2))
	all, err := sb.Stats(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, all.CPUUsage, of.CPUUsage)
	require.Equal(t, int64(256<<20), all.MemoryLimit)
	require.GreaterOrEqual(t, all.PIDs, of.PIDs)
	require.NoError(t, p.Kill(t.Context()))
	exit := wait(t, p)
	require.Positive(t, exit.UserTime+exit.SystemTime)
}
