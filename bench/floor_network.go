package main

import (
	"context"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// floorBridge is the floor's bridge; its subnet is 10.216.0.0/16.
const floorBridge = "floor0"

// makeBridge makes what all the floor's pods with an address share.
func makeBridge() (index int, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = floorBridge
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	err = calls(
		func() error { return netlink.LinkAdd(bridge) },
		func() error { return netlink.AddrAdd(bridge, floorAddr(1)) },
		func() error { return netlink.LinkSetUp(bridge) })
	return bridge.Attrs().Index, err
}

// floorAddr is the nth address of the subnet.
func floorAddr(n int) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 216, byte(n>>8), byte(n)), Mask: net.CIDRMask(16, 32)}}
}

// newAddressed makes a pod, and then an interface with an address in it: four
// messages, through a socket on the host and one in the pod.
func (f *floor) newAddressed(ctx context.Context) (pod, error) {
	made, err := f.newPod(ctx)
	if err != nil {
		return nil, err
	}
	p := made.(*floorPodState) //nolint:forcetypeassert // it is what newPod makes
	return p, p.address()
}

func (f *floor) lifeAddressed(ctx context.Context) error { return wholeLifeAddressed(ctx, f) }

func (p *floorPodState) address() error {
	bridge, err := p.bridge()
	if err != nil {
		return err
	}
	pod, err := netlink.NewHandleAt(netns.NsHandle(p.files[netFile]), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer pod.Close()
	n := p.count.Load()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex, attrs.Flags = fmt.Sprint("floor-", n), bridge, net.FlagUp
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.files[netFile])}); err != nil {
		return err
	}
	eth0, err := pod.LinkByName("eth0")
	if err != nil {
		return err
	}
	return calls(
		func() error { return pod.AddrAdd(eth0, floorAddr(2+int(n)%60000)) },
		func() error { return pod.LinkSetUp(eth0) },
		func() error {
			return pod.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: floorAddr(1).IP})
		})
}
