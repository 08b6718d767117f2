package pod_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

// The victim leads a pod through its whole life, and kills itself at the step of
// the number given; or it gets through, and says how many steps there are.
var _ = testutil.Child("victim", func(args []string) {
	at, err := strconv.ParseInt(args[1], 10, 64)
	must(err)
	var steps atomic.Int64
	fault.Set(func(point string) error {
		if steps.Add(1) == at {
			fmt.Println(point)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Hour) // the signal is on its way to the thread
		}
		return nil
	})
	ctx := context.Background()
	p, err := pod.New(ctx, decode(args[0]))
	must(err)
	c, err := p.Container("a")
	must(err)
	must(p.Start(ctx))
	must(command(ctx, p))
	must(p.Stop(ctx))
	must(c.Start(ctx)) // again
	must(c.Stop(ctx))
	must(p.Remove(ctx))
	must(p.Close())
	fmt.Println(steps.Load())
})

// TestKilledAtEachStep kills the program at each step of New, Start, Exec, Stop,
// a restart and Remove; Remove in another process leaves nothing.
func TestKilledAtEachStep(t *testing.T) {
	testutil.RequireRoot(t)
	for _, share := range []bool{false, true} {
		t.Run(fmt.Sprintf("share=%t", share), func(t *testing.T) {
			cfg := testConfig(t)
			cfg.ID = "victim"
			cfg.ShareProcessNamespace = share
			root := busybox(t)
			spec := encode(t, pod.Spec{
				Sandbox:                cfg,
				Containers:             []pod.Container{sh("a", root, deaf), sh("b", root, "exit 0")},
				TerminationGracePeriod: 20 * time.Millisecond,
			})
			through := testutil.StartChild(t, "victim", spec, "0")
			steps, err := strconv.Atoi(through.ReadLine())
			require.NoError(t, err)
			require.NoError(t, through.Wait())
			require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
			require.Greater(t, steps, 30)

			stride := 1
			if testing.Short() {
				stride = 4
			}
			before := testutil.Snapshot()
			for step := 1; step <= steps; step += stride {
				victim := testutil.StartChild(t, "victim", spec, strconv.Itoa(step))
				point := victim.ReadLine()
				var killed *exec.ExitError
				require.ErrorAs(t, victim.Wait(), &killed, "%s", point)
				bury(t, cfg, point)
			}
			testutil.RequireNoLeaks(t, before)
		})
	}
}

// bury removes the victim's pod, and checks what is left.
func bury(t *testing.T, cfg sandbox.Config, point string) {
	t.Helper()
	ctx := testContext(t)
	p, err := pod.Open(ctx, cfg.StateDir, cfg.ID)
	if err == nil {
		_, err = p.Status(ctx)
		require.NoError(t, err, "%s", point)
		require.NoError(t, p.Close(), "%s", point)
	} else {
		require.ErrorIs(t, err, os.ErrNotExist, "%s", point)
	}
	require.NoError(t, pod.Remove(ctx, cfg.StateDir, cfg.ID), "%s", point)
	_, err = pod.Open(ctx, cfg.StateDir, cfg.ID)
	require.ErrorIs(t, err, sandbox.ErrNotExist, "%s", point)
	for id := range pod.List(cfg.StateDir) {
		t.Fatalf("%s: %s is left", point, id)
	}
	require.NoError(t, sandbox.Sweep(ctx, cfg.StateDir), "%s", point)
}
