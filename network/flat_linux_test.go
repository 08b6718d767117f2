package network_test

import (
	"errors"
	"flag"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// TestFlatNetwork has two and three hosts with a subnet each, and routes between
// them: every pod reaches every other by its own address, and is seen by its
// own.
func TestFlatNetwork(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n, " hosts"), func(t *testing.T) {
			t.Parallel()
			hosts := make([]*host, n)
			var pods []*pod
			for i := range hosts {
				hosts[i] = newHost(t)
				bridge := network.Bridge{
					Subnets:      subnets(fmt.Sprintf("10.%d.0.0/24", i+1), fmt.Sprintf("fd00:%d::/64", i+1)),
					NoMasquerade: true,
				}
				for range 2 {
					p := hosts[i].attach(t, bridge)
					serve(t, p.ns, p.ID, ":7")
					pods = append(pods, p)
				}
			}
			routeAll(t, hosts)
			requireFlat(t, pods)
		})
	}
}

// requireFlat requires that every pod reaches every other, itself included, at port
// 7 of its addresses, and is seen by its own.
func requireFlat(t testing.TB, pods []*pod) {
	t.Helper()
	for _, from := range pods {
		for _, to := range pods {
			requireAnswer(t, from.ns, to.ip4(), 7, to.ID, from.ip4())
			requireAnswer(t, from.ns, to.ip6(), 7, to.ID, from.ip6())
		}
	}
}

// routeAll joins each host with each other, by routes to 10.i.0.0/24 and
// fd00:i::/64 of the i-th.
func routeAll(t testing.TB, hosts []*host) {
	t.Helper()
	number := 0
	for i, a := range hosts {
		for j := i + 1; j < len(hosts); j++ {
			wire(t, a, hosts[j], number)
			for _, way := range []struct{ from, to, end int }{{i, j, 2}, {j, i, 1}} {
				run(t, hosts[way.from].ns, "ip", "route", "add", fmt.Sprintf("10.%d.0.0/24", way.to+1), "via", fmt.Sprintf("192.0.2.%d", 4*number+way.end))
				run(t, hosts[way.from].ns, "ip", "route", "add", fmt.Sprintf("fd00:%d::/64", way.to+1), "via", fmt.Sprintf("2001:db8:%d::%d", number+1, way.end))
			}
			number++
		}
	}
}

// cycles is how often pods come and go in TestAddressesComeBack. 10,000 take a
// minute or two:
//
//	go test ./network -run AddressesComeBack -args -cycles 10000
var cycles = flag.Int("cycles", 1000, "how often pods come and go in TestAddressesComeBack")

// TestAddressesComeBack is for addresses that get lost: pods come and go more often
// than a subnet has addresses.
func TestAddressesComeBack(t *testing.T) {
	cycles := *cycles
	if testing.Short() {
		cycles = min(cycles, 100)
	}
	h := newHost(t)
	b := network.Bridge{Subnets: subnets("10.1.0.0/29")}
	h.attach(t, b) // stays, and has the bridge stay up
	before := h.held(t)
	const atATime = 4 // all addresses but the gateway's and the one that stays
	cycle := func() error {
		set, err := namespace.Unshare(namespace.Net, sys.LoopbackUp)
		if err != nil {
			return err
		}
		p := &pod{Pod: network.Pod{StateDir: h.stateDir, ID: fmt.Sprint("pod", pods.Add(1))}, host: h, ns: set[0], networks: network.Attachments{b}}
		return errors.Join(p.tryAttach(), p.tryDetach(), set.Close())
	}
	errs := make(chan error)
	for range atATime {
		go func() {
			var err error
			for i := 0; i < cycles/atATime && err == nil; i++ {
				err = cycle()
			}
			errs <- err
		}()
	}
	for range atATime {
		require.NoError(t, <-errs)
	}
	require.Equal(t, before, h.held(t))
	for range atATime { // all of them can be had

		h.attach(t, b)
	}
	var full *network.AddressError
	require.ErrorAs(t, h.newPod(t, b).tryAttach(), &full)
}
