package network

import (
	"errors"
	"os"
	"syscall"
)

// forward makes the host a router for the families of the bridge, as a pod's
// packets need to get further than the host. It stays one: others may rely on
// it by the time that the last pod goes.
func forward(b Bridge) error {
	for _, s := range b.Subnets {
		if s.Prefix.Addr().Is4() {
			if err := setSysctl("net/ipv4/ip_forward", "1"); err != nil {
				return err
			}
			continue
		}
		if err := forward6(); err != nil {
			return err
		}
	}
	return nil
}

// forward6 turns IPv6 forwarding on. A router does not listen to the
// advertisements of others, so an interface that did (accept_ra = 1) is told to go
// on (2), or the host would lose its own default route.
func forward6() error {
	const conf = "net/ipv6/conf/"
	on, err := getSysctl(conf + "all/forwarding")
	if err != nil || on == "1" {
		return err
	}
	dir, err := os.ReadDir("/proc/thread-self/net/dev_snmp6") // one file for each interface with IPv6
	if err != nil {
		return err
	}
	for _, e := range dir {
		ra, err := getSysctl(conf + e.Name() + "/accept_ra")
		if err == nil && ra == "1" {
			err = setSysctl(conf+e.Name()+"/accept_ra", "2")
		}
		// The interface may have gone; and names can have a dot, which is
		// part of the path here.
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			return err
		}
	}
	return setSysctl(conf+"all/forwarding", "1")
}
