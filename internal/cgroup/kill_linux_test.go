package cgroup_test

import (
	"context"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/cgroup"
)

// bomb is some 100 processes that keep forking.
const bomb = `f() { while :; do (:) & wait $!; done; }
i=0; while [ $i -lt 100 ]; do f 2>/dev/null & i=$((i+1)); done; wait`

func TestKillForking(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		pod := newGroup(t, h, cfg, "p")
		ctr := newGroup(t, h, cfg, "p", "c")
		if h.has("pids") {
			require.NoError(t, ctr.Set(cgroup.Resources{PIDs: 250}))
		}
		cmd := start(t, ctr, bomb)
		time.Sleep(100 * time.Millisecond)
		ctx := bound(t, 20*time.Second)
		require.NoError(t, pod.Kill(ctx))
		populated, err := pod.Populated()
		require.NoError(t, err)
		require.False(t, populated)
		requireKilled(t, cmd)
		require.NoError(t, pod.Remove(ctx))
	})
}

// TestCase_R30 kills groups that are frozen, by every freezer there is: beside a
// unified hierarchy also by that of v1, in groups that somebody else made.
func TestCase_R30_FrozenGroup(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		for _, x := range h.Hierarchies {
			file, frozen := "", ""
			switch {
			case x.Unified:
				file, frozen = "/cgroup.freeze", "1"
			case slices.Contains(x.Controllers, "freezer"):
				file, frozen = "/freezer.state", "FROZEN"
			default:
				continue
			}
			for _, level := range []string{"", "/c"} {
				t.Run(file+" of pod"+level, func(t *testing.T) {
					cfg := newParent(t, h)
					pod := newGroup(t, h, cfg, "p")
					ctr := newGroup(t, h, cfg, "p", "c")
					require.NoError(t, os.MkdirAll(x.Mountpoint+ctr.Path(), 0o755))
					cmd := start(t, ctr, "exec sleep 60")
					require.NoError(t, os.WriteFile(x.Mountpoint+ctr.Path()+"/cgroup.procs", []byte(strconv.Itoa(cmd.Process.Pid)), 0))
					require.NoError(t, os.WriteFile(x.Mountpoint+pod.Path()+level+file, []byte(frozen), 0))

					ctx := bound(t, 10*time.Second)
					require.NoError(t, pod.Kill(ctx))
					requireKilled(t, cmd)
					require.NoError(t, pod.Remove(ctx))
				})
			}
		}
	})
}

func TestKillBounded(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		newGroup(t, h, cfg, "p")
		g := newGroup(t, h, cfg, "p", "c")
		cmd := start(t, g, "exec sleep 60")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		// Whether the process is gone at the first look is the kernel's affair.
		if err := g.Kill(ctx); err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		requireKilled(t, cmd)
	})
}

func TestRemoveBusy(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		pod := newGroup(t, h, cfg, "p")
		g := newGroup(t, h, cfg, "p", "c")
		cmd := start(t, g, "exec sleep 60")
		ctx := bound(t, 50*time.Millisecond)
		require.ErrorIs(t, pod.Remove(ctx), syscall.EBUSY)
		require.NotEmpty(t, dirs(h, g.Path()))

		time.AfterFunc(50*time.Millisecond, func() { _ = cmd.Process.Kill() })
		require.NoError(t, pod.Remove(bound(t, 10*time.Second)), "waits for one that ends")
		requireKilled(t, cmd)
	})
}
