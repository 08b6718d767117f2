//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/sandbox"
)

// sitePort is where server listens in the pod.
const sitePort = 80

// bridge returns what gives a pod its IPs: of both families, where the host has
// both.
func bridge(ports ...network.Port) network.Bridge {
	b := network.Bridge{Subnets: network.DefaultSubnets(), Ports: ports}
	off, err := os.ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6")
	if err != nil || strings.TrimSpace(string(off)) != "0" {
		b.Subnets = b.Subnets[:1]
	}
	return b
}

// freePort returns a port of the host's loopback that nobody has right now, as
// one that leads to the pod's site.
func freePort() (network.Port, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return network.Port{}, err
	}
	free := l.Addr().(*net.TCPAddr).AddrPort() //nolint:forcetypeassert // it listens to TCP
	return network.Port{HostIP: free.Addr(), HostPort: int(free.Port()), ContainerPort: sitePort}, l.Close()
}

// reach is step 4: the pod has an IP, for the host and for other pods.
func (t *tour) reach(ctx context.Context) error {
	ips := t.pod.Sandbox().Network().Addresses()
	at := sites(ips)
	for _, host := range append(at, t.hostPort().String()) {
		first, err := fetch(ctx, host, "first")
		if err != nil {
			return err
		}
		if first != t.last.First {
			return fmt.Errorf("%s: the page is %q", host, first)
		}
	}
	visitor, err := visit(ctx, t.pod.ID(), at)
	if err != nil {
		return fmt.Errorf("another pod: %w", err)
	}
	step(4, "The host fetched the first page from the pod's %s\nand from its own %v, which leads there.\n"+
		"Another pod with %s fetched it, too, and was seen by these addresses.", list(ips), t.hostPort(), list(visitor))
	return nil
}

// hostPort is the port of the host that leads to the pod.
func (t *tour) hostPort() netip.AddrPort {
	for _, n := range t.pod.Spec().Sandbox.Networks {
		if b, ok := n.(network.Bridge); ok {
			return netip.AddrPortFrom(b.Ports[0].HostIP, uint16(b.Ports[0].HostPort)) //nolint:gosec // it was a port before
		}
	}
	return netip.AddrPort{}
}

// sites are the pod's IPs with the port.
func sites(ips []netip.Addr) []string {
	var at []string
	for _, ip := range ips {
		at = append(at, netip.AddrPortFrom(ip, sitePort).String())
	}
	return at
}

func list(ips []netip.Addr) string {
	var words []string
	for _, ip := range ips {
		words = append(words, ip.String())
	}
	return strings.Join(words, " and ")
}

// visitorID is the ID of the pod that visits the other one.
func visitorID(id string) string { return id + "-visitor" }

// visit makes a second pod, of the kind that is a mere sandbox, which fetches the
// site from the first. It returns the IPs of that pod.
func visit(ctx context.Context, id string, sites []string) (_ []netip.Addr, err error) {
	volumes, mounts, env, err := programVolumes()
	if err != nil {
		return nil, err
	}
	sb, err := sandbox.New(ctx, sandbox.Config{
		ID: visitorID(id), Name: "visitor", Volumes: volumes,
		Networks: network.Attachments{bridge()},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sb.Remove(context.WithoutCancel(ctx)), sb.Close()) }()
	ips := sb.Network().Addresses()
	for i, site := range sites {
		cmd := sb.Command(program, asVisitor, site)
		cmd.Rootfs, cmd.Mounts, cmd.Env = sandbox.Scratch{}, mounts, env
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		exit, err := cmd.Run(ctx)
		if err != nil {
			return nil, err
		}
		if !exit.Success() {
			return nil, errors.New(strings.TrimSpace(stderr.String()))
		}
		if seen := strings.TrimSpace(stdout.String()); seen != ips[i].String() {
			return nil, fmt.Errorf("%s has seen %v as %q", site, ips[i], seen)
		}
	}
	return ips, nil
}

// visitor is what the second pod runs: it fetches the site and says as whom the
// server has seen it.
func visitor(ctx context.Context, args []string) error {
	if _, err := fetch(ctx, args[0], "first"); err != nil {
		return err
	}
	seen, err := fetch(ctx, args[0], callerPage)
	if err == nil {
		fmt.Println(seen)
	}
	return err
}
