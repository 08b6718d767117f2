package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"
	mdnetlink "github.com/mdlayher/netlink"
)

// elements are what a pod's interface has in the table: derived from its
// Bridge and its addresses, whichever process asks.
type elements []element

type element struct {
	set *nftables.Set
	nftables.SetElement
	port *PortError // what it stands for, if it is a host port's; By is empty
}

// elementsOf returns the elements of an interface. All come and go in one
// transaction, and those of ports are preceded by one for the pod's own address,
// which nobody else can have: if it is there, they are the pod's.
func elementsOf(b Bridge, addrs []netip.Addr) elements {
	t := newTable()
	var all elements
	for _, a := range addrs {
		s := newSets(t, a.Is4())
		for _, is := range []struct {
			set *nftables.Set
			in  bool
		}{{s.publishers, len(b.Ports) > 0}, {s.plain, b.NoMasquerade}, {s.isolated, b.Isolate}} {
			if is.in {
				all = append(all, element{set: is.set, SetElement: nftables.SetElement{Key: a.AsSlice()}})
			}
		}
	}
	for _, p := range b.Ports {
		for _, a := range addrs {
			if p.HostIP.IsValid() && p.HostIP.Is4() != a.Is4() {
				continue
			}
			s := newSets(t, a.Is4())
			for i := range p.Range {
				all = append(all, portElement(s, p, a, i))
			}
		}
	}
	return all
}

// portElement leads the i-th port of p to the pod's address a.
func portElement(s sets, p Port, a netip.Addr, i int) element {
	host := unspecified(a.Is4())
	e := element{set: s.anyPorts}
	if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
		host = p.HostIP
		e.set = s.ports
		e.Key = host.AsSlice()
	}
	e.Key = append(e.Key, p.Protocol.number(), 0, 0, 0)
	e.Key = append(e.Key, portBytes(p.HostPort+i)...)
	e.Val = append(a.AsSlice(), portBytes(p.ContainerPort+i)...)
	e.port = &PortError{Protocol: p.Protocol, Port: netip.AddrPortFrom(host, uint16(p.HostPort+i))}
	return e
}

// portBytes is a port in a concatenation, where each part takes whole words.
func portBytes(port int) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(port)), 0, 0)
}

func unspecified(ip4 bool) netip.Addr {
	if ip4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (p Protocol) number() byte {
	switch p {
	case UDP:
		return syscall.IPPROTO_UDP
	case SCTP:
		return 132 // IPPROTO_SCTP
	}
	return syscall.IPPROTO_TCP
}

// perMessage is how many elements fit in one attribute of 64 KiB.
const perMessage = 400

// batch calls change with the elements of one set at a time.
func (all elements) batch(change func(*nftables.Set, []nftables.SetElement) error) error {
	for len(all) > 0 {
		n := 1
		for n < len(all) && n < perMessage && all[n].set.Name == all[0].set.Name {
			n++
		}
		var es []nftables.SetElement
		for _, e := range all[:n] {
			es = append(es, e.SetElement)
		}
		if err := change(all[0].set, es); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// newBatch opens a connection that a transaction of this size fits through.
func (all elements) newBatch() (*nftables.Conn, error) {
	if len(all) < perMessage {
		return nftables.New()
	}
	return nftables.New(nftables.WithSockOptions(func(c *mdnetlink.Conn) error {
		return errors.Join(c.SetWriteBuffer(len(all)*200), c.SetReadBuffer(len(all)*200))
	}))
}

// add adds all elements in one transaction. What is there already is fine; a port
// that leads elsewhere is a *PortError.
func (all elements) add(ctx context.Context, b Bridge) error {
	if len(all) == 0 {
		return nil
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b element) int { // each set's together
		return strings.Compare(a.set.Name, b.set.Name)
	})
	err := all.tryAdd()
	if errors.Is(err, syscall.ENOENT) { // somebody has flushed all rules
		if err = addBridge(ctx, b.Name, b.Subnets); err == nil {
			err = all.tryAdd()
		}
	}
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EEXIST) {
		// Another value stands for one of the keys; or did, a moment ago.
		if taken := all.firstTaken(); taken != nil {
			return taken
		}
	}
	return nftError(err)
}

func (all elements) tryAdd() error {
	c, err := all.newBatch()
	if err != nil {
		return err
	}
	if err := all.batch(c.SetAddElements); err != nil {
		return err
	}
	return c.Flush()
}

// addBridge makes the table if it is missing, and has it know the bridge.
func addBridge(ctx context.Context, name string, subnets []Subnet) error {
	unlock, err := lockTable(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := makeTable(); err != nil {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	if err := bridgeElements(name, subnets).batch(c.SetAddElements); err != nil {
		return err
	}
	return nftError(c.Flush())
}

// bridgeElements are those of a bridge. A subnet is the interval from its first
// address to the one after its last.
func bridgeElements(name string, subnets []Subnet) elements {
	t := newTable()
	all := elements{{set: newBridges(t), SetElement: nftables.SetElement{Key: ifname(name)}}}
	for _, s := range subnets {
		set := newSets(t, s.Prefix.Addr().Is4()).subnets
		all = append(all,
			element{set: set, SetElement: nftables.SetElement{Key: s.Prefix.Addr().AsSlice()}},
			element{set: set, SetElement: nftables.SetElement{Key: lastAddr(s.Prefix).Next().AsSlice(), IntervalEnd: true}})
	}
	return all
}

// ifname is a name as the kernel compares it.
func ifname(name string) []byte { return append([]byte(name), make([]byte, 16-len(name))...) }

// remove removes all elements in one transaction. Ports that are not the pod's
// stay, for then the element of its own address is not there, and the transaction
// fails. The same happens if somebody has meddled with the table.
func (all elements) remove() error {
	if len(all) == 0 {
		return nil
	}
	c, err := all.newBatch()
	if err != nil {
		return err
	}
	if err := all.batch(c.SetDeleteElements); err != nil {
		return err
	}
	err = c.Flush()
	if errors.Is(err, syscall.ENOENT) {
		return all.removeRest()
	}
	return err
}

// removeRest removes those elements that are there and lead to the pod.
func (all elements) removeRest() error {
	f, err := dialFinder()
	if err != nil {
		return err
	}
	defer f.Close()
	var rest elements
	for _, e := range all {
		found, err := f.find(e)
		switch {
		case errors.Is(err, syscall.ENOENT):
		case err != nil:
			return err
		case e.Val == nil || slices.Equal(found, e.Val):
			rest = append(rest, e)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	c, err := rest.newBatch()
	if err != nil {
		return err
	}
	if err := rest.batch(c.SetDeleteElements); err != nil {
		return err
	}
	return ignore(c.Flush(), syscall.ENOENT)
}

// missing returns the first element that is not there; nil if all are.
func (all elements) missing() (*element, error) {
	f, err := dialFinder()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for i, e := range all {
		found, err := f.find(e)
		if errors.Is(err, syscall.ENOENT) || err == nil && e.Val != nil && !slices.Equal(found, e.Val) {
			return &all[i], nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil //nolint:nilnil // nothing is missing, and nothing went wrong
}

// firstTaken returns a *PortError for the first port that leads elsewhere; nil
// if none does.
func (all elements) firstTaken() error {
	f, err := dialFinder()
	if err != nil {
		return nil //nolint:nilerr // nothing is known to be taken
	}
	defer f.Close()
	for _, e := range all {
		if e.port == nil {
			continue
		}
		if found, err := f.find(e); err == nil && !slices.Equal(found, e.Val) {
			return e.port.by(found)
		}
	}
	return nil
}

// by returns a copy of e that names who has the port, by what the element leads
// to.
func (e PortError) by(value []byte) *PortError {
	e.By = "another pod"
	if len(value) > 4 {
		if a, ok := netip.AddrFromSlice(value[:len(value)-4]); ok {
			e.By = "the pod with address " + a.String()
		}
	}
	return &e
}

// removeElementsOf removes all elements of addresses whose Bridge nobody knows:
// it reads whole maps.
func removeElementsOf(addrs []netip.Addr) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	if there, err := hasTable(c); err != nil || !there {
		return err
	}
	var all elements
	for _, a := range addrs {
		s := newSets(newTable(), a.Is4())
		for _, set := range []*nftables.Set{s.publishers, s.plain, s.isolated} {
			all = append(all, element{set: set, SetElement: nftables.SetElement{Key: a.AsSlice()}})
		}
		for _, set := range []*nftables.Set{s.ports, s.anyPorts} {
			found, err := c.GetSetElements(set)
			if err != nil {
				return err
			}
			for _, f := range found {
				if bytes.HasPrefix(f.Val, a.AsSlice()) {
					all = append(all, element{set: set, SetElement: nftables.SetElement{Key: f.Key, Val: f.Val}})
				}
			}
		}
	}
	return all.removeRest()
}
