package sandbox

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/namespace"
)

// Dial connects to address from inside of the pod: the connection is as ordinary
// as one of net.Dial, but its socket is in the pod's network namespace. Networks
// are those of tcp, udp and unix.
//
// The host of an address is an IP address, or localhost, which an empty one means,
// too: that is ::1, 127.0.0.1 and the pod's own addresses, tried one after the
// other, whichever the server listens on. For udp it is the first of them where a
// socket is bound. Other names are an *InvalidError: look them up before. A
// unix address with an "@" in front is the pod's; a path is the host program's.
//
// The context bounds the connecting, not the connection. An open connection
// keeps the pod's network namespace after Remove.
func (s *Sandbox) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := s.dial(ctx, network, address)
	return c, wrap("dial", s.cfg.ID, err)
}

// Listen listens inside of the pod, as net.ListenConfig.Listen does: "tcp" and
// ":80" are for all of the pod's addresses. What is said about addresses and
// sockets at Dial holds, but localhost is 127.0.0.1.
func (s *Sandbox) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var l net.Listener
	err := s.listen(network, address, func(address string) (err error) {
		l, err = (&net.ListenConfig{}).Listen(ctx, network, address)
		return err
	})
	return l, wrap("listen", s.cfg.ID, err)
}

// ListenPacket is Listen for packets, as net.ListenConfig.ListenPacket.
func (s *Sandbox) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var c net.PacketConn
	err := s.listen(network, address, func(address string) (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(ctx, network, address)
		return err
	})
	return c, wrap("listen", s.cfg.ID, err)
}

// inNet runs f in the pod's network namespace, where sockets are to be made.
func (s *Sandbox) inNet(f func() error) error { return s.shared.Of(namespace.Net).Do(f) }

func (s *Sandbox) listen(network, address string, listen func(address string) error) error {
	if strings.HasPrefix(network, "unix") {
		return s.inNet(func() error { return listen(address) })
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return err
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	return s.inNet(func() error { return listen(net.JoinHostPort(host, port)) })
}

func (s *Sandbox) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if strings.HasPrefix(network, "unix") {
		return s.dialOne(ctx, network, address)
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	if host != "" && host != "localhost" {
		return s.dialOne(ctx, network, net.JoinHostPort(host, port))
	}
	places, err := s.localPlaces(network, port)
	if err != nil {
		return nil, err
	}
	// One at a time, each on a thread in the namespace: net.Dialer would try two
	// families at once, and the second outside (golang/go#44922).
	var errs []error
	for _, p := range places {
		c, err := s.dialOne(ctx, network, p)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// dialOne connects to one address: without a name to look up the dialer makes
// its socket on the calling thread.
func (s *Sandbox) dialOne(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = s.inNet(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// splitAddress splits an address and refuses names.
func splitAddress(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", &invalid.Error{Field: "address", Value: address, Reason: "must be host:port", Err: err}
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return "", "", &invalid.Error{Field: "address", Value: address, Reason: "must have an IP address or localhost in front of the port"}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", &invalid.Error{Field: "address", Value: address, Reason: "must end with the number of a port"}
	}
	return host, port, nil
}

// localPlaces returns the addresses where a server of the pod may be.
func (s *Sandbox) localPlaces(network, port string) ([]string, error) {
	addrs := append([]netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, s.res.Network.Addresses()...)
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	var places, bound []string
	for _, a := range addrs {
		if strings.HasSuffix(network, "4") && a.Is6() || strings.HasSuffix(network, "6") && a.Is4() {
			continue
		}
		at := netip.AddrPortFrom(a, uint16(n))
		places = append(places, at.String())
		if !strings.HasPrefix(network, "udp") {
			continue
		}
		// A connection by UDP is always made, whoever is there.
		err := s.inNet(func() error { return sys.TryBind(syscall.IPPROTO_UDP, at) })
		if errors.Is(err, syscall.EADDRINUSE) {
			bound = append(bound, at.String())
		}
	}
	if strings.HasPrefix(network, "udp") && len(bound) == 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	if len(bound) > 0 {
		return bound, nil
	}
	return places, nil
}
