package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/undo"
	"github.com/barepod/barepod/namespace"
)

func (p Pod) validate() error {
	if err := invalid.AbsPath("StateDir", p.StateDir); err != nil {
		return err
	}
	return invalid.ID("ID", p.ID)
}

// Attach gives the pod, whose network namespace is ns, its interfaces. The host
// is the network namespace of the calling thread, which a program has to be
// locked to if it is not its own.
//
// The caller has written p and networks down before, so that Detach undoes what
// was done whatever happens to this process. An Attach that fails has undone it.
// ctx bounds the call, not what it makes. CNI plugins that take longer are killed,
// and after a minute, if ctx has no end.
func Attach(ctx context.Context, p Pod, ns *namespace.Handle, networks Attachments) (Result, error) {
	if err := errors.Join(p.validate(), networks.Validate()); err != nil {
		return Result{}, err
	}
	r, err := attach(ctx, p, ns, networks)
	return r, wrap("attach", p.ID, err)
}

func attach(ctx context.Context, p Pod, ns *namespace.Handle, networks Attachments) (r Result, err error) {
	if err := ctx.Err(); err != nil {
		return r, err
	}
	var u undo.Stack
	defer func() {
		if err != nil {
			r, err = Result{}, u.Unwind(ctx, err)
		}
	}()
	u.Push("detach", func(ctx context.Context) error { return detach(ctx, p, networks) })
	if p.isPinned(networks) {
		if err := fault.Point("attach.pin"); err != nil {
			return r, err
		}
		if err := p.pin(ctx, ns); err != nil {
			return r, err
		}
	}
	var host, pod *conn
	if len(networks.bridges()) > 0 {
		if host, pod, err = dialBoth(ns, networks); err != nil {
			return r, err
		}
		defer host.Close()
		defer pod.Close()
	}
	for i, at := range networks.interfaces() {
		switch at := at.(type) {
		case Bridge:
			a := attaching{pod: p, bridge: at.complete(), index: i, ns: ns, host: host, inside: pod}
			made, err := a.run(ctx, r)
			if err != nil {
				return r, err
			}
			r.Interfaces = append(r.Interfaces, made)
		case CNI:
			made, err := addCNI(ctx, p, podName(i), at)
			if err != nil {
				return r, err
			}
			r.add(made)
		}
	}
	u.Release()
	return r, nil
}

// bridges returns those of the attachments that are one.
func (l Attachments) bridges() []Bridge {
	var bridges []Bridge
	for _, a := range l {
		if b, ok := a.(Bridge); ok {
			bridges = append(bridges, b)
		}
	}
	return bridges
}

// dialBoth opens a socket on the host, and one in the pod, whose interfaces will
// have the settings that are set on the way: they listen to no router (CVE-2020-10749)
// and use an IPv6 address at once.
func dialBoth(ns *namespace.Handle, networks Attachments) (host, pod *conn, err error) {
	if host, err = dial(); err != nil {
		return nil, nil, err
	}
	var set []string
	if slices.ContainsFunc(networks.bridges(), func(b Bridge) bool { return b.complete().subnetOf(false) != nil }) {
		set = inside6
	}
	err = ns.Do(func() error {
		for _, name := range set {
			if err := setSysctl("net/ipv6/conf/default/"+name, "0"); ignore(err, fs.ErrNotExist) != nil {
				return err
			}
		}
		pod, err = dial()
		return err
	})
	if err != nil {
		return nil, nil, errors.Join(err, host.Close())
	}
	return host, pod, nil
}

// inside6 are what is off for a pod's interfaces with IPv6, the first being IPv6
// that is off.
var inside6 = []string{"disable_ipv6", "accept_ra", "accept_redirects", "accept_dad"}

// attaching is the work on one interface.
type attaching struct {
	pod          Pod
	bridge       Bridge // complete
	index        int    // among the pod's interfaces
	ns           *namespace.Handle
	host, inside *conn

	bridgeIndex int
	inPod       int // index of the interface there
	made        Interface
}

// run makes the interface; before are the pod's others.
func (a *attaching) run(ctx context.Context, before Result) (Interface, error) {
	a.made = Interface{Name: podName(a.index), HostName: a.pod.hostName(a.index), Bridge: a.bridge.Name, MTU: a.bridge.MTU}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"ports", a.checkPorts},
		// Before the lease: no two bridges have an address in common, so what
		// stands in the rules under a pod's address is the pod's.
		{"bridge", a.ensureBridge},
		{"lease", a.lease},
		{"rules", a.addElements},
		{"link", a.makeLink},
		{"interface", func(context.Context) error { return a.configure(before) }},
		{"bandwidth", a.limit},
		{"up", a.awaitUp},
	} {
		if err := ctx.Err(); err != nil {
			return Interface{}, err
		}
		if err := fault.Point("attach." + step.name); err != nil {
			return Interface{}, err
		}
		if err := step.do(ctx); err != nil {
			return Interface{}, fmt.Errorf("%s: %w", a.made.Name, err)
		}
	}
	return a.made, fault.Point("attach.done")
}

// checkPorts refuses host ports that are taken before anything is made.
func (a *attaching) checkPorts(context.Context) error {
	if len(a.bridge.Ports) == 0 {
		return nil
	}
	// Which address they will lead to does not matter yet.
	var any []netip.Addr
	for _, s := range a.bridge.Subnets {
		any = append(any, s.Prefix.Addr())
	}
	return elementsOf(a.bridge, any).requirePorts()
}

func (a *attaching) dir() string { return networkDir(a.pod.StateDir, a.bridge.Name) }

func (a *attaching) lease(ctx context.Context) (err error) {
	a.made.Addresses, err = lease(ctx, a.dir(), a.pod.ID, a.made.Name, a.bridge)
	return err
}

func (a *attaching) addrs() []netip.Addr { return Result{Interfaces: []Interface{a.made}}.Addresses() }

// addElements takes the host ports, and says what is done with the pod's
// packets, before there are any.
func (a *attaching) addElements(ctx context.Context) error {
	all := elementsOf(a.bridge, a.addrs())
	if err := all.add(ctx, a.bridge); err != nil {
		return err
	}
	if len(a.bridge.Ports) == 0 {
		return nil
	}
	// Again: another pod may have come in between.
	if err := all.requireUnshadowed(); err != nil {
		return err
	}
	if a.bridge.subnetOf(true) == nil {
		return nil
	}
	// For ports of 127.0.0.1. The table's guard stands.
	return setSysctl("net/ipv4/conf/"+a.bridge.Name+"/route_localnet", "1")
}

func (a *attaching) ensureBridge(ctx context.Context) (err error) {
	a.bridgeIndex, err = ensureBridge(ctx, a.host, a.pod.StateDir, a.bridge)
	return err
}

func (a *attaching) makeLink(ctx context.Context) error {
	mac := a.mac()
	a.made.MAC = mac.String()
	err := veth{
		hostName: a.made.HostName, podName: a.made.Name, mac: mac, mtu: a.bridge.MTU,
		bridge: a.bridgeIndex, isolated: a.bridge.Isolate,
		// Where bridged packets pass netfilter (br_netfilter) a pod's packet to
		// its own host port goes back through the port it came from.
		hairpin: len(a.bridge.Ports) > 0,
		alias:   a.pod.ID + " " + a.made.Name,
	}.make(ctx, a.host, a.ns.File())
	if errors.Is(err, ErrBridgeFull) {
		return fmt.Errorf("bridge %s %w", a.bridge.Name, err)
	}
	return err
}

// mac returns the wanted hardware address, or the one of the first IP address.
func (a *attaching) mac() net.HardwareAddr {
	if a.bridge.MAC != "" {
		mac, _ := net.ParseMAC(a.bridge.MAC) // validated
		return mac
	}
	ip := a.addrs()[0].AsSlice()
	return append(net.HardwareAddr{0x0a, 0x58}, ip[len(ip)-4:]...) // as Kubernetes and CNI have it
}

// configure gives the interface its addresses and routes. The pod's first of a
// family leads everywhere, the others to their subnet.
func (a *attaching) configure(before Result) error {
	link, err := a.inside.link(a.made.Name)
	if err != nil {
		return err
	}
	index := link.Attrs().Index
	a.inPod = index
	for _, addr := range a.made.Addresses {
		err := a.inside.addAddress(index, addr.Prefix)
		if addr.Gateway.Is6() && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EOPNOTSUPP)) {
			return noIPv6(err)
		}
		if err != nil {
			return err
		}
	}
	if err := a.inside.setUp(a.made.Name); err != nil {
		return err
	}
	for _, addr := range a.made.Addresses {
		if before.hasDefault(addr.Gateway.Is4()) {
			continue
		}
		r := Route{Destination: netip.PrefixFrom(unspecified(addr.Gateway.Is4()), 0), Gateway: addr.Gateway}
		if err := a.inside.addRoute(index, r); err != nil {
			return err
		}
		a.made.Routes = append(a.made.Routes, r)
	}
	return nil
}

// hasDefault reports whether there is a default route of a family.
func (r Result) hasDefault(ip4 bool) bool {
	for _, i := range r.Interfaces {
		for _, route := range i.Routes {
			if route.Destination.Bits() == 0 && route.Destination.Addr().Is4() == ip4 {
				return true
			}
		}
	}
	return false
}

func (a *attaching) limit(context.Context) error {
	w := a.bridge.Bandwidth
	return errors.Join(
		limit(a.host, a.made.HostName, w.IngressRate, w.IngressBurst, a.bridge.MTU),
		limit(a.inside, a.made.Name, w.EgressRate, w.EgressBurst, a.bridge.MTU))
}

// awaitUp waits until the interface can be used. The bridge comes up with its
// first port.
func (a *attaching) awaitUp(ctx context.Context) error {
	for _, wait := range []struct {
		at   *conn
		name string
	}{{a.host, a.made.HostName}, {a.inside, a.made.Name}, {a.host, a.bridge.Name}} {
		if err := wait.at.awaitUp(ctx, wait.name); err != nil {
			return err
		}
	}
	for _, addr := range a.made.Addresses {
		if addr.Gateway.Is4() {
			continue
		}
		err := await(ctx, "neighbour discovery", func() (bool, error) { return a.inside.listens(a.inPod, addr.Prefix.Addr()) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Detach takes back all that Attach gave, from p and networks alone: the
// namespace may be gone, and Attach may have ended at any of its steps. It does
// every step whatever fails, and can be repeated.
//
// The pod's interfaces are silenced, their links go with the namespace; Detach
// does not wait for that. CNI plugins delete what they have made (DEL), in the
// namespace if it is still pinned, and the pin goes after that.
func Detach(ctx context.Context, p Pod, networks Attachments) error {
	if err := errors.Join(p.validate(), networks.Validate()); err != nil {
		return err
	}
	return wrap("detach", p.ID, detach(ctx, p, networks))
}

func detach(ctx context.Context, p Pod, networks Attachments) error {
	var errs []error
	if len(networks.bridges()) > 0 {
		host, err := dial()
		if err != nil {
			return err
		}
		defer host.Close()
		for i, at := range networks.interfaces() {
			if b, ok := at.(Bridge); ok {
				errs = append(errs, detachOne(ctx, p, i, b.complete(), host))
			}
		}
	}
	if p.isPinned(networks) {
		errs = append(errs, p.unpin(ctx))
	}
	return errors.Join(append(errs, fault.Point("detach.done"))...)
}

// detachOne silences the link first, so that nobody hears from the address any
// more when another pod gets it.
func detachOne(ctx context.Context, p Pod, i int, b Bridge, host *conn) error {
	dir := networkDir(p.StateDir, b.Name)
	var errs []error
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"link", func() error { return host.setDown(p.hostName(i)) }},
		{"rules", func() error { return elementsOf(b, heldBy(dir, p.ID, podName(i))).remove() }},
	} {
		err := fault.Point("detach." + step.name)
		if err == nil {
			err = step.do()
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		// The lease stays: the next pod must not get an address that rules
		// are still about, and a repeated Detach finds them by it.
		return err
	}
	if err := fault.Point("detach.lease"); err != nil {
		return err
	}
	return unlease(ctx, dir, p.ID, podName(i))
}

// Release removes the bridges that Attach made for the pods of a state directory,
// and their leases' directories, if no pod has a lease. The nftables table goes
// with the last bridge of the host. The caller sees to it that no Attach is
// under way.
func Release(ctx context.Context, stateDir string) error {
	return wrap("release", "", release(ctx, stateDir))
}

func release(ctx context.Context, stateDir string) error {
	err := eachBridge(stateDir, func(host *conn, name string) error { return releaseBridge(ctx, host, stateDir, name) })
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range []string{networksName, pinsName} {
		err := os.Remove(filepath.Join(stateDir, name))
		errs = append(errs, ignore(ignore(err, syscall.ENOTEMPTY), fs.ErrNotExist))
	}
	return errors.Join(errs...)
}
