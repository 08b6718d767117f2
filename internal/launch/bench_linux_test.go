package launch_test

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/testutil"
)

// BenchmarkStart starts a program and waits for its end, from a small host
// program and from one with 4 GiB in its heap: that costs the same, for nothing
// of the host program's memory is copied.
func BenchmarkStart(b *testing.B) {
	b.Run("heap=0", benchmarkStart)
	b.Run("heap=4GiB", func(b *testing.B) {
		const size, page = 4 << 30, 4096
		testutil.RequireFeature(b, "memory-8GiB")
		heap := make([]byte, size)
		for i := 0; i < size; i += page {
			heap[i] = 1
		}
		b.Cleanup(debug.FreeOSMemory)
		benchmarkStart(b)
		require.EqualValues(b, 1, heap[size-page])
	})
}

func benchmarkStart(b *testing.B) {
	p := build("bench", func(p *launch.Program) { exit(p, launch.Int(0)) })
	dir := b.TempDir()
	for b.Loop() {
		run, err := p.Start([3]*os.File{}, dir)
		require.NoError(b, err)
		require.NoError(b, run.Reap())
		require.NoError(b, run.Close())
	}
}

// BenchmarkImage compiles the largest program of these tests.
func BenchmarkImage(b *testing.B) {
	for b.Loop() {
		_, err := everything().Image("amd64")
		require.NoError(b, err)
	}
}
