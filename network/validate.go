package network

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/barepod/barepod/internal/invalid"
)

// InvalidError says which field of an attachment is wrong, and why. It matches
// fs.ErrInvalid.
type InvalidError = invalid.Error

// Limits of the kernel.
const (
	maxName = 15   // IFNAMSIZ without the NUL
	minMTU  = 1280 // of IPv6, RFC 8200
	maxMTU  = 65535
	maxPort = 65535
	// maxRate leaves room for a sum in 64 bits.
	maxRate = 1 << 50
)

// Validate checks the networks of a pod without looking at the host. The error is
// an *InvalidError whose Field starts at the list, such as
// Networks[0].Ports[1].HostPort.
func (l Attachments) Validate() error {
	if err := l.checkTypes(); err != nil {
		return err
	}
	bridges := map[string]bool{}
	for i, a := range l {
		field := fmt.Sprintf("Networks[%d]", i)
		switch a := a.(type) {
		case None, Host:
			if len(l) > 1 {
				return &invalid.Error{Field: field, Value: a.attachmentType(), Reason: "must be the only network of the pod"}
			}
		case Bridge:
			if err := a.validate(); err != nil {
				return invalid.Within(field, err)
			}
			name := a.complete().Name
			if bridges[name] {
				return &invalid.Error{Field: field + ".Name", Value: name, Reason: "is another network's bridge too"}
			}
			bridges[name] = true
		case CNI:
			if err := a.validate(); err != nil {
				return invalid.Within(field, err)
			}
		}
	}
	return validatePorts(l)
}

func (l Attachments) checkTypes() error {
	for i, a := range l {
		switch a.(type) {
		case None, Host, Bridge, CNI:
		case nil:
			return &invalid.Error{Field: fmt.Sprintf("Networks[%d]", i), Reason: "is required: None, Host, Bridge or CNI"}
		default:
			return &invalid.Error{
				Field: fmt.Sprintf("Networks[%d]", i), Value: fmt.Sprintf("%T", a),
				Reason: "must be a None, Host, Bridge or CNI value, not a pointer",
			}
		}
	}
	return nil
}

func (b Bridge) validate() error {
	if b.Name != "" {
		if err := validateName(b.Name); err != nil {
			return err
		}
	}
	if b.MTU != 0 && (b.MTU < minMTU || b.MTU > maxMTU) {
		return &invalid.Error{Field: "MTU", Value: b.MTU, Reason: "must be from 1280 to 65535"}
	}
	if err := validateSubnets(b.Subnets); err != nil {
		return err
	}
	if err := b.validateAddresses(); err != nil {
		return err
	}
	if b.MAC != "" {
		if err := validateMAC(b.MAC); err != nil {
			return err
		}
	}
	if err := b.Bandwidth.validate(); err != nil {
		return invalid.Within("Bandwidth", err)
	}
	for i, p := range b.Ports {
		err := p.validate()
		if err == nil && p.HostIP.IsValid() && b.complete().subnetOf(p.HostIP.Is4()) == nil {
			err = &invalid.Error{Field: "HostIP", Value: p.HostIP, Reason: "is of a family that the bridge has no subnet of"}
		}
		if err != nil {
			return invalid.Within(fmt.Sprintf("Ports[%d]", i), err)
		}
	}
	return nil
}

// validateName checks the name of an interface as the kernel does.
func validateName(name string) error {
	reason := ""
	switch {
	case len(name) > maxName:
		reason = "must be at most 15 bytes, which is the kernel's limit for an interface"
	case name == "." || name == "..":
		reason = `must not be "." or ".."`
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/:%"\`, r) }):
		reason = `must be printable ASCII without spaces and /:%"\`
	default:
		return nil
	}
	return &invalid.Error{Field: "Name", Value: name, Reason: reason}
}

func validateSubnets(subnets []Subnet) error {
	for i, s := range subnets {
		field := fmt.Sprintf("Subnets[%d]", i)
		if err := s.validate(); err != nil {
			return invalid.Within(field, err)
		}
		for j, other := range subnets[:i] {
			switch {
			case s.Prefix.Overlaps(other.Prefix):
				return &invalid.Error{Field: field + ".Prefix", Value: s.Prefix, Reason: fmt.Sprintf("overlaps with Subnets[%d] %v", j, other.Prefix)}
			case s.Prefix.Addr().Is4() == other.Prefix.Addr().Is4():
				return &invalid.Error{Field: field + ".Prefix", Value: s.Prefix, Reason: "is a second subnet of its family"}
			}
		}
	}
	return nil
}

func (s Subnet) validate() error {
	p := s.Prefix
	reason := ""
	switch {
	case !p.IsValid():
		return &invalid.Error{Field: "Prefix", Reason: "is required, such as 10.1.0.0/16"}
	case p.Addr().Is4In6():
		reason = "must be written as IPv4"
	case p != p.Masked():
		reason = "has bits set below the prefix: " + p.Masked().String() + " is meant"
	case p.Addr().BitLen()-p.Bits() < 2:
		reason = "has no room for a gateway and a pod"
	case p.Addr().Is6() && p.Bits() < 32 || p.Addr().Is4() && p.Bits() < 8:
		reason = "is too large"
	case p.Addr().IsUnspecified(), p.Addr().IsLoopback(), p.Addr().IsMulticast(), p.Addr().IsLinkLocalUnicast():
		reason = "is not a range of unicast addresses"
	}
	if reason != "" {
		return &invalid.Error{Field: "Prefix", Value: p, Reason: reason}
	}
	if s.Gateway.IsValid() && !s.has(s.Gateway) {
		return &invalid.Error{Field: "Gateway", Value: s.Gateway, Reason: "is no address of " + p.String()}
	}
	return nil
}

// has reports whether a is an address of the subnet that an interface can have.
func (s Subnet) has(a netip.Addr) bool {
	return a.Zone() == "" && s.Prefix.Contains(a) && a != s.Prefix.Addr() && (a.Is6() || a != lastAddr(s.Prefix))
}

// lastAddr returns the last address of a prefix, for IPv4 the broadcast address.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		if host := 8*(i+1) - p.Bits(); host > 0 {
			b[i] |= byte(1<<min(host, 8) - 1)
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// subnetOf returns the subnet of a family, nil if there is none.
func (b Bridge) subnetOf(is4 bool) *Subnet {
	for i, s := range b.Subnets {
		if s.Prefix.Addr().Is4() == is4 {
			return &b.Subnets[i]
		}
	}
	return nil
}

func (b Bridge) validateAddresses() error {
	b = b.complete()
	var seen []netip.Addr
	for i, a := range b.Addresses {
		reason := ""
		subnet := b.subnetOf(a.Is4())
		switch {
		case !a.IsValid():
			return &invalid.Error{Field: fmt.Sprintf("Addresses[%d]", i), Reason: "is not an address"}
		case subnet == nil || !subnet.has(a):
			reason = "is outside the bridge's subnets"
		case a == subnet.Gateway:
			reason = "is the gateway's"
		}
		for _, other := range seen {
			if other.Is4() == a.Is4() {
				reason = "is a second address from its subnet"
			}
		}
		if reason != "" {
			return &invalid.Error{Field: fmt.Sprintf("Addresses[%d]", i), Value: a, Reason: reason}
		}
		seen = append(seen, a)
	}
	return nil
}

func validateMAC(mac string) error {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 || hw[0]&1 != 0 || strings.Trim(mac, "0:-.") == "" {
		return &invalid.Error{Field: "MAC", Value: mac, Reason: "must be the hardware address of one interface, such as 0a:58:0a:d5:00:02"}
	}
	return nil
}

func (b Bandwidth) validate() error {
	for _, f := range []struct {
		name        string
		rate, burst int64
	}{{"Ingress", b.IngressRate, b.IngressBurst}, {"Egress", b.EgressRate, b.EgressBurst}} {
		switch {
		case f.rate < 0 || f.rate > 0 && f.rate < 8 || f.rate > maxRate:
			return &invalid.Error{Field: f.name + "Rate", Value: f.rate, Reason: "must be at least 8 bits per second, or 0 for no limit"}
		case f.burst != 0 && f.rate == 0:
			return &invalid.Error{Field: f.name + "Burst", Value: f.burst, Reason: "needs a rate"}
		case f.burst < 0 || f.burst > 0 && f.burst < 8*maxMTU || f.burst >= 8<<31:
			return &invalid.Error{Field: f.name + "Burst", Value: f.burst, Reason: "must hold the largest packet, 524280 bits, and be less than 2 GiB"}
		}
	}
	return nil
}

func (p Port) validate() error {
	q := p.complete()
	switch {
	case p.HostIP.IsValid() && (p.HostIP.Is4In6() || p.HostIP.Zone() != "" || p.HostIP.IsMulticast()):
		return &invalid.Error{Field: "HostIP", Value: p.HostIP, Reason: "must be a unicast address without a zone"}
	case p.HostIP == netip.IPv6Loopback():
		return &invalid.Error{Field: "HostIP", Value: p.HostIP, Reason: "leads nowhere: the kernel keeps ::1 apart from other interfaces; 127.0.0.1 does"}
	case p.HostPort < 1 || p.HostPort > maxPort:
		return &invalid.Error{Field: "HostPort", Value: p.HostPort, Reason: "must be from 1 to 65535"}
	case q.ContainerPort < 1 || q.ContainerPort > maxPort:
		return &invalid.Error{Field: "ContainerPort", Value: p.ContainerPort, Reason: "must be from 1 to 65535"}
	case q.Range < 1 || q.Range > maxPort || q.HostPort+q.Range-1 > maxPort || q.ContainerPort+q.Range-1 > maxPort:
		return &invalid.Error{Field: "Range", Value: p.Range, Reason: "must be positive and end at 65535"}
	}
	switch q.Protocol {
	case TCP, UDP, SCTP:
		return nil
	}
	return &invalid.Error{Field: "Protocol", Value: string(p.Protocol), Reason: "must be TCP, UDP or SCTP"}
}

// validatePorts checks that no port of the host is to lead to two places.
func validatePorts(l Attachments) error {
	type place struct {
		field string
		port  Port
	}
	var seen []place
	for i, a := range l {
		b, ok := a.(Bridge)
		if !ok {
			continue
		}
		for j, p := range b.Ports {
			at := place{fmt.Sprintf("Networks[%d].Ports[%d]", i, j), p.complete()}
			for _, other := range seen {
				if other.port.overlaps(at.port) {
					return &invalid.Error{Field: at.field + ".HostPort", Value: p.HostPort, Reason: "is taken by " + other.field}
				}
			}
			seen = append(seen, at)
		}
	}
	return nil
}

// overlaps reports whether p and q, both complete, have a host port in common,
// as bind(2) sees it: all addresses include each.
func (p Port) overlaps(q Port) bool {
	if p.Protocol != q.Protocol || p.HostPort >= q.HostPort+q.Range || q.HostPort >= p.HostPort+p.Range {
		return false
	}
	if !p.HostIP.IsValid() || !q.HostIP.IsValid() {
		return true
	}
	return p.HostIP.Is4() == q.HostIP.Is4() && (p.HostIP == q.HostIP || p.HostIP.IsUnspecified() || q.HostIP.IsUnspecified())
}
