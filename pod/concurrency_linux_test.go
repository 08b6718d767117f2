package pod_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

// life is one pod from its beginning to its end, with a command in between.
func life(ctx context.Context, spec pod.Spec) (err error) {
	p, err := pod.New(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	err = func() error {
		if err := p.Start(ctx); err != nil {
			return err
		}
		if err := command(ctx, p); err != nil {
			return err
		}
		if err := p.Stop(ctx); err != nil {
			return err
		}
		s, err := p.Wait(ctx)
		if err == nil && s.Phase != pod.PhaseFailed && s.Phase != pod.PhaseSucceeded {
			err = fmt.Errorf("phase %s after Stop", s.Phase)
		}
		return err
	}()
	return errors.Join(err, p.Remove(ctx))
}

// command runs a command in the pod's first container.
func command(ctx context.Context, p *pod.Pod) error {
	c, err := p.Container(p.Spec().Containers[0].Name)
	if err != nil {
		return err
	}
	cmd, err := c.Exec("echo", p.ID())
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	exit, err := cmd.Run(ctx)
	if err == nil && (!exit.Success() || out.String() != p.ID()+"\n") {
		err = fmt.Errorf("echo: %+v, %q", exit, out.String())
	}
	return err
}

// lives has many pods live at the same time.
func lives(ctx context.Context, spec pod.Spec, name string, goroutines, rounds int) error {
	errs := make(chan error, goroutines)
	for g := range goroutines {
		go func() {
			var err error
			for r := 0; r < rounds && err == nil; r++ {
				own := spec
				own.Sandbox.ID = fmt.Sprintf("%s-%d-%d", name, g, r)
				err = life(ctx, own)
			}
			errs <- err
		}()
	}
	var err error
	for range goroutines {
		err = errors.Join(err, <-errs)
	}
	return err
}

// A worker is another process on the same state directory.
var _ = testutil.Child("worker", func(args []string) {
	goroutines, err := strconv.Atoi(args[2])
	must(err)
	must(lives(context.Background(), decode(args[0]), args[1], goroutines, 2))
	fmt.Println("done")
})

// TestCase_R20_Concurrency has 64 goroutines make, use, stop and remove pods, with
// three more processes doing the same in the same state directory, while others use
// one pod together, fight for one ID, and sweep.
func TestCase_R20_Concurrency(t *testing.T) {
	ctx := testContext(t)
	cfg := testConfig(t)
	root := busybox(t)
	spec := pod.Spec{
		Sandbox:                cfg,
		Containers:             []pod.Container{sh("a", root, forever), sh("b", root, forever)},
		TerminationGracePeriod: 50 * time.Millisecond,
	}
	shared := newPod(t, cfg, sh("a", root, forever))
	require.NoError(t, shared.Start(ctx))

	var workers []*testutil.ChildProcess
	for _, name := range []string{"x", "y", "z"} {
		workers = append(workers, testutil.StartChild(t, "worker", encode(t, spec), name, "4"))
	}
	stop := make(chan struct{})
	var background sync.WaitGroup
	repeat := func(what string, do func() error) {
		background.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				if err := do(); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	repeat("sweep", func() error { return sandbox.Sweep(ctx, cfg.StateDir) })
	repeat("shared", func() error { return command(ctx, shared) })
	repeat("opened", func() error {
		p, err := pod.Open(ctx, cfg.StateDir, shared.ID())
		if err != nil {
			return err
		}
		return errors.Join(command(ctx, p), p.Close())
	})
	for range 4 {
		repeat("fight", func() error {
			one := spec
			one.Sandbox.ID = "one"
			err := life(ctx, one)
			if errors.Is(err, sandbox.ErrExist) {
				return nil
			}
			return err
		})
	}

	goroutines := 64
	if testing.Short() {
		goroutines = 16
	}
	err := lives(ctx, spec, "main", goroutines, 1)
	for _, w := range workers {
		require.Equal(t, "done", w.ReadLine())
		require.NoError(t, w.Wait())
	}
	close(stop)
	background.Wait()
	require.NoError(t, err)
	var left []string
	for id, err := range pod.List(cfg.StateDir) {
		require.NoError(t, err)
		left = append(left, id)
	}
	require.Equal(t, []string{shared.ID()}, left)
}
