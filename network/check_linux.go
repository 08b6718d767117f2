package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"

	"github.com/barepod/barepod/namespace"
)

// Check looks whether the pod still has the network that Attach returned: its
// links, addresses, routes, leases, rules, pin. CNI plugins check it by CHECK,
// from version 0.4 on. It changes nothing. What it finds
// to be different is an error that matches ErrMismatch.
func Check(ctx context.Context, p Pod, ns *namespace.Handle, networks Attachments, made Result) error {
	if err := errors.Join(p.validate(), networks.Validate()); err != nil {
		return err
	}
	return wrap("check", p.ID, check(ctx, p, ns, networks, made))
}

func check(ctx context.Context, p Pod, ns *namespace.Handle, networks Attachments, made Result) error {
	netns := ""
	if p.isPinned(networks) {
		var err error
		if netns, err = p.checkPin(ns); err != nil {
			return err
		}
	}
	for i, at := range networks.interfaces() {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch at := at.(type) {
		case Bridge:
			one, ok := made.of(podName(i))
			if !ok {
				return mismatch("%s is not among the %d interfaces that were made", podName(i), len(made.Interfaces))
			}
			if err := checkHost(p, at.complete(), one); err != nil {
				return err
			}
			if err := ns.Do(func() error { return checkInside(one) }); err != nil {
				return err
			}
		case CNI:
			if err := checkCNI(ctx, p, podName(i), netns); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// checkPin returns the path where the namespace is pinned, and nothing else.
func (p Pod) checkPin(ns *namespace.Handle) (string, error) {
	path, err := p.pinned()
	var foreign *NetNSError
	switch {
	case errors.As(err, &foreign):
		return "", mismatch("%w", err)
	case err == nil && path == "":
		return "", mismatch("no namespace at %s", p.NetNSPath())
	case err != nil:
		return "", err
	}
	there, err := namespace.Open(path)
	if err != nil {
		return "", err
	}
	defer there.Close()
	if !there.Equal(ns) {
		return "", mismatch("%s is %v, not the pod's %v", path, there, ns)
	}
	return path, nil
}

func mismatch(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMismatch}, args...)...)
}

// checkHost checks what the host has of an interface.
func checkHost(p Pod, b Bridge, made Interface) error {
	host, err := dial()
	if err != nil {
		return err
	}
	defer host.Close()
	bridge, err := findBridge(host, p.StateDir, b)
	if errors.Is(err, errNoLink) {
		return mismatch("no bridge %s", b.Name)
	}
	if err != nil {
		return err
	}
	link, err := host.link(made.HostName)
	switch {
	case errors.Is(err, errNoLink):
		return mismatch("%s: no link %s on the host", made.Name, made.HostName)
	case err != nil:
		return err
	case link.Attrs().RawFlags&syscall.IFF_UP == 0:
		return mismatch("%s: link %s on the host is down", made.Name, made.HostName)
	case link.Attrs().MasterIndex != bridge:
		return mismatch("%s: link %s is not on bridge %s", made.Name, made.HostName, b.Name)
	}
	addrs := Result{Interfaces: []Interface{made}}.Addresses()
	if held := heldBy(networkDir(p.StateDir, b.Name), p.ID, made.Name); !slices.Equal(held, addrs) {
		return mismatch("%s: leases are of %v, not %v", made.Name, held, addrs)
	}
	if err := checkTable(); err != nil {
		return mismatch("%w", err)
	}
	e, err := append(elementsOf(b, addrs), bridgeElements(b.Name, nil)...).missing()
	switch {
	case err != nil:
		return err
	case e != nil && e.port != nil:
		return mismatch("%s: host port %v/%s does not lead to the pod", made.Name, e.port.Port, e.port.Protocol)
	case e != nil:
		return mismatch("%s: rules of %v are missing from set %s", made.Name, addrs, e.set.Name)
	}
	return nil
}

// checkInside checks an interface from inside of the pod.
func checkInside(made Interface) error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.Close()
	link, err := c.link(made.Name)
	if errors.Is(err, errNoLink) {
		return mismatch("the pod has no %s", made.Name)
	}
	if err != nil {
		return err
	}
	at := link.Attrs()
	if up := at.RawFlags&syscall.IFF_UP != 0; !up || at.MTU != made.MTU || at.HardwareAddr.String() != made.MAC {
		return mismatch("%s is %v with MTU %d, up: %t", made.Name, at.HardwareAddr, at.MTU, up)
	}
	return errors.Join(checkAddresses(link, made), checkRoutes(link, made))
}

func checkAddresses(link netlink.Link, made Interface) error {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	var have []netip.Prefix
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		have = append(have, netip.PrefixFrom(ip.Unmap(), bits))
	}
	for _, a := range made.Addresses {
		if !slices.Contains(have, a.Prefix) {
			return mismatch("%s has no address %v", made.Name, a.Prefix)
		}
	}
	return nil
}

func checkRoutes(link netlink.Link, made Interface) error {
	routes, err := dump(func() ([]netlink.Route, error) { return netlink.RouteList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	var have []Route
	for _, r := range routes {
		if r.Gw == nil || r.Dst == nil {
			continue
		}
		gw, _ := netip.AddrFromSlice(r.Gw)
		dst, _ := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		have = append(have, Route{Destination: netip.PrefixFrom(dst.Unmap(), bits), Gateway: gw.Unmap()})
	}
	for _, r := range made.Routes {
		if !slices.Contains(have, r) {
			return mismatch("%s has no route to %v through %v", made.Name, r.Destination, r.Gateway)
		}
	}
	return nil
}
