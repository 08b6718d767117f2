package network_test

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// TestTableOfTwo has two state directories share the table of a host: one makes
// and releases its bridge, while the other does and finds its rules to stay.
func TestTableOfTwo(t *testing.T) {
	h := newHost(t)
	other := &host{ns: h.ns, stateDir: t.TempDir()}
	owners := []*host{h, other}
	pods := []*pod{
		h.newPod(t, network.Bridge{}),
		other.newPod(t, network.Bridge{Name: "other", Subnets: subnets("10.5.0.0/24")}),
	}
	rounds := 50
	if testing.Short() {
		rounds = 10
	}
	errs := parallel(len(pods), func(i int) error {
		p := pods[i]
		for range rounds {
			for _, step := range []func() error{p.tryAttach, p.check, p.tryDetach, func() error {
				return h.ns.Do(func() error { return network.Release(ctx, owners[i].stateDir) })
			}} {
				if err := step(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	require.NoError(t, errors.Join(errs...))
	require.Empty(t, run(t, h.ns, "nft", "list", "ruleset"))
}

// TestInterruptedDump has links come and go in the pod and on the host while
// the pod is checked and counted: the kernel cannot list them in peace.
func TestInterruptedDump(t *testing.T) {
	h := newHost(t)
	p := h.attach(t, network.Bridge{})
	stop := make(chan struct{})
	errs := parallel(3, func(i int) error {
		if i < 2 {
			return flap([]*namespace.Handle{p.ns, h.ns}[i], stop)
		}
		defer close(stop)
		for range 100 {
			if err := p.check(); err != nil {
				return err
			}
			if _, err := network.Stats(p.ns); err != nil {
				return err
			}
			if err := h.ns.Do(func() error { return network.Sweep(ctx, h.stateDir, func(string) bool { return true }) }); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, errors.Join(errs...))
}

// flap makes and deletes a link with an address until it is stopped.
func flap(ns *namespace.Handle, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		err := ns.Do(func() error {
			return exec.Command("sh", "-c", "ip link add flap0 type veth peer flap1; ip addr add 10.9.0.1/24 dev flap0; ip link del flap0").Run()
		})
		if err != nil {
			return err
		}
	}
}
