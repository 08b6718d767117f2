package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

// BenchmarkNthPod makes a pod, runs a container in it and removes it, beside
// none and beside 500 standing pods, in turn.
func BenchmarkNthPod(b *testing.B) {
	cfg := benchConfig(b)
	root := benchRoot(b)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			podLife(b, cfg, root)
		}
	})
	const standing = 499
	for range standing {
		// Closed: a fork of this program would copy their descriptors.
		sb, err := sandbox.New(context.Background(), cfg)
		require.NoError(b, err)
		require.NoError(b, sb.Close())
		b.Cleanup(func() { require.NoError(b, sb.Remove(context.Background())) })
	}
	b.Run(strconv.Itoa(standing+1)+"th", func(b *testing.B) {
		for b.Loop() {
			podLife(b, cfg, root)
		}
	})
}

func podLife(b *testing.B, cfg sandbox.Config, root string) {
	b.Helper()
	ctx := context.Background()
	sb, err := sandbox.New(ctx, cfg)
	require.NoError(b, err)
	cmd := sb.Command("/true")
	cmd.Rootfs = sandbox.Dir{Path: root}
	exit, err := cmd.Run(ctx)
	require.NoError(b, err)
	require.True(b, exit.Success())
	require.NoError(b, sb.Remove(ctx))
	require.NoError(b, sb.Close())
}

// BenchmarkHostHeap starts containers from a program with a small heap and from
// one with 4 GiB of touched memory, in turn, and reports the medians and their
// ratio.
func BenchmarkHostHeap(b *testing.B) {
	const size = 4 << 30
	testutil.RequireFeature(b, "memory-8GiB")
	cfg := benchConfig(b)
	sb := newSandboxB(b, cfg)
	root := benchRoot(b)
	start := func(heap int) *testutil.ChildProcess {
		return testutil.StartChild(b, "starter", cfg.StateDir, sb.ID(), root, strconv.Itoa(heap))
	}
	programs := []*testutil.ChildProcess{start(0), start(size)}
	took := make([][]time.Duration, len(programs))
	for b.Loop() {
		for i, p := range programs {
			p.WriteLine("start")
			d, err := time.ParseDuration(p.ReadLine())
			require.NoError(b, err)
			took[i] = append(took[i], d)
		}
	}
	small, large := median(took[0]), median(took[1])
	b.ReportMetric(0, "ns/op") // the sum of both says nothing
	b.ReportMetric(small.Seconds()*1e3, "small-ms")
	b.ReportMetric(large.Seconds()*1e3, "4GiB-ms")
	b.ReportMetric(large.Seconds()/small.Seconds(), "4GiB/small")
}

// starter is a host program: for each line that it reads it starts a container,
// waits for it, and says how long that took.
var _ = testutil.Child("starter", func(args []string) {
	fail := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	size, err := strconv.Atoi(args[3])
	fail(err)
	heap := make([]byte, size)
	for i := 0; i < len(heap); i += os.Getpagesize() {
		heap[i] = 1
	}
	ctx := context.Background()
	sb, err := sandbox.Open(ctx, args[0], args[1])
	fail(err)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		begin := time.Now()
		cmd := sb.Command("/true")
		cmd.Rootfs = sandbox.Dir{Path: args[2]}
		exit, err := cmd.Run(ctx)
		fail(err)
		if !exit.Success() {
			panic(exit)
		}
		fmt.Println(time.Since(begin))
	}
	runtime.KeepAlive(heap)
})

// BenchmarkHelpers reports the memory, as PSS, of the keeper of one container
// and of the PID 1 of a shared PID namespace.
func BenchmarkHelpers(b *testing.B) {
	cfg := benchConfig(b)
	cfg.ShareProcessNamespace = true
	ctx := context.Background()
	for b.Loop() {
		sb, err := sandbox.New(ctx, cfg)
		require.NoError(b, err)
		cmd := sb.Command("/bin/sleep", "1000")
		cmd.Rootfs = sandbox.HostRoot{}
		p, err := cmd.Start(ctx)
		require.NoError(b, err)
		status, err := sb.Status(ctx)
		require.NoError(b, err)
		init := pss(b, status.InitPID)
		keeper := pss(b, parentOf(b, p.PID()))
		b.ReportMetric(float64(init), "init-PSS-KiB")
		b.ReportMetric(float64(keeper), "keeper-PSS-KiB")
		require.NoError(b, p.Close())
		require.NoError(b, sb.Remove(ctx))
		require.NoError(b, sb.Close())
	}
}

// pss returns a process's proportional set size in KiB.
func pss(b *testing.B, pid int) int {
	b.Helper()
	return procField(b, fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
}

func parentOf(b *testing.B, pid int) int {
	b.Helper()
	return procField(b, fmt.Sprintf("/proc/%d/status", pid), "PPid:")
}

func procField(b *testing.B, path, key string) int {
	b.Helper()
	f, err := os.Open(path)
	require.NoError(b, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), key); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(b, err)
			return n
		}
	}
	b.Fatalf("no %s in %s", key, path)
	return 0
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
