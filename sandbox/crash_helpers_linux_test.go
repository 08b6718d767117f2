package sandbox_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

// kill sends SIGKILL to a process of the sandbox under test that was just listed.
func kill(t testing.TB, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	require.NoError(t, err)
	if err := p.Kill(); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(t, err)
	}
	require.NoError(t, p.Release())
}

// Without its keeper a container runs on; only how it ends nobody will know.
func TestKeeperKilled(t *testing.T) {
	cfg := testConfig(t)
	cfg.ID = "orphan"
	before := testutil.Snapshot()
	sb := newSandbox(t, cfg)
	root := sandbox.Dir{Path: busyboxRoot(t)}
	main := idle(t, sb, root, "main")
	keepers := processesOf(cfg.ID)
	require.Len(t, keepers, 1)
	kill(t, keepers[0])
	require.True(t, testutil.Await(func() bool { return len(processesOf(cfg.ID)) == 0 }))

	st, err := main.Status()
	require.NoError(t, err)
	require.Equal(t, sandbox.Running, st.State)
	require.Equal(t, "here", inside(t, main, "echo here"))
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = main.Wait(short)
	require.ErrorIs(t, err, context.DeadlineExceeded, "it has not ended")
	again := sb.Command("/bin/true")
	again.Name, again.Rootfs = "main", root
	_, err = again.Start(t.Context())
	require.ErrorIs(t, err, sandbox.ErrExist)

	require.NoError(t, main.Kill(t.Context()))
	_, err = main.Wait(t.Context())
	require.ErrorIs(t, err, sandbox.ErrExitUnknown)
	st, err = main.Status()
	require.NoError(t, err)
	require.Equal(t, sandbox.Unknown, st.State)
	again = sb.Command("/bin/true")
	again.Name, again.Rootfs = "main", root
	exit, err := again.Run(t.Context())
	require.NoError(t, err)
	require.True(t, exit.Success())
	require.NoError(t, sb.Remove(t.Context()))
	require.NoError(t, errors.Join(main.Close(), sb.Close()))
	require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
	requireNothingLeft(t, before, cfg)
}

// Launchers, keepers, PID 1 and containers are killed at random while containers
// are started: a Start says so or has succeeded, and nothing is left.
func TestHelpersKilledAnytime(t *testing.T) {
	root := sandbox.Dir{Path: busyboxRoot(t)}
	for name, shared := range map[string]bool{"own": false, "shared": true} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.ID, cfg.ShareProcessNamespace = "target", shared
			before := testutil.Snapshot()
			for range 8 {
				sb, err := sandbox.New(t.Context(), cfg)
				require.NoError(t, err)
				stop := make(chan struct{})
				var hunter sync.WaitGroup
				hunter.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(time.Duration(rand.IntN(6000)) * time.Microsecond):
						}
						for _, pid := range processesOf(cfg.ID) {
							// By its number: it cannot have been given away within
							// the moment, of four million.
							_ = syscall.Kill(pid, syscall.SIGKILL)
						}
					}
				})
				for range 6 {
					// A keeper that dies before its report is missed only by ctx.
					ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
					cmd := sb.Command("/bin/sleep", "1000")
					cmd.Rootfs = root
					p, err := cmd.Start(ctx)
					cancel()
					if err != nil {
						continue
					}
					require.NoError(t, p.Kill(t.Context()))
					if _, err = p.Wait(t.Context()); err != nil {
						require.ErrorIs(t, err, sandbox.ErrExitUnknown)
					}
					require.NoError(t, p.Close())
				}
				close(stop)
				hunter.Wait()
				require.NoError(t, sb.Remove(t.Context()))
				require.NoError(t, sb.Close())
			}
			require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
			requireNothingLeft(t, before, cfg)
		})
	}
}
