package network_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/network"
)

// held lists what the pods of a host have beside their namespaces.
func (h *host) held(t testing.TB) []string {
	t.Helper()
	var held []string
	for _, line := range strings.Split(run(t, h.ns, "ip", "-o", "link"), "\n") {
		if f := strings.Fields(line); len(f) > 2 && strings.HasPrefix(f[1], "bp") && slices.Contains(strings.Split(strings.Trim(f[2], "<>"), ","), "UP") {
			held = append(held, "link "+f[1])
		}
	}
	files, err := filepath.Glob(filepath.Join(h.stateDir, ".network", "*", "*", "*"))
	require.NoError(t, err)
	for _, f := range files {
		if name := filepath.Base(f); name != "lock" && !strings.HasPrefix(name, "last_reserved_ip") {
			held = append(held, "file "+name)
		}
	}
	// All at once: a command each is what takes time on an emulated machine.
	for _, set := range ownElements.FindAllString(run(t, h.ns, "nft", "list", "ruleset"), -1) {
		held = append(held, strings.TrimSpace(set))
	}
	slices.Sort(held)
	return held
}

// ownElements matches, in a list of the rules, the sets and maps that have
// something of a pod in them; bridges and their subnets stay.
var ownElements = regexp.MustCompile(`(?m)^\t(set|map) (plain|isolated|publishers|ports|anyports)[46] \{\n(\t\t.*\n)*?\t\telements = [^}]*\}`)

func TestDetachTakesAllBack(t *testing.T) {
	many := 1000
	if testing.Short() {
		many = 50
	}
	h := newHost(t)
	p := h.newPod(t, network.Bridge{Isolate: true, Ports: []network.Port{{HostPort: 80}, {HostPort: 1000, Range: many, Protocol: network.UDP}}},
		network.Bridge{Name: "second", Subnets: subnets("10.5.0.0/24")})
	require.NoError(t, p.tryDetach(), "nothing was attached")
	require.NoError(t, p.tryAttach())
	require.Equal(t, []netip.Addr{addr("10.213.0.2"), addr("fd62:6172:6570:6f64::2"), addr("10.5.0.2")}, p.result.Addresses())
	held := strings.Join(h.held(t), "\n")
	for _, what := range []string{"link bp", "file 10.213.0.2", "file " + p.ID, "set isolated4", "set isolated6", "set publishers4", "map anyports4", "map anyports6"} {
		require.Contains(t, held, what)
	}
	require.NoError(t, p.check())

	require.NoError(t, p.ns.Close()) // also when the namespace is gone
	require.NoError(t, p.tryDetach())
	require.Empty(t, h.held(t))
	require.NoError(t, p.tryDetach())

	h.do(t, func() error { return network.Release(ctx, h.stateDir) })
	require.NotContains(t, run(t, h.ns, "ip", "-o", "link"), network.DefaultBridge)
	require.Empty(t, run(t, h.ns, "nft", "list", "ruleset"))
	entries, err := os.ReadDir(h.stateDir)
	require.NoError(t, err)
	require.Empty(t, entries)
	h.do(t, func() error { return network.Release(ctx, h.stateDir) })
}

func (p *pod) check() error {
	return p.host.ns.Do(func() error { return network.Check(ctx, p.Pod, p.ns, p.networks, p.result) })
}

func TestReleaseKeepsWhatIsUsed(t *testing.T) {
	h := newHost(t)
	p := h.attach(t, network.Bridge{})
	h.do(t, func() error { return network.Release(ctx, h.stateDir) })
	require.NoError(t, p.check())
}

// TestForeignRules has a table beside ours that nothing happens to.
func TestForeignRules(t *testing.T) {
	h := newHost(t)
	run(t, h.ns, "nft", "add table inet mine; add chain inet mine c { type filter hook input priority 0; }; add rule inet mine c accept")
	before := run(t, h.ns, "nft", "list", "ruleset")
	p := h.newPod(t, network.Bridge{})
	require.NoError(t, p.tryAttach())
	require.NoError(t, p.tryDetach())
	h.do(t, func() error { return network.Release(ctx, h.stateDir) })
	require.Equal(t, before, run(t, h.ns, "nft", "list", "ruleset"))
}

func TestAnotherVersionOfTheTable(t *testing.T) {
	h := newHost(t)
	run(t, h.ns, "nft", "add table inet barepod; add chain inet barepod guard; add rule inet barepod guard accept; add set inet barepod bridges { type ifname; }")
	p := h.newPod(t, network.Bridge{})
	require.ErrorContains(t, p.tryAttach(), `nftables table inet barepod is of version "", not "barepod network 1"`)
	require.Contains(t, run(t, h.ns, "nft", "list", "ruleset"), "accept", "left alone")
	run(t, h.ns, "nft", "delete", "table", "inet", "barepod")
	require.NoError(t, p.tryAttach())
	require.NoError(t, p.tryDetach())
}

func TestPortTaken(t *testing.T) {
	h := newHost(t)
	a := h.attach(t, network.Bridge{Ports: []network.Port{{HostPort: 80}, {HostIP: addr("127.0.0.1"), HostPort: 81}, {HostPort: 100, Range: 10}}})
	var ln net.Listener
	h.do(t, func() (err error) {
		ln, err = net.Listen("tcp4", "127.0.0.1:90")
		return err
	})
	defer ln.Close()
	tests := []struct {
		name string
		port network.Port
		want string
	}{
		{"same", network.Port{HostPort: 80}, "host port 0.0.0.0:80/TCP is taken by the pod with address " + a.ip4()},
		{"one address of all", network.Port{HostIP: addr("127.0.0.1"), HostPort: 80}, "host port 127.0.0.1:80/TCP is taken by the pod with address " + a.ip4()},
		{"all of one address", network.Port{HostPort: 81}, "host port 127.0.0.1:81/TCP is taken by the pod with address " + a.ip4()},
		{"in a range", network.Port{HostPort: 95, Range: 10}, "host port 0.0.0.0:100/TCP is taken by the pod with address " + a.ip4()},
		{"socket", network.Port{HostPort: 90}, "host port 0.0.0.0:90/TCP is taken by a socket of the host"},
		{"another protocol", network.Port{HostPort: 80, Protocol: network.UDP}, ""},
		{"another address", network.Port{HostIP: addr("127.0.0.2"), HostPort: 81}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := h.held(t)
			p := h.newPod(t, network.Bridge{Ports: []network.Port{tt.port}})
			err := p.tryAttach()
			if tt.want == "" {
				require.NoError(t, err)
				require.NoError(t, p.tryDetach())
			} else {
				require.ErrorIs(t, err, fs.ErrExist)
				var taken *network.PortError
				require.ErrorAs(t, err, &taken)
				require.EqualError(t, taken, tt.want)
			}
			require.Equal(t, before, h.held(t))
			require.NoError(t, a.check())
		})
	}
}

// TestCVE_2019_9946 has pods ask for ports that others have, all at once: one of
// them gets it, the others are told, and nobody's is taken over.
func TestCVE_2019_9946_PortRace(t *testing.T) {
	h := newHost(t)
	pods := make([]*pod, 16)
	for i := range pods {
		port := network.Port{HostPort: 80}
		if i%2 == 1 {
			port.HostIP = addr("127.0.0.1")
		}
		pods[i] = h.newPod(t, network.Bridge{Ports: []network.Port{port}})
	}
	errs := parallel(len(pods), func(i int) error { return pods[i].tryAttach() })
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			require.NoError(t, pods[i].check())
			continue
		}
		require.ErrorIs(t, err, fs.ErrExist)
	}
	// A pod for all addresses and one for 127.0.0.1 may refuse each other.
	require.LessOrEqual(t, won, 1)
	require.NoError(t, errors.Join(parallel(len(pods), func(i int) error { return pods[i].tryDetach() })...))
	require.Empty(t, h.held(t))
}

func parallel(n int, f func(i int) error) []error {
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errs
}

func TestStaticAddress(t *testing.T) {
	h := newHost(t)
	static := network.Bridge{Addresses: []netip.Addr{addr("10.213.7.7")}, MAC: "02:00:00:00:00:07"}
	p := h.attach(t, static)
	require.Equal(t, "10.213.7.7", p.ip4())
	require.Equal(t, "02:00:00:00:00:07", p.result.Interfaces[0].MAC)
	q := h.newPod(t, static)
	err := q.tryAttach()
	var taken *network.AddressError
	require.ErrorAs(t, err, &taken)
	require.Equal(t, &network.AddressError{Bridge: "barepod0", Subnet: prefix("10.213.0.0/16"), Address: addr("10.213.7.7"), Free: 65532, By: p.ID}, taken)
	require.ErrorIs(t, err, fs.ErrExist)
	require.NoError(t, p.check())
	require.NoError(t, p.tryDetach())
	require.NoError(t, q.tryAttach())
	require.NoError(t, q.tryDetach())
}

func TestFullSubnet(t *testing.T) {
	h := newHost(t)
	small := network.Bridge{Subnets: append(subnets("10.9.0.0/29"), network.DefaultSubnets()[1])}
	var all []*pod
	for range 5 {
		all = append(all, h.attach(t, small))
	}
	p := h.newPod(t, small)
	before := h.held(t)
	err := p.tryAttach()
	var full *network.AddressError
	require.ErrorAs(t, err, &full)
	require.EqualError(t, full, "subnet 10.9.0.0/29 of bridge barepod0 is full: 0 addresses are free")
	require.NotErrorIs(t, err, fs.ErrExist)
	require.Equal(t, before, h.held(t), "nothing is left, and others have theirs")
	require.NoError(t, all[2].tryDetach())
	require.NoError(t, p.tryAttach())
	require.Equal(t, all[2].ip4(), p.ip4())
	require.NoError(t, p.tryDetach())
}

func TestBridgeRefused(t *testing.T) {
	h := newHost(t)
	run(t, h.ns, "ip", "link", "add", "mine", "type", "bridge")
	run(t, h.ns, "ip", "link", "add", "other", "type", "veth", "peer", "name", "peer")
	run(t, h.ns, "ip", "addr", "add", "10.7.1.1/24", "dev", "other")
	run(t, h.ns, "ip", "addr", "add", "fd07::1/64", "dev", "other")
	h.attach(t, network.Bridge{})
	tests := []struct {
		name   string
		bridge network.Bridge
		want   string
	}{
		{"a bridge of somebody else", network.Bridge{Name: "mine", Subnets: subnets("10.8.0.0/24")}, "exists with other subnets"},
		{"no bridge", network.Bridge{Name: "other", Subnets: subnets("10.8.0.0/24")}, "another interface of this name, a veth"},
		{"ours with another MTU", network.Bridge{MTU: 1400}, "exists with other subnets, gateways or MTU"},
		{"ours with other subnets", network.Bridge{Subnets: subnets("10.8.0.0/24")}, "exists with other subnets"},
		{"overlap of IPv4", network.Bridge{Name: "new", Subnets: subnets("10.7.0.0/16")}, "subnet 10.7.0.0/16 overlaps with 10.7.1.0/24 of the host's other"},
		{"overlap of IPv6", network.Bridge{Name: "new", Subnets: subnets("fd07::/48")}, "subnet fd07::/48 overlaps with fd07::/64 of the host's other"},
		{"overlap with ours", network.Bridge{Name: "new"}, "subnet 10.213.0.0/16 overlaps with 10.213.0.0/16 of the host's barepod0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			links, held := run(t, h.ns, "ip", "-o", "link"), h.held(t)
			p := h.newPod(t, tt.bridge)
			err := p.tryAttach()
			var refused *network.BridgeError
			require.ErrorAs(t, err, &refused)
			require.ErrorContains(t, refused, tt.want)
			require.Equal(t, links, run(t, h.ns, "ip", "-o", "link"))
			require.Equal(t, held, h.held(t))
		})
	}
	// Another state directory's pods would get the same addresses.
	other := &host{ns: h.ns, stateDir: t.TempDir()}
	err := other.newPod(t, network.Bridge{}).tryAttach()
	require.ErrorContains(t, err, "was not made for pods of "+other.stateDir)
}

func TestWithoutIPv6(t *testing.T) {
	h := newHost(t)
	h.do(t, func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0) })
	p := h.newPod(t, network.Bridge{})
	err := p.tryAttach()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	var unsupported *network.UnsupportedError
	require.ErrorAs(t, err, &unsupported)
	require.Equal(t, "an IPv6 subnet", unsupported.Feature)
	require.Empty(t, h.held(t))
	h.do(t, func() error { return network.Release(ctx, h.stateDir) })

	p = h.attach(t, network.Bridge{Subnets: network.DefaultSubnets()[:1]})
	q := h.attach(t, network.Bridge{Subnets: network.DefaultSubnets()[:1]})
	serve(t, p.ns, "p", ":7")
	requireAnswer(t, q.ns, p.ip4(), 7, "p", q.ip4())
}

func TestIPv6Alone(t *testing.T) {
	h := newHost(t)
	six := network.Bridge{Subnets: network.DefaultSubnets()[1:], Ports: []network.Port{{HostPort: 70, ContainerPort: 7}}}
	p := h.attach(t, six)
	require.Equal(t, []netip.Addr{addr("fd62:6172:6570:6f64::2")}, p.result.Addresses())
	serve(t, p.ns, "p", ":7")
	server, _, err := ask(h.ns, "tcp", "fd62:6172:6570:6f64::1", 70)
	require.NoError(t, err)
	require.Equal(t, "p", server)
}

func TestCheckFinds(t *testing.T) {
	tests := []struct {
		name, inPod, onHost string // what is done
		want                string
	}{
		{"address gone", "ip addr del 10.213.0.2/16 dev eth0", "", "eth0 has no address 10.213.0.2/16"},
		{"route gone", "ip -6 route del default", "", "eth0 has no route to ::/0 through fd62:6172:6570:6f64::1"},
		{"interface gone", "ip link del eth0", "", "no link bp"},
		{"interface down", "ip link set eth0 down", "", "up: false"},
		{"another MTU", "ip link set eth0 mtu 1300", "", "with MTU 1300"},
		{"host's end down", "", "ip link set LINK down", "on the host is down"},
		{"off the bridge", "", "ip link set LINK nomaster", "is not on bridge barepod0"},
		{"bridge gone", "", "ip link del barepod0", "no bridge barepod0"},
		{"rules flushed", "", "nft flush ruleset", "nftables table inet barepod: file does not exist"},
		{"port gone", "", "nft delete element inet barepod anyports4 { tcp . 80 }", "host port 0.0.0.0:80/TCP does not lead to the pod"},
		{"address gone from rules", "", "nft delete element inet barepod plain4 { 10.213.0.2 }", "are missing from set plain4"},
		{"bridge gone from rules", "", "nft delete element inet barepod bridges { barepod0 }", "are missing from set bridges"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			p := h.attach(t, network.Bridge{NoMasquerade: true, Ports: []network.Port{{HostPort: 80}}})
			require.NoError(t, p.check())
			if tt.inPod != "" {
				args := strings.Fields(tt.inPod)
				run(t, p.ns, args[0], args[1:]...)
			}
			if tt.onHost != "" {
				args := strings.Fields(strings.ReplaceAll(tt.onHost, "LINK", p.result.Interfaces[0].HostName))
				run(t, h.ns, args[0], args[1:]...)
			}
			err := p.check()
			require.ErrorIs(t, err, network.ErrMismatch)
			require.ErrorContains(t, err, tt.want)
			require.NoError(t, p.tryDetach(), "whatever happened to it")
			require.Empty(t, slices.DeleteFunc(h.held(t), func(s string) bool { return strings.HasPrefix(s, "link") }))
		})
	}
}

func TestIsolate(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	isolated := network.Bridge{Isolate: true}
	withPort := isolated
	withPort.Ports = []network.Port{{HostPort: 77, ContainerPort: 7}, {HostPort: 77, ContainerPort: 7, Protocol: network.UDP}}
	a, b, open := h.attach(t, isolated), h.attach(t, withPort), h.attach(t, network.Bridge{})
	serve(t, b.ns, "b", ":7")
	serve(t, h.ns, "host", ":8")
	requireNoAnswer(t, a.ns, b.ip4(), 7)
	requireNoAnswer(t, a.ns, b.ip6(), 7)
	// Nor by a detour through the gateway, or through a host port.
	run(t, a.ns, "ip", "route", "add", b.ip4()+"/32", "via", "10.213.0.1")
	run(t, a.ns, "ip", "route", "add", b.ip6()+"/128", "via", "fd62:6172:6570:6f64::1")
	requireNoAnswer(t, a.ns, b.ip4(), 7)
	requireNoAnswer(t, a.ns, b.ip6(), 7)
	requireNoAnswer(t, a.ns, "10.213.0.1", 77)
	// The host can, and pods that are not isolated.
	requireAnswer(t, a.ns, "10.213.0.1", 8, "host", a.ip4())
	requireAnswer(t, open.ns, "10.213.0.1", 77, "b", "10.213.0.1")
	requireAnswer(t, open.ns, b.ip4(), 7, "b", open.ip4())
}

// TestCase_R19_Concurrent has pods come and go at once, none of which waits for
// another that is stuck.
func TestCase_R19_Concurrent(t *testing.T) {
	h := newHost(t)
	n := 32
	if testing.Short() {
		n = 8
	}
	pods := make([]*pod, n)
	for i := range pods {
		pods[i] = h.newPod(t, network.Bridge{Ports: []network.Port{{HostPort: 1000 + i}}})
	}
	errs := parallel(n, func(i int) error {
		for range 3 {
			if err := pods[i].tryAttach(); err != nil {
				return err
			}
			if err := pods[i].check(); err != nil {
				return err
			}
			if err := pods[i].tryDetach(); err != nil {
				return err
			}
			// A link goes with its namespace; this one stays, and another
			// Attach of the pod takes it over.
		}
		return nil
	})
	require.NoError(t, errors.Join(errs...))
	require.Empty(t, h.held(t))
}

// TestCase_R19_StuckLock has a process stop while it has a lock: others give up
// when their context ends.
func TestCase_R19_StuckLock(t *testing.T) {
	h := newHost(t)
	p := h.attach(t, network.Bridge{})
	unlock := flock(t, filepath.Join(h.stateDir, ".network", network.DefaultBridge, "addresses", "lock"))
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	q := h.newPod(t, network.Bridge{})
	err := h.ns.Do(func() error {
		_, err := network.Attach(short, q.Pod, q.ns, q.networks)
		return err
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, p.check())
	unlock()
	require.NoError(t, q.tryDetach())
}

// TestCase_R22_AddressNotReused has an address that was given back stay unused
// for as long as there are others, and its last owner silent.
func TestCase_R22_AddressNotReused(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := h.newPod(t, network.Bridge{})
	require.NoError(t, p.tryAttach())
	first := p.ip4()
	gateway := addr("10.213.0.1")
	serve(t, h.ns, "host", gateway.String()+":7")
	requireAnswer(t, p.ns, gateway.String(), 7, "host", first)
	require.NoError(t, p.tryDetach())
	// The namespace lives on: somebody holds it.
	requireNoAnswer(t, p.ns, gateway.String(), 7)
	q := h.attach(t, network.Bridge{})
	require.NotEqual(t, first, q.ip4())
	// And if it has to be the same, so is the hardware address.
	r := h.attach(t, network.Bridge{Addresses: []netip.Addr{addr(first)}})
	requireAnswer(t, r.ns, gateway.String(), 7, "host", first)
	require.Equal(t, p.result.Interfaces[0].MAC, r.result.Interfaces[0].MAC)
}

// TestCase_R03_Reboot has leases of before a reboot where the state directory is
// not on tmpfs: the bridge, the rules and the links are gone, Detach works.
func TestCase_R03_Reboot(t *testing.T) {
	h := newHost(t)
	p := h.newPod(t, network.Bridge{Ports: []network.Port{{HostPort: 80}}})
	require.NoError(t, p.tryAttach())
	rebooted := &host{ns: newHost(t).ns, stateDir: h.stateDir}
	p.host = rebooted
	require.NoError(t, p.tryDetach())
	files, err := filepath.Glob(filepath.Join(h.stateDir, ".network", "*", "holders", "*"))
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestSweep(t *testing.T) {
	h := newHost(t)
	kept := h.attach(t, network.Bridge{Ports: []network.Port{{HostPort: 80}}})
	lost := h.newPod(t, network.Bridge{Isolate: true, Ports: []network.Port{{HostPort: 81, Range: 3}, {HostIP: addr("127.0.0.1"), HostPort: 80, Protocol: network.UDP}}})
	before := h.held(t)
	require.NoError(t, lost.tryAttach())
	require.NotEqual(t, before, h.held(t))
	h.do(t, func() error { return network.Sweep(ctx, h.stateDir, func(id string) bool { return id == kept.ID }) })
	require.Equal(t, before, h.held(t))
	require.NotContains(t, run(t, h.ns, "ip", "-o", "link"), lost.result.Interfaces[0].HostName)
	require.NoError(t, kept.check())
}

func flock(t *testing.T, path string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	return func() { require.NoError(t, f.Close()) }
}

// TestCase_R01_CleanupHasItsOwnContext has an Attach end with its context in the
// middle: it still takes everything back.
func TestCase_R01_CleanupHasItsOwnContext(t *testing.T) {
	for _, point := range []string{"attach.lease", "attach.rules", "attach.bridge", "attach.link", "attach.interface", "attach.bandwidth"} {
		t.Run(point, func(t *testing.T) {
			h := newHost(t)
			p := h.newPod(t, network.Bridge{Ports: []network.Port{{HostPort: 80}}})
			short, cancel := context.WithCancel(ctx)
			defer fault.Set(func(at string) error {
				if at == point {
					cancel()
				}
				return nil
			})()
			err := h.ns.Do(func() error {
				_, err := network.Attach(short, p.Pod, p.ns, p.networks)
				return err
			})
			require.ErrorIs(t, err, context.Canceled)
			require.Empty(t, h.held(t))
		})
	}
}

func TestAttachRefuses(t *testing.T) {
	h := newHost(t)
	ns := newNet(t, nil)
	for field, p := range map[string]network.Pod{
		"StateDir": {StateDir: "relative", ID: "a"},
		"ID":       {StateDir: h.stateDir, ID: "../x"},
	} {
		_, err := network.Attach(ctx, p, ns, network.Attachments{network.Bridge{}})
		var invalid *network.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, field, invalid.Field)
		require.ErrorAs(t, network.Detach(ctx, p, nil), &invalid)
	}
	p := network.Pod{StateDir: h.stateDir, ID: "a"}
	for _, l := range []network.Attachments{nil, {network.None{}}, {network.Host{}}} {
		r, err := network.Attach(ctx, p, ns, l)
		require.NoError(t, err)
		require.Empty(t, r)
		require.NoError(t, network.Check(ctx, p, ns, l, r))
		require.NoError(t, network.Detach(ctx, p, l))
	}
	require.NoDirExists(t, filepath.Join(h.stateDir, ".network"))
}
