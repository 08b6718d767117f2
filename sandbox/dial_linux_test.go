package sandbox_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/sandbox"
)

// TestCase_R21_Dial reaches servers wherever they listen, whatever Go's dialer
// would do with two families.
func TestCase_R21_Dial(t *testing.T) {
	sb := newSandbox(t, bridged(t, network.Bridge{}))
	ip4, ip6 := sb.Network().Addresses()[0], sb.Network().Addresses()[1]
	// The host has servers on the same ports, which must not answer.
	for _, port := range []string{"81", "82", "83", "84", "85"} {
		l, err := net.Listen("tcp", ":"+port)
		require.NoError(t, err)
		say(t, l, "host")
	}
	for _, tt := range []struct{ name, listen, dial string }{
		{"all addresses", ":81", "localhost:81"},
		{"IPv4 loopback", "127.0.0.1:82", "localhost:82"},
		{"IPv6 loopback", "[::1]:83", "localhost:83"},
		{"pod's IPv4", netip.AddrPortFrom(ip4, 84).String(), "localhost:84"},
		{"pod's IPv6", netip.AddrPortFrom(ip6, 85).String(), ":85"},
		{"literal", "127.0.0.1:86", "127.0.0.1:86"},
		{"literal of IPv6", "[::1]:86", "[::1]:86"},
		{"localhost", "localhost:87", "127.0.0.1:87"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := sb.Listen(t.Context(), "tcp", tt.listen)
			require.NoError(t, err)
			say(t, l, "pod")
			c, err := sb.Dial(t.Context(), "tcp", tt.dial)
			require.NoError(t, err)
			defer c.Close()
			b := make([]byte, 10)
			n, err := c.Read(b)
			require.NoError(t, err)
			require.Equal(t, "pod", string(b[:n]))

			p, err := sb.ListenPacket(t.Context(), "udp", tt.listen)
			require.NoError(t, err)
			u, err := sb.Dial(t.Context(), "udp", tt.dial)
			require.NoError(t, err)
			defer u.Close()
			_, err = u.Write([]byte("ping"))
			require.NoError(t, err)
			require.NoError(t, p.SetReadDeadline(time.Now().Add(patience)))
			n, _, err = p.ReadFrom(b)
			require.NoError(t, err)
			require.Equal(t, "ping", string(b[:n]))
			require.NoError(t, p.Close())
		})
	}
	for _, proto := range []string{"tcp", "udp"} {
		_, err := sb.Dial(t.Context(), proto, "localhost:99")
		require.ErrorIs(t, err, syscall.ECONNREFUSED, proto)
	}
	_, err := sb.Dial(t.Context(), "tcp4", "localhost:83")
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "the server is on ::1 alone")
}

// TestCase_R21_ManyDials makes sure that no socket is made outside when many are
// made at once.
func TestCase_R21_ManyDials(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	outside, err := net.Listen("tcp", ":80")
	require.NoError(t, err)
	say(t, outside, "host")
	l, err := sb.Listen(t.Context(), "tcp", "127.0.0.1:80")
	require.NoError(t, err)
	say(t, l, "pod")
	var all sync.WaitGroup
	errs := make([]error, 64)
	for i := range errs {
		all.Go(func() {
			c, err := sb.Dial(t.Context(), "tcp", "localhost:80")
			if err != nil {
				errs[i] = err
				return
			}
			b := make([]byte, 10)
			n, err := c.Read(b)
			if err == nil && string(b[:n]) != "pod" {
				err = errors.New("answered by the " + string(b[:n]))
			}
			errs[i] = errors.Join(err, c.Close())
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
}

// TestCVE_2020_15257 is for abstract sockets, which belong to a network
// namespace: a pod does not reach the host's, nor the host the pod's.
func TestCVE_2020_15257_AbstractSockets(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	outside, err := net.Listen("unix", "@barepod-test")
	require.NoError(t, err)
	say(t, outside, "host")
	_, err = sb.Dial(t.Context(), "unix", "@barepod-test")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	l, err := sb.Listen(t.Context(), "unix", "@barepod-test")
	require.NoError(t, err, "the name is free there")
	say(t, l, "pod")
	require.Equal(t, "host", hearUnix(t, func() (net.Conn, error) { return net.Dial("unix", "@barepod-test") }))
	require.Equal(t, "pod", hearUnix(t, func() (net.Conn, error) { return sb.Dial(t.Context(), "unix", "@barepod-test") }))
}

func hearUnix(t *testing.T, dial func() (net.Conn, error)) string {
	t.Helper()
	c, err := dial()
	require.NoError(t, err)
	defer c.Close()
	b := make([]byte, 10)
	n, err := c.Read(b)
	require.NoError(t, err)
	return string(b[:n])
}

func TestDialRefuses(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	for _, address := range []string{"", "80", "example.com:80", "127.0.0.1:http", "127.0.0.1:70000", "localhost:-1"} {
		var invalid *sandbox.InvalidError
		_, err := sb.Dial(t.Context(), "tcp", address)
		require.ErrorAs(t, err, &invalid, "%q", address)
		require.Equal(t, "address", invalid.Field)
		_, err = sb.Listen(t.Context(), "tcp", address)
		require.ErrorAs(t, err, &invalid, "%q", address)
	}
	_, err := sb.Dial(t.Context(), "nonsense", "127.0.0.1:80")
	var unknown net.UnknownNetworkError
	require.ErrorAs(t, err, &unknown)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = sb.Dial(ended, "tcp", "localhost:80")
	require.ErrorContains(t, err, "operation was canceled")
	require.NoError(t, sb.Close())
	_, err = sb.Dial(t.Context(), "tcp", "localhost:80")
	require.Error(t, err)
}

func TestInterfaceStats(t *testing.T) {
	sb := newSandbox(t, bridged(t, network.Bridge{}))
	l, err := sb.Listen(t.Context(), "tcp", ":80")
	require.NoError(t, err)
	say(t, l, "0123456789")
	before, err := sb.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, before.Interfaces, 2)
	require.Equal(t, "lo", before.Interfaces[0].Name)
	require.Equal(t, "eth0", before.Interfaces[1].Name)
	require.Equal(t, "0123456789", hear(t, here, netip.AddrPortFrom(sb.Network().Addresses()[0], 80).String()))
	after, err := sb.Stats(t.Context())
	require.NoError(t, err)
	require.Greater(t, after.Interfaces[1].TxBytes, before.Interfaces[1].TxBytes+10)
	require.Greater(t, after.Interfaces[1].RxPackets, before.Interfaces[1].RxPackets)

	host := newSandbox(t, sandbox.Config{Networks: network.Attachments{network.Host{}}})
	stats, err := host.Stats(t.Context())
	require.NoError(t, err)
	require.Empty(t, stats.Interfaces)
}
