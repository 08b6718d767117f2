package network_test

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// TestCVE_2020_8558 has a pod send to the host's loopback addresses, through a
// bridge that lets the host's own connections to 127.0.0.1 out.
func TestCVE_2020_8558_LoopbackServices(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	outside := h.outside(t)
	p := h.attach(t, network.Bridge{Ports: []network.Port{{HostPort: 80, ContainerPort: 7}}})
	serve(t, p.ns, "p", ":7")
	serve(t, h.ns, "secret", "127.0.0.1:22")
	_, _, err := ask(h.ns, "tcp", "127.0.0.1", 80)
	require.NoError(t, err, "host ports work through 127.0.0.1")
	_, _, err = ask(h.ns, "tcp", "127.0.0.1", 22)
	require.NoError(t, err)

	// The pod has root's say about its own namespace: 127.0.0.0/8 goes out.
	for _, c := range []struct {
		from *namespace.Handle
		dev  string
		via  string
	}{{p.ns, "eth0", "10.213.0.1"}, {outside.ns, "wire0", hostAddr4}} {
		sysctl(t, c.from, "ipv4/conf/all/route_localnet", "1")
		run(t, c.from, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
		run(t, c.from, "ip", "route", "add", "127.0.0.0/8", "via", c.via, "dev", c.dev)
		requireNoAnswer(t, c.from, "127.0.0.1", 22)
	}
	// Nor with a source of that range, whose answer would go there.
	require.Contains(t, run(t, h.ns, "nft", "list", "chain", "inet", "barepod", "guard"), "ip saddr 127.0.0.0/8 drop")
	require.Equal(t, "0", strings.TrimSpace(run(t, h.ns, "cat", "/proc/sys/net/ipv4/conf/all/route_localnet")))
	require.Equal(t, "0", strings.TrimSpace(run(t, h.ns, "cat", "/proc/sys/net/ipv4/conf/wire0/route_localnet")))
}

// TestCVE_2020_10749 has a pod send router advertisements to all.
func TestCVE_2020_10749_RouterAdvertisements(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	evil, victim := h.attach(t, network.Bridge{}), h.attach(t, network.Bridge{})
	// A host that is no router would listen to them.
	control := newHost(t)
	wire(t, h, control, 0)
	sendRA := func(ns *namespace.Handle, dev string) {
		require.NoError(t, ns.Do(func() error { return routerAdvertisement(dev) }))
	}
	addrs := func(ns *namespace.Handle) string {
		return run(t, ns, "ip", "-6", "-o", "addr") + run(t, ns, "ip", "-6", "route")
	}

	sysctl(t, control.ns, "ipv6/conf/wire0/accept_ra", "1")
	eventually(t, func() bool {
		sendRA(h.ns, "wire0") // good once its sender has a link-local address
		return strings.Contains(addrs(control.ns), "2001:db8:bad:")
	}, "the advertisement is a good one")

	eventually(t, func() bool { return strings.Contains(addrs(evil.ns), "fe80::") }, "a sender that would be believed")
	for range 3 {
		sendRA(evil.ns, "eth0")
		time.Sleep(30 * time.Millisecond)
	}
	require.NotContains(t, addrs(victim.ns), "bad")
	require.NotContains(t, addrs(h.ns), "bad")
	for _, ns := range []struct {
		ns  *namespace.Handle
		dev string
	}{{h.ns, network.DefaultBridge}, {victim.ns, "eth0"}} {
		require.Equal(t, "0", strings.TrimSpace(run(t, ns.ns, "cat", "/proc/sys/net/ipv6/conf/"+ns.dev+"/accept_ra")))
	}
}

// routerAdvertisement sends one with a prefix and a default route.
func routerAdvertisement(dev string) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.BindToDevice(fd, dev); err != nil {
		return os.NewSyscallError("bind to device", err)
	}
	prefix := netip.MustParseAddr("2001:db8:bad::").As16()
	msg := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
	option := []byte{3, 4, 64, 0xc0}
	option = binary.BigEndian.AppendUint32(option, 3600)
	option = binary.BigEndian.AppendUint32(option, 3600)
	option = binary.BigEndian.AppendUint32(option, 0)
	msg = append(append(msg, option...), prefix[:]...)
	all := netip.MustParseAddr("ff02::1").As16()
	return os.NewSyscallError("sendto", unix.Sendto(fd, msg, 0, &unix.SockaddrInet6{Addr: all}))
}

// TestForwardingKeepsRoutes has a host that learned its default route from a
// router become a router itself.
func TestForwardingKeepsRoutes(t *testing.T) {
	h, router := newHost(t), newHost(t)
	wire(t, h, router, 0)
	sysctl(t, h.ns, "ipv6/conf/wire0/accept_ra", "1")
	h.attach(t, network.Bridge{})
	require.Equal(t, "1", strings.TrimSpace(run(t, h.ns, "cat", "/proc/sys/net/ipv6/conf/all/forwarding")))
	eventually(t, func() bool {
		require.NoError(t, router.ns.Do(func() error { return routerAdvertisement("wire0") }))
		return strings.Contains(run(t, h.ns, "ip", "-6", "route"), "2001:db8:bad::/64")
	}, "the host goes on listening")
}
