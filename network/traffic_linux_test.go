package network_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// serve answers in the namespace: each TCP connection and each UDP packet to the
// port is told the name of the server and the address that the client has there.
func serve(t testing.TB, ns *namespace.Handle, name, address string) {
	t.Helper()
	var l net.Listener
	var p net.PacketConn
	require.NoError(t, ns.Do(func() (err error) {
		if l, err = net.Listen("tcp", address); err != nil {
			return err
		}
		p, err = net.ListenPacket("udp", address)
		return err
	}))
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(c, "%s %v", name, c.RemoteAddr())
			_ = c.Close()
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for b := make([]byte, 100); ; {
			_, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = p.WriteTo(fmt.Appendf(nil, "%s %v", name, from), from)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		_ = p.Close()
		<-done
		<-done
	})
}

const (
	// patience is how long an answer may take where everything is slow.
	patience = time.Minute
	// silence is how long no answer comes where none will: the kernel needs
	// none of that time to deliver to the next namespace.
	silence = time.Second
)

// ask connects from a namespace, and returns the server's name and the address it
// sees, without the port.
func ask(ns *namespace.Handle, proto, host string, port int) (server, client string, err error) {
	return askWithin(patience, ns, proto, host, port)
}

func askWithin(timeout time.Duration, ns *namespace.Handle, proto, host string, port int) (server, client string, err error) {
	end := time.Now().Add(timeout)
	var c net.Conn
	err = ns.Do(func() (err error) {
		// One address: the dialer stays on this thread.
		c, err = net.DialTimeout(proto, net.JoinHostPort(host, strconv.Itoa(port)), timeout)
		return err
	})
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	if err := c.SetDeadline(end); err != nil {
		return "", "", err
	}
	if proto == "udp" {
		if _, err := c.Write([]byte("?")); err != nil {
			return "", "", err
		}
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", "", err
	}
	var at string
	if _, err := fmt.Sscanf(string(b[:n]), "%s %s", &server, &at); err != nil {
		return "", "", fmt.Errorf("%q: %w", b[:n], err)
	}
	client, _, err = net.SplitHostPort(at)
	return server, client, err
}

// requireAnswer asks by TCP and UDP.
func requireAnswer(t testing.TB, from *namespace.Handle, host string, port int, server, client string) {
	t.Helper()
	for _, proto := range []string{"tcp", "udp"} {
		s, c, err := ask(from, proto, host, port)
		require.NoError(t, err, "%s to %s port %d", proto, host, port)
		require.Equal(t, server, s)
		if client != "" {
			require.Equal(t, client, c, "%s to %s port %d", proto, host, port)
		}
	}
}

func requireNoAnswer(t testing.TB, from *namespace.Handle, host string, port int) {
	t.Helper()
	protos := []string{"tcp", "udp"}
	for i, err := range parallel(len(protos), func(i int) error {
		_, _, err := askWithin(silence, from, protos[i], host, port)
		return err
	}) {
		require.Error(t, err, "%s to %s port %d", protos[i], host, port)
	}
}

// wire joins two hosts by a link, with an address on each end.
func wire(t testing.TB, a, b *host, number int) {
	t.Helper()
	link := fmt.Sprint("wire", number)
	run(t, a.ns, "ip", "link", "add", link, "type", "veth", "peer", "name", link, "netns", fmt.Sprintf("/proc/%d/fd/%d", pid(), b.ns.File().Fd()))
	for i, h := range []*host{a, b} {
		run(t, h.ns, "ip", "addr", "add", fmt.Sprintf("192.0.2.%d/30", 4*number+i+1), "dev", link)
		run(t, h.ns, "ip", "addr", "add", fmt.Sprintf("2001:db8:%d::%d/64", number+1, i+1), "dev", link, "nodad")
		run(t, h.ns, "ip", "link", "set", link, "up")
	}
	for _, h := range []*host{a, b} {
		eventually(t, func() bool { return strings.Contains(run(t, h.ns, "ip", "link", "show", link), "state UP") }, link)
	}
}

// outside is a host that is wired to h and has a server on port 7, at these
// addresses; h is at the others.
const (
	outside4, outside6 = "192.0.2.2", "2001:db8:1::2"
	hostAddr4          = "192.0.2.1"
	hostAddr6          = "2001:db8:1::1"
)

func (h *host) outside(t testing.TB) *host {
	t.Helper()
	o := newHost(t)
	wire(t, h, o, 0)
	serve(t, o.ns, "outside", ":7")
	return o
}

func TestTraffic(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	outside := h.outside(t)
	a, b := h.attach(t, network.Bridge{}), h.attach(t, network.Bridge{})
	serve(t, a.ns, "a", ":7")
	serve(t, b.ns, "b", ":7")
	serve(t, h.ns, "host", ":7")

	requireAnswer(t, a.ns, b.ip4(), 7, "b", a.ip4())
	requireAnswer(t, a.ns, b.ip6(), 7, "b", a.ip6())
	requireAnswer(t, a.ns, a.ip4(), 7, "a", a.ip4())
	requireAnswer(t, a.ns, "127.0.0.1", 7, "a", "127.0.0.1")
	requireAnswer(t, a.ns, "::1", 7, "a", "::1")

	// The host is the gateway, and all its other addresses.
	requireAnswer(t, a.ns, "10.213.0.1", 7, "host", a.ip4())
	requireAnswer(t, a.ns, "fd62:6172:6570:6f64::1", 7, "host", a.ip6())
	server, client, err := ask(a.ns, "tcp", hostAddr4, 7)
	require.NoError(t, err)
	require.Equal(t, "host "+a.ip4(), server+" "+client)
	requireAnswer(t, h.ns, a.ip4(), 7, "a", "10.213.0.1")
	requireAnswer(t, h.ns, a.ip6(), 7, "a", "fd62:6172:6570:6f64::1")

	// What leaves the host has its address.
	requireAnswer(t, a.ns, outside4, 7, "outside", hostAddr4)
	requireAnswer(t, a.ns, outside6, 7, "outside", hostAddr6)
	// The outside has no route to the pod.
	requireNoAnswer(t, outside.ns, a.ip4(), 7)
}

func TestNoMasquerade(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	outside := h.outside(t)
	a := h.attach(t, network.Bridge{NoMasquerade: true, Ports: []network.Port{{HostPort: 77, ContainerPort: 7}, {HostPort: 77, ContainerPort: 7, Protocol: network.UDP}}})
	serve(t, a.ns, "a", ":7")
	requireNoAnswer(t, a.ns, outside4, 7) // there is no way back
	run(t, outside.ns, "ip", "route", "add", "10.213.0.0/16", "via", hostAddr4)
	run(t, outside.ns, "ip", "route", "add", "fd62:6172:6570:6f64::/64", "via", hostAddr6)
	requireAnswer(t, a.ns, outside4, 7, "outside", a.ip4())
	requireAnswer(t, a.ns, outside6, 7, "outside", a.ip6())
	requireAnswer(t, outside.ns, a.ip4(), 7, "a", outside4)
	requireAnswer(t, a.ns, hostAddr4, 77, "a", "10.213.0.1")
}

func TestHostPorts(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	outside := h.outside(t)
	a := h.attach(t, network.Bridge{Ports: []network.Port{
		{HostPort: 8000, ContainerPort: 7},
		{HostPort: 8000, ContainerPort: 7, Protocol: network.UDP},
		{HostPort: 9000, ContainerPort: 5, Range: 3},
		{HostPort: 9000, ContainerPort: 5, Range: 3, Protocol: network.UDP},
		{HostPort: 8000, ContainerPort: 7, Protocol: network.SCTP},
	}})
	b := h.attach(t, network.Bridge{})
	serve(t, a.ns, "a", ":7")
	for _, port := range []int{8000, 9002} {
		// From outside, by the address that is there.
		requireAnswer(t, outside.ns, hostAddr4, port, "a", outside4)
		requireAnswer(t, outside.ns, hostAddr6, port, "a", outside6)
		// From the host.
		requireAnswer(t, h.ns, "127.0.0.1", port, "a", "10.213.0.1")
		requireAnswer(t, h.ns, "127.1.2.3", port, "a", "10.213.0.1")
		requireAnswer(t, h.ns, hostAddr4, port, "a", "")
		requireAnswer(t, h.ns, "10.213.0.1", port, "a", "10.213.0.1")
		// From another pod, and from the pod itself.
		requireAnswer(t, b.ns, hostAddr4, port, "a", "10.213.0.1")
		requireAnswer(t, b.ns, "10.213.0.1", port, "a", "10.213.0.1")
		requireAnswer(t, b.ns, hostAddr6, port, "a", "fd62:6172:6570:6f64::1")
		requireAnswer(t, a.ns, hostAddr4, port, "a", "10.213.0.1")
		requireAnswer(t, a.ns, hostAddr6, port, "a", "fd62:6172:6570:6f64::1")
	}
	for _, port := range []int{8001, 8999, 9003, 7} {
		requireNoAnswer(t, outside.ns, hostAddr4, port)
		requireNoAnswer(t, h.ns, "127.0.0.1", port)
	}
	// What is not for the host is not redirected.
	requireNoAnswer(t, a.ns, outside4, 8000)

	require.NoError(t, a.tryDetach())
	requireNoAnswer(t, outside.ns, hostAddr4, 8000)
}

// TestHostPortsThroughBridgeNetfilter is for hosts where bridged packets pass the
// rules of IP, as Kubernetes wants it.
func TestHostPortsThroughBridgeNetfilter(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	ports := []network.Port{{HostPort: 8000, ContainerPort: 7}, {HostPort: 8000, ContainerPort: 7, Protocol: network.UDP}}
	a, b := h.attach(t, network.Bridge{Ports: ports}), h.attach(t, network.Bridge{})
	h.do(t, func() error { return bridgeNetfilter("1") })
	serve(t, a.ns, "a", ":7")
	requireAnswer(t, b.ns, a.ip4(), 7, "a", b.ip4())
	requireAnswer(t, b.ns, a.ip6(), 7, "a", b.ip6())
	requireAnswer(t, b.ns, "10.213.0.1", 8000, "a", "")
	requireAnswer(t, a.ns, "10.213.0.1", 8000, "a", "")
	requireAnswer(t, a.ns, "fd62:6172:6570:6f64::1", 8000, "a", "")
	requireAnswer(t, h.ns, "127.0.0.1", 8000, "a", "10.213.0.1")
}

func TestHostIP(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	outside := h.outside(t)
	port := func(ip string, host int) network.Port {
		return network.Port{HostIP: addr(ip), HostPort: host, ContainerPort: 7}
	}
	a := h.attach(t, network.Bridge{Ports: []network.Port{
		port("127.0.0.1", 8000), port(hostAddr4, 8001), port(hostAddr6, 8002), port("0.0.0.0", 8003), port("::", 8004),
	}})
	b := h.attach(t, network.Bridge{Ports: []network.Port{port(hostAddr4, 8000)}})
	serve(t, a.ns, "a", ":7")
	serve(t, b.ns, "b", ":7")
	reach := func(from *namespace.Handle, host string, port int) string {
		server, _, err := ask(from, "tcp", host, port)
		if err != nil {
			return "-"
		}
		return server
	}
	for _, tt := range []struct {
		name, host string
		from       *namespace.Handle
		want       string // at 8000 to 8004
	}{
		{"outside 4", hostAddr4, outside.ns, "b a - a -"},
		{"outside 6", hostAddr6, outside.ns, "- - a - a"},
		{"loopback 4", "127.0.0.1", h.ns, "a - - a -"},
		{"host 6", hostAddr6, h.ns, "- - a - a"},
	} {
		var got string
		for p := 8000; p <= 8004; p++ {
			got += " " + reach(tt.from, tt.host, p)
		}
		require.Equal(t, " "+tt.want, got, tt.name)
	}
}
