package network

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/barepod/barepod/internal/fault"
)

// bridgeMAC is the hardware address of a bridge: a digest of whose it is and of
// all its settings. So one message tells whether a bridge is the one that is
// wanted, and the kernel does not change its address with every port.
func bridgeMAC(stateDir string, b Bridge) net.HardwareAddr {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%v\x00%d", stateDir, b.Name, b.Subnets, b.MTU))
	return append(net.HardwareAddr{0x02}, sum[:5]...) // locally administered
}

// findBridge returns the index of the bridge; errNoLink if it is not there, or
// not finished.
func findBridge(host *conn, stateDir string, b Bridge) (int, error) {
	link, err := host.link(b.Name)
	if err != nil {
		return 0, err
	}
	a := link.Attrs()
	switch {
	case link.Type() != "bridge":
		return 0, &BridgeError{Bridge: b.Name, Reason: "the host has another interface of this name, a " + link.Type()}
	case a.HardwareAddr.String() != bridgeMAC(stateDir, b).String():
		return 0, &BridgeError{Bridge: b.Name, Reason: "exists with other subnets, gateways or MTU, or was not made for pods of " + stateDir}
	case a.RawFlags&syscall.IFF_UP == 0:
		return 0, errNoLink
	}
	return a.Index, nil
}

// ensureBridge returns the index of the bridge, and makes it if it is missing.
// Only who makes it takes a lock.
func ensureBridge(ctx context.Context, host *conn, stateDir string, b Bridge) (int, error) {
	index, err := findBridge(host, stateDir, b)
	if !errors.Is(err, errNoLink) {
		return index, err
	}
	if err := os.MkdirAll(networkDir(stateDir, b.Name), 0o700); err != nil {
		return 0, err
	}
	unlock, err := lock(ctx, filepath.Join(networkDir(stateDir, b.Name), bridgeLock))
	if err != nil {
		return 0, err
	}
	defer unlock()
	index, err = findBridge(host, stateDir, b)
	if !errors.Is(err, errNoLink) {
		return index, err
	}
	return makeBridge(ctx, host, stateDir, b)
}

// makeBridge makes the bridge, or finishes one whose maker died. Up is what says
// that it is finished.
func makeBridge(ctx context.Context, host *conn, stateDir string, b Bridge) (int, error) {
	for _, s := range b.Subnets {
		if err := requireFree(b.Name, s.Prefix); err != nil {
			return 0, err
		}
		if s.Prefix.Addr().Is6() {
			if err := requireIPv6(); err != nil {
				return 0, err
			}
		}
	}
	if err := forward(b); err != nil {
		return 0, err
	}
	mac := bridgeMAC(stateDir, b)
	if err := writeJSON(networkDir(stateDir, b.Name), bridgeFile, bridgeRecord{MAC: mac.String(), Subnets: b.Subnets}); err != nil {
		return 0, err
	}
	if err := addBridge(ctx, b.Name, b.Subnets); err != nil {
		return 0, err
	}
	if err := fault.Point("attach.bridge.link"); err != nil {
		return 0, err
	}
	info := attr(syscall.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	// Without a querier snooping has nothing to learn from but costs.
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_BR_MCAST_SNOOPING, []byte{0})
	err := do("make bridge "+b.Name, host.request(syscall.RTM_NEWLINK, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL,
		nl.NewIfInfomsg(syscall.AF_UNSPEC),
		attr(syscall.IFLA_IFNAME, nl.ZeroTerminated(b.Name)),
		attr(syscall.IFLA_ADDRESS, mac),
		info))
	if errors.Is(err, syscall.EEXIST) { // half made, as findBridge has seen
		err = nil
	}
	if err != nil {
		return 0, err
	}
	link, err := host.link(b.Name)
	if err != nil {
		return 0, err
	}
	if err := configureBridge(host, link.Attrs().Index, b); err != nil {
		return 0, err
	}
	return link.Attrs().Index, nil
}

func configureBridge(host *conn, index int, b Bridge) error {
	if err := fault.Point("attach.bridge.settings"); err != nil {
		return err
	}
	// Before it can receive anything (CVE-2020-10749).
	for _, s := range []string{"accept_ra", "accept_redirects", "accept_dad"} {
		if err := setSysctl("net/ipv6/conf/"+b.Name+"/"+s, "0"); ignore(err, syscall.ENOENT) != nil {
			return err
		}
	}
	// Set, it stays: otherwise a bridge takes that of its smallest port.
	err := do("set MTU of "+b.Name, host.request(syscall.RTM_SETLINK, 0, nl.NewIfInfomsg(syscall.AF_UNSPEC),
		attr(syscall.IFLA_IFNAME, nl.ZeroTerminated(b.Name)), attr(syscall.IFLA_MTU, nl.Uint32Attr(uint32(b.MTU)))))
	if err != nil {
		return err
	}
	for _, s := range b.Subnets {
		err := host.addAddress(index, netip.PrefixFrom(s.Gateway, s.Prefix.Bits()))
		if s.Gateway.Is6() && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EOPNOTSUPP)) {
			return noIPv6(err) // disable_ipv6 is the host's default for interfaces
		}
		if err != nil {
			return err
		}
	}
	if err := fault.Point("attach.bridge.up"); err != nil {
		return err
	}
	return host.setUp(b.Name)
}

// requireFree refuses a subnet that another interface of the host has addresses
// of.
func requireFree(bridge string, subnet netip.Prefix) error {
	h := &netlink.Handle{}
	links, err := dump(h.LinkList)
	if err != nil {
		return err
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(nil, family(subnet.Addr())) })
	if err != nil {
		return err
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		other := netip.PrefixFrom(ip.Unmap(), bits).Masked()
		name := names[a.LinkIndex]
		if ok && name != bridge && other.Overlaps(subnet) {
			return &BridgeError{Bridge: bridge, Reason: fmt.Sprintf("subnet %v overlaps with %v of the host's %s", subnet, other, name)}
		}
	}
	return nil
}
