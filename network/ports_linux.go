package network

import (
	"bytes"
	"errors"
	"net/netip"
	"syscall"

	"github.com/google/nftables"

	"github.com/barepod/barepod/internal/sys"
)

// requirePorts checks that no socket of the host and no other pod has a port of
// these. It changes nothing.
func (all elements) requirePorts() error {
	f, err := dialFinder()
	if err != nil {
		return err
	}
	defer f.Close()
	for _, e := range all {
		if e.port == nil {
			continue
		}
		err := sys.TryBind(e.port.Protocol.number(), e.port.Port)
		switch {
		case err == nil, errors.Is(err, syscall.EPROTONOSUPPORT), errors.Is(err, syscall.ESOCKTNOSUPPORT):
			// A protocol without sockets here (SCTP) has none that could be bound.
		case errors.Is(err, syscall.EADDRINUSE):
			taken := *e.port
			taken.By = "a socket of the host"
			return &taken
		default: // such as an address that the host does not have
			return err
		}
		found, err := f.find(e)
		if err == nil {
			return e.port.by(found)
		}
		if ignore(err, syscall.ENOENT) != nil {
			return nftError(err)
		}
	}
	return all.requireUnshadowed()
}

// requireUnshadowed checks that no port which is here for one address of the host
// is another pod's for all, nor the other way round: one would take what the
// other is told to have (CVE-2019-9946).
func (all elements) requireUnshadowed() error {
	f, err := dialFinder()
	if err != nil {
		return err
	}
	defer f.Close()
	anyKeys := map[string]element{} // by family, protocol and port
	for _, e := range all {
		switch {
		case e.port == nil:
		case e.port.Port.Addr().IsUnspecified():
			anyKeys[e.set.Name+string(e.Key)] = e
		default:
			addrLen := len(e.port.Port.Addr().AsSlice())
			wide := element{set: newSets(newTable(), addrLen == 4).anyPorts}
			wide.Key = e.Key[addrLen:]
			found, err := f.find(wide)
			if err == nil && !bytes.Equal(found, e.Val) {
				return e.port.by(found)
			}
			if ignore(err, syscall.ENOENT) != nil {
				return err
			}
		}
	}
	if len(anyKeys) == 0 {
		return nil
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	if there, err := hasTable(c); err != nil || !there {
		return err
	}
	for _, ip4 := range []bool{true, false} {
		s := newSets(newTable(), ip4)
		found, err := c.GetSetElements(s.ports) // those of one address: few
		if err != nil {
			return err
		}
		for _, narrow := range found {
			e, ok := anyKeys[s.anyPorts.Name+string(narrow.Key[s.addrLen:])]
			if ok && !bytes.Equal(narrow.Val, e.Val) {
				a, _ := netip.AddrFromSlice(narrow.Key[:s.addrLen])
				taken := PortError{Protocol: e.port.Protocol, Port: netip.AddrPortFrom(a, e.port.Port.Port())}
				return taken.by(narrow.Val)
			}
		}
	}
	return nil
}
