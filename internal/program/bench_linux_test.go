package program_test

import (
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/program"
)

// BenchmarkCompile is the part of a start that is computing alone.
func BenchmarkCompile(b *testing.B) {
	f, err := os.Open(os.DevNull)
	require.NoError(b, err)
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		c := program.Container{
			Birth: program.Birth{
				Record: f, Cgroup: f, KeeperCgroup: f, OOM: "/sys/fs/cgroup/x/memory.events", KillRest: "/sys/fs/cgroup/x/cgroup.kill",
				Tasks: []string{"/sys/fs/cgroup/memory/x/tasks", "/sys/fs/cgroup/pids/x/tasks", "/sys/fs/cgroup/cpu/x/tasks", "/sys/fs/cgroup/cpuacct/x/tasks"},
				Argv:  []string{"/true"}, Env: []string{"PATH=/bin", "HOME=/"}, Dir: "/", Search: []string{"/true"}, LastCap: 40, Caps: 0xa80425fb,
			},
			Name: "barepod: x/y", Anchor: f, Nursery: f, Net: f, IPC: f, UTS: f, NewPID: true,
			Root:        program.Root{Dir: f},
			MaskedPaths: []string{"kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "interrupts"},
			MaskedDirs:  []string{"acpi", "asound", "scsi"}, ReadonlyPaths: []string{"bus", "fs", "irq", "sys", "sysrq-trigger"},
			CgroupMounts: []program.CgroupMount{{Dir: "unified", Source: "/sys/fs/cgroup/unified/x"}, {Dir: "memory", Source: "/sys/fs/cgroup/memory/x"}},
		}
		p := c.Program()
		_, err := p.Image(runtime.GOARCH)
		require.NoError(b, err)
		p.Free()
	}
}
