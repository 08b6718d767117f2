package network

import (
	"net/netip"
	"slices"
)

// Attachment says how a pod is attached to a network: [None], [Host], [Bridge]
// or [CNI], as values. There are no others.
type Attachment interface{ attachmentType() string }

// Attachments are the networks of a pod. The first that gives an interface
// makes eth0, the next eth1. An empty list is the same as None.
type Attachments []Attachment

// None is a pod that has its own loopback and nothing else.
type None struct{}

// Host is a pod in the host's network namespace: its containers see the host's
// interfaces, reach the services on its loopback, and share its ports.
type Host struct{}

// Bridge gives the pod an interface on a bridge of the host, made when the first
// pod asks for it, and an address from each of its subnets. Pods on it reach
// each other and the host, which routes everything else; nothing else has to be
// installed. Pods with the same Name must agree on Subnets and MTU.
type Bridge struct {
	// Name is the bridge's name on the host, at most 15 bytes. Empty means
	// DefaultBridge.
	Name string `json:"name,omitempty"`
	// Subnets are those of the bridge: one of IPv4, one of IPv6, or one of
	// each. None means DefaultSubnets.
	Subnets []Subnet `json:"subnets,omitempty"`
	// MTU is the largest packet in bytes, from 1280 to 65535. 0 means 1500.
	MTU int `json:"mtu,omitempty"`

	// Addresses are the pod's own, at most one from each subnet. A subnet
	// without one gives its next free address.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// MAC is the hardware address of the pod's interface, such as
	// "0a:58:0a:d5:00:02". Empty means one that derives from the IP address, so
	// that a neighbour which remembers it is right about the next pod, too.
	MAC string `json:"mac,omitempty"`
	// NoMasquerade lets the pod's packets leave the host with the pod's address
	// as their source: for networks that have a route back. The zero value
	// translates what leaves through anything but a bridge of ours to the
	// host's address.
	NoMasquerade bool `json:"noMasquerade,omitempty"`
	// Isolate keeps the pod from exchanging packets with other pods that have
	// it, by their host ports, too.
	Isolate bool `json:"isolate,omitempty"`
	// Bandwidth limits the interface. The zero value does not.
	Bandwidth Bandwidth `json:"bandwidth,omitzero"`
	// Ports are ports of the host that lead to the pod.
	Ports []Port `json:"ports,omitempty"`
}

// Subnet is a range of addresses on a bridge.
type Subnet struct {
	// Prefix is the range, such as 10.1.0.0/16 or fd00:1::/64.
	Prefix netip.Prefix `json:"prefix"`
	// Gateway is the host's address in it. The zero value means the first one.
	Gateway netip.Addr `json:"gateway,omitzero"`
}

// Bandwidth limits an interface by token buckets, in the words and units of
// CNI: ingress is what the pod receives, egress what it sends.
type Bandwidth struct {
	// IngressRate and EgressRate are in bits per second, at least 8; 0 means no
	// limit.
	IngressRate int64 `json:"ingressRate,omitempty"`
	EgressRate  int64 `json:"egressRate,omitempty"`
	// IngressBurst and EgressBurst are the sizes of the buckets in bits. 0
	// means what the rate gives in a tenth of a second, but at least 64 KiB.
	IngressBurst int64 `json:"ingressBurst,omitempty"`
	EgressBurst  int64 `json:"egressBurst,omitempty"`
}

// Port is a port of the host that leads to one of the pod, from outside, from
// other pods, and from the host itself, through 127.0.0.1, too. (Not through
// ::1: the kernel has no way out of there.)
type Port struct {
	// HostIP is the address of the host. The zero value means all of both
	// families, 0.0.0.0 all of IPv4, and :: all of IPv6.
	HostIP netip.Addr `json:"hostIP,omitzero"`
	// HostPort and ContainerPort are from 1 to 65535. A ContainerPort of 0 is
	// the same as HostPort.
	HostPort      int `json:"hostPort"`
	ContainerPort int `json:"containerPort,omitempty"`
	// Range is how many ports, one after the other, from these on. 0 means 1.
	Range int `json:"range,omitempty"`
	// Protocol is TCP, UDP or SCTP. Empty means TCP.
	Protocol Protocol `json:"protocol,omitempty"`
}

// Protocol is one that has ports.
type Protocol string

// The protocols of a Port.
const (
	TCP  Protocol = "TCP"
	UDP  Protocol = "UDP"
	SCTP Protocol = "SCTP"
)

// DefaultBridge is the name of a Bridge without one.
const DefaultBridge = "barepod0"

// defaultMTU is that of Ethernet.
const defaultMTU = 1500

// DefaultSubnets returns the subnets of a Bridge without any: 10.213.0.0/16 and
// fd62:6172:6570:6f64::/64, which reads "barepod" in ASCII.
func DefaultSubnets() []Subnet {
	return []Subnet{
		{Prefix: netip.MustParsePrefix("10.213.0.0/16")},
		{Prefix: netip.MustParsePrefix("fd62:6172:6570:6f64::/64")},
	}
}

func (None) attachmentType() string   { return "None" }
func (Host) attachmentType() string   { return "Host" }
func (Bridge) attachmentType() string { return "Bridge" }

// Clone returns a copy that shares no memory with the list.
func (l Attachments) Clone() Attachments {
	clone := slices.Clone(l)
	for i, a := range clone {
		switch a := a.(type) {
		case Bridge:
			a.Subnets = slices.Clone(a.Subnets)
			a.Addresses = slices.Clone(a.Addresses)
			a.Ports = slices.Clone(a.Ports)
			clone[i] = a
		case CNI:
			clone[i] = a.clone()
		}
	}
	return clone
}

// interfaces returns the attachments that make an interface each, in their
// order: Bridge and CNI.
func (l Attachments) interfaces() []Attachment {
	var made []Attachment
	for _, a := range l {
		switch a.(type) {
		case Bridge, CNI:
			made = append(made, a)
		}
	}
	return made
}

// hasCNI reports whether one of them is a CNI.
func (l Attachments) hasCNI() bool {
	return slices.ContainsFunc(l, func(a Attachment) bool { _, ok := a.(CNI); return ok })
}

// complete returns a copy with the defaults filled in.
func (b Bridge) complete() Bridge {
	if b.Name == "" {
		b.Name = DefaultBridge
	}
	if len(b.Subnets) == 0 {
		b.Subnets = DefaultSubnets()
	}
	b.Subnets = slices.Clone(b.Subnets)
	for i, s := range b.Subnets {
		if !s.Gateway.IsValid() {
			b.Subnets[i].Gateway = s.Prefix.Addr().Next()
		}
	}
	if b.MTU == 0 {
		b.MTU = defaultMTU
	}
	b.Ports = slices.Clone(b.Ports)
	for i := range b.Ports {
		b.Ports[i] = b.Ports[i].complete()
	}
	return b
}

func (p Port) complete() Port {
	if p.ContainerPort == 0 {
		p.ContainerPort = p.HostPort
	}
	if p.Range == 0 {
		p.Range = 1
	}
	if p.Protocol == "" {
		p.Protocol = TCP
	}
	return p
}
