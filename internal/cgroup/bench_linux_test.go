package cgroup_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/cgroup"
)

func benchmark(b *testing.B, r cgroup.Resources) {
	h := hosts(b)[0]
	cfg := newParent(b, h)
	newGroup(b, h, cfg, "pod")
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		g, err := h.Create(cfg, "pod", "c")
		require.NoError(b, err)
		if r != (cgroup.Resources{}) {
			require.NoError(b, g.Set(r))
		}
		require.NoError(b, g.Remove(ctx))
	}
}

func BenchmarkCreateRemove(b *testing.B)       { benchmark(b, cgroup.Resources{}) }
func BenchmarkCreateRemoveMemory(b *testing.B) { benchmark(b, cgroup.Resources{Memory: 64 << 20}) }
func BenchmarkCreateRemoveAll(b *testing.B) {
	benchmark(b, cgroup.Resources{Memory: 64 << 20, PIDs: 100, CPU: 0.5, CPUWeight: 50})
}

func BenchmarkStats(b *testing.B) {
	h := hosts(b)[0]
	g := newGroup(b, h, newParent(b, h), "pod")
	b.ReportAllocs()
	for b.Loop() {
		_, err := g.Stats()
		require.NoError(b, err)
	}
}

func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		_, err := cgroup.Detect()
		require.NoError(b, err)
	}
}
