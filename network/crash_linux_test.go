package network_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// crashed is what the tests of this file attach: something at every step.
func crashed() network.Attachments {
	return network.Attachments{
		network.Bridge{
			Isolate: true, Bandwidth: network.Bandwidth{IngressRate: 1e9, EgressRate: 1e9},
			Ports: []network.Port{{HostPort: 80}, {HostIP: addr("127.0.0.1"), HostPort: 100, Range: 3, Protocol: network.UDP}},
		},
		network.Bridge{Name: "second", Subnets: subnets("10.5.0.0/24")},
	}
}

// A process that attaches a pod in a host that it is in, or detaches it again,
// and is killed at one of the steps. The pod's namespace is its own.
var _ = testutil.Child("killed at", func(args []string) {
	p := network.Pod{StateDir: args[0], ID: args[1]}
	var networks network.Attachments
	if err := json.Unmarshal([]byte(args[2]), &networks); err != nil {
		panic(err)
	}
	point, nth := args[3], 1
	if _, err := fmt.Sscan(args[4], &nth); err != nil {
		panic(err)
	}
	set, err := namespace.Unshare(namespace.Net, sys.LoopbackUp)
	if err != nil {
		panic(err)
	}
	fault.Set(func(at string) error {
		if at == point {
			if nth--; nth == 0 {
				_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
			}
		}
		return nil
	})
	_, err = network.Attach(ctx, p, set[0], networks)
	err = errors.Join(err, network.Detach(ctx, p, networks))
	fmt.Println("survived:", err)
})

// steps returns the fault points of an Attach and a Detach in their order.
func steps(t *testing.T) []string {
	h := newHost(t)
	p := h.newPod(t)
	p.networks = crashed()
	points := stepsOf(t, p)
	require.Contains(t, points, "attach.bridge.up")
	require.Contains(t, points, "detach.lease.file")
	return points
}

// stepsOf returns those of a pod.
func stepsOf(t *testing.T, p *pod) []string {
	var points []string
	restore := fault.Set(func(at string) error {
		points = append(points, at)
		return nil
	})
	defer restore()
	require.NoError(t, p.tryAttach())
	require.NoError(t, p.tryDetach())
	return points
}

// killAt has a process attach and detach the pod that is killed at a point.
func (p *pod) killAt(t *testing.T, networks, point string, nth int) {
	var c *testutil.ChildProcess
	p.host.do(t, func() error { // it begins in the host's namespace
		c = testutil.StartChild(t, "killed at", p.StateDir, p.ID, networks, point, fmt.Sprint(nth))
		return nil
	})
	require.Error(t, c.Wait())
	require.Equal(t, -1, c.ProcessState.ExitCode(), "killed, not failed")
}

// skipped reports whether a short test leaves a step out: three of four.
func skipped(step int) bool { return testing.Short() && step%4 != 0 }

// TestKilled kills a process at every step of attach and detach: Detach in
// another process then leaves nothing, and another pod can be attached.
func TestKilled(t *testing.T) {
	counts := map[string]int{}
	data, err := json.Marshal(crashed())
	require.NoError(t, err)
	for i, point := range steps(t) {
		counts[point]++
		nth := counts[point]
		if skipped(i) {
			continue
		}
		t.Run(fmt.Sprint(point, "/", nth), func(t *testing.T) {
			h := newHost(t)
			p := h.newPod(t)
			p.networks = crashed()
			p.killAt(t, string(data), point, nth)
			require.NoError(t, p.tryDetach())
			require.Empty(t, h.held(t))
			q := h.newPod(t)
			q.networks = crashed()
			require.NoError(t, q.tryAttach())
			require.NoError(t, q.check())
			require.NoError(t, q.tryDetach())
			h.do(t, func() error { return network.Release(ctx, h.stateDir) })
			require.Empty(t, run(t, h.ns, "nft", "list", "ruleset"))
			eventually(t, func() bool { return strings.Count(run(t, h.ns, "ip", "-o", "link"), "\n") <= 1+len(q.networks) }, "links of the pods are gone")
		})
	}
}

// TestCase_R18_FailedAttachLeavesNothing fails each step of an Attach.
func TestCase_R18_FailedAttachLeavesNothing(t *testing.T) {
	points := slices.Compact(slices.Sorted(slices.Values(steps(t))))
	failed := errors.New("failed by the test")
	for i, point := range points {
		if !strings.HasPrefix(point, "attach.") || skipped(i) {
			continue
		}
		t.Run(point, func(t *testing.T) {
			h := newHost(t)
			p := h.newPod(t)
			p.networks = crashed()
			restore := fault.Set(func(at string) error {
				if at == point {
					return failed
				}
				return nil
			})
			err := p.tryAttach()
			restore()
			require.ErrorIs(t, err, failed)
			require.Empty(t, h.held(t))
			require.NoError(t, p.tryAttach(), "it works when nothing fails")
			require.NoError(t, p.tryDetach())
		})
	}
}

// TestDetachDoesEveryStep fails each step of a Detach: the others are done as far
// as it goes, and a second one does the rest.
func TestDetachDoesEveryStep(t *testing.T) {
	failed := errors.New("failed by the test")
	for _, point := range []string{"detach.link", "detach.rules", "detach.lease", "detach.lease.file"} {
		t.Run(point, func(t *testing.T) {
			h := newHost(t)
			p := h.newPod(t)
			p.networks = crashed()
			require.NoError(t, p.tryAttach())
			restore := fault.Set(func(at string) error {
				if at == point {
					return failed
				}
				return nil
			})
			require.ErrorIs(t, p.tryDetach(), failed)
			restore()
			require.NotEmpty(t, h.held(t), "a record that finds the rest")
			require.NoError(t, p.tryDetach())
			require.Empty(t, h.held(t))
		})
	}
}
