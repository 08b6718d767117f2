package network

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
)

// conn is a route netlink socket. It speaks to the namespace of the thread that
// opened it, from any thread, so that nobody has to enter that again.
type conn struct {
	sockets map[int]*nl.SocketHandle
}

// dial opens a socket in the network namespace of the calling thread.
func dial() (*conn, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("open netlink socket", err)
	}
	if err := s.SetExtAck(true); err != nil { // errors with text
		s.Close()
		return nil, os.NewSyscallError("setsockopt NETLINK_EXT_ACK", err)
	}
	return &conn{map[int]*nl.SocketHandle{syscall.NETLINK_ROUTE: {Socket: s}}}, nil
}

// Close closes the socket. It is fine on nil.
func (c *conn) Close() error {
	if c != nil {
		c.sockets[syscall.NETLINK_ROUTE].Close()
	}
	return nil
}

// request begins a message; data are its body and attributes.
func (c *conn) request(kind, flags int, data ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags|syscall.NLM_F_ACK)
	req.Sockets = c.sockets
	for _, d := range data {
		req.AddData(d)
	}
	return req
}

// do sends a message whose answer is yes or no.
func do(what string, req *nl.NetlinkRequest) error {
	_, err := req.Execute(syscall.NETLINK_ROUTE, 0)
	return os.NewSyscallError("netlink: "+what, err)
}

// link returns a link by its name; errNoLink if there is none.
func (c *conn) link(name string) (netlink.Link, error) {
	req := c.request(syscall.RTM_GETLINK, 0, nl.NewIfInfomsg(syscall.AF_UNSPEC), attr(syscall.IFLA_IFNAME, nl.ZeroTerminated(name)))
	msgs, err := req.Execute(syscall.NETLINK_ROUTE, syscall.RTM_NEWLINK)
	if errors.Is(err, syscall.ENODEV) {
		return nil, errNoLink
	}
	if err != nil {
		return nil, os.NewSyscallError("netlink: get link "+name, err)
	}
	if len(msgs) != 1 {
		return nil, errors.New("netlink: get link " + name + ": no answer")
	}
	return netlink.LinkDeserialize(nil, msgs[0])
}

// errNoLink says that there is no link of the name.
var errNoLink = errors.New("no such link")

// dump asks for a list until the kernel has written one during which nothing
// changed: it says so if something did (NLM_F_DUMP_INTR), for then an entry may be
// missing. Whoever else makes links or addresses in the namespace is the reason.
func dump[T any](list func() ([]T, error)) (all []T, err error) {
	for range dumpTries {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// dumpTries are more than a host needs on which links come and go all the time.
const dumpTries = 100

// listens reports whether a link takes what is asked about an IPv6 address on
// it, its solicited-node multicast (RFC 4291): a worker of the kernel has it join
// that group, also when no duplicates are looked for.
func (c *conn) listens(index int, a netip.Addr) (bool, error) {
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	ip := a.As16()
	copy(group[13:], ip[13:])
	msgs, err := dump(func() ([][]byte, error) {
		return c.request(rtmGetMulticast, syscall.NLM_F_DUMP, nl.NewIfAddrmsg(syscall.AF_INET6)).Execute(syscall.NETLINK_ROUTE, 0)
	})
	if err != nil {
		return false, os.NewSyscallError("netlink: get multicast groups", err)
	}
	for _, m := range msgs {
		msg := nl.DeserializeIfAddrmsg(m)
		attrs, err := nl.ParseRouteAttr(m[msg.Len():])
		if err != nil {
			return false, err
		}
		for _, at := range attrs {
			if int(msg.Index) == index && at.Attr.Type == syscall.IFA_MULTICAST && bytes.Equal(at.Value, group[:]) {
				return true, nil
			}
		}
	}
	return false, nil
}

// rtmGetMulticast is RTM_GETMULTICAST.
const rtmGetMulticast = 58

// awaitUp waits until packets pass a link that is set up: until the kernel's
// link watch, a worker of its own, has seen that the other end is. From Linux 6.8
// on the question itself makes it look; before it takes up to a second.
func (c *conn) awaitUp(ctx context.Context, name string) error {
	return await(ctx, "link "+name+" to come up", func() (bool, error) {
		link, err := c.link(name)
		return err == nil && link.Attrs().OperState == netlink.OperUp, err
	})
}

// await asks until the answer is yes.
func await(ctx context.Context, what string, ask func() (bool, error)) error {
	for pause, end := 100*time.Microsecond, time.Now().Add(5*time.Second); ; pause = min(pause+pause/4, 20*time.Millisecond) {
		if ok, err := ask(); ok || err != nil {
			return err
		}
		if time.Now().After(end) {
			return errors.New("waited too long for " + what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// deleteLink deletes a link, and waits some 20 ms for the kernel (RCU).
func (c *conn) deleteLink(name string) error {
	err := do("delete link "+name, c.request(syscall.RTM_DELLINK, 0, nl.NewIfInfomsg(syscall.AF_UNSPEC), attr(syscall.IFLA_IFNAME, nl.ZeroTerminated(name))))
	return ignore(err, syscall.ENODEV)
}

// setDown silences a link: no packet leaves or enters it.
func (c *conn) setDown(name string) error {
	msg := nl.NewIfInfomsg(syscall.AF_UNSPEC)
	msg.Change = syscall.IFF_UP
	err := do("set link "+name+" down", c.request(syscall.RTM_SETLINK, 0, msg, attr(syscall.IFLA_IFNAME, nl.ZeroTerminated(name))))
	return ignore(err, syscall.ENODEV)
}

// setUp sets a link up.
func (c *conn) setUp(name string) error {
	return do("set link "+name+" up", c.request(syscall.RTM_SETLINK, 0, upMsg(), attr(syscall.IFLA_IFNAME, nl.ZeroTerminated(name))))
}

// upMsg is the body of a message that sets a link up.
func upMsg() *nl.IfInfomsg {
	msg := nl.NewIfInfomsg(syscall.AF_UNSPEC)
	msg.Flags, msg.Change = syscall.IFF_UP, syscall.IFF_UP
	return msg
}

// addAddress gives a link an address, usable at once: IPv6 does not look for
// duplicates (IFA_F_NODAD). One that it has already is no error.
func (c *conn) addAddress(index int, p netip.Prefix) error {
	msg := nl.NewIfAddrmsg(family(p.Addr()))
	msg.Index = uint32(index)
	msg.Prefixlen = uint8(p.Bits())
	ip := p.Addr().AsSlice()
	req := c.request(syscall.RTM_NEWADDR, syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE, msg, attr(syscall.IFA_LOCAL, ip), attr(syscall.IFA_ADDRESS, ip))
	if p.Addr().Is4() {
		req.AddData(attr(syscall.IFA_BROADCAST, lastAddr(p.Masked()).AsSlice()))
	} else {
		msg.IfAddrmsg.Flags = syscall.IFA_F_NODAD
	}
	return do("add address "+p.String(), req)
}

// addRoute makes a route through a link.
func (c *conn) addRoute(index int, r Route) error {
	msg := nl.NewRtMsg()
	msg.Family = uint8(family(r.Gateway))
	msg.Dst_len = uint8(r.Destination.Bits())
	req := c.request(syscall.RTM_NEWROUTE, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL, msg,
		attr(syscall.RTA_GATEWAY, r.Gateway.AsSlice()), attr(syscall.RTA_OIF, nl.Uint32Attr(uint32(index))))
	if r.Destination.Bits() > 0 {
		req.AddData(attr(syscall.RTA_DST, r.Destination.Addr().AsSlice()))
	}
	return do("add route to "+r.Destination.String(), req)
}

func attr(kind int, data []byte) *nl.RtAttr { return nl.NewRtAttr(kind, data) }

func family(a netip.Addr) int {
	if a.Is4() {
		return syscall.AF_INET
	}
	return syscall.AF_INET6
}

// ignore returns err unless it is the one that says nothing.
func ignore(err, is error) error {
	if errors.Is(err, is) {
		return nil
	}
	return err
}
