package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

func TestSweepNothing(t *testing.T) {
	cfg := testConfig(t)
	before := testutil.Snapshot()
	require.NoError(t, sandbox.Sweep(t.Context(), filepath.Join(cfg.StateDir, "not/there")))
	testutil.RequireRoot(t)
	sb, err := sandbox.New(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, errors.Join(sb.Remove(t.Context()), sb.Close()))
	for range 3 { // the nursery, the mount, and the cgroup parents; then nothing
		require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
		require.NoDirExists(t, cfg.StateDir)
		requireNothingLeft(t, before, cfg)
	}
	// And all of it is made again.
	require.NoError(t, live(t.Context(), cfg, trueRoot(t)))
	require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
	requireNothingLeft(t, before, cfg)
}

// worker makes, uses and removes sandboxes, and sweeps.
var _ = testutil.Child("worker", func(args []string) {
	p := readPlan(args)
	ctx := context.Background()
	var work sync.WaitGroup
	for i := range 2 {
		cfg := p.Config
		cfg.ID = fmt.Sprintf("%s-%d-%d", cfg.ID, os.Getpid(), i)
		cfg.ShareProcessNamespace = i == 1
		work.Go(func() {
			for range 15 {
				if err := live(ctx, cfg, sandbox.Dir{Path: p.Root}); err != nil {
					panic(err)
				}
			}
		})
	}
	stop := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := sandbox.Sweep(ctx, p.Config.StateDir); err != nil {
				panic(err)
			}
		}
	})
	work.Wait()
	close(stop)
	sweeper.Wait()
	fmt.Println("done")
})

// Several processes at work in one state directory, all sweeping all the time:
// no live sandbox is taken for a dead one, and none misses what was shared.
func TestCase_R20_SeveralProcesses(t *testing.T) {
	root, ok := trueRoot(t).(sandbox.Dir)
	require.True(t, ok)
	cfg := testConfig(t)
	cfg.ID = "worker"
	before := testutil.Snapshot()
	var children []*testutil.ChildProcess
	for range 4 {
		children = append(children, runPlan(t, "worker", plan{Config: cfg, Root: root.Path}))
	}
	for _, child := range children {
		require.Equal(t, "done", child.ReadLine())
		require.NoError(t, child.Wait())
	}
	require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
	require.NoDirExists(t, cfg.StateDir)
	requireNothingLeft(t, before, cfg)
}

// stuck starts a container, but not before it is told to.
var _ = testutil.Child("stuck", func(args []string) {
	p := readPlan(args)
	fault.Set(func(point string) error {
		if point == p.Op {
			fmt.Println("stuck")
			line := ""
			_, _ = fmt.Scanln(&line)
		}
		return nil
	})
	err := withSandbox(context.Background(), p, func(sb *sandbox.Sandbox) error {
		return startOne(context.Background(), p.command(sb, "second"))
	})
	fmt.Println(err)
})

// Remove waits for a Start in another process, as long as its context allows;
// and can then be called again.
func TestRemoveWaitsForStart(t *testing.T) {
	for _, point := range []string{"start.claim", "start.launch", "start.report", "start.go"} {
		t.Run(point, func(t *testing.T) {
			p := crashPlan(t, point, sandbox.Config{})
			before := testutil.Snapshot()
			p.prepare(t)
			child := runPlan(t, "stuck", p)
			require.Equal(t, "stuck", child.ReadLine())
			short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, sandbox.Remove(short, p.Config.StateDir, p.Config.ID), context.DeadlineExceeded)
			sb, err := sandbox.Open(t.Context(), p.Config.StateDir, p.Config.ID)
			require.NoError(t, err, "nothing has happened")
			require.NoError(t, sb.Close())

			removed := make(chan error)
			go func() { removed <- sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID) }()
			child.WriteLine("go")
			require.Equal(t, "<nil>", child.ReadLine())
			require.NoError(t, child.Wait())
			require.NoError(t, <-removed)
			requireNothingLeft(t, before, p.Config)
		})
	}
}

// Many Removes at once, from this process and with handles of others.
func TestRemoveAtOnce(t *testing.T) {
	p := crashPlan(t, "remove", sandbox.Config{ShareProcessNamespace: true, Volumes: everyVolume(t)})
	before := testutil.Snapshot()
	for range 5 {
		p.prepare(t)
		errs := make(chan error)
		const removers = 8
		for range removers {
			go func() { errs <- sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID) }()
		}
		for range removers {
			require.NoError(t, <-errs)
		}
	}
	requireNothingLeft(t, before, p.Config)
}
