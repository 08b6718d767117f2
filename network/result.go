package network

import (
	"net/netip"
	"slices"
)

// Result is the network that a pod has got: plain data, which survives JSON.
type Result struct {
	Interfaces []Interface `json:"interfaces,omitempty"`
}

// Interface is one of the pod's.
type Interface struct {
	Name string `json:"name"` // in the pod, such as eth0
	// HostName is the name of its other end on the host.
	HostName  string    `json:"hostName,omitempty"`
	Bridge    string    `json:"bridge,omitempty"` // that the other end is a port of
	MAC       string    `json:"mac,omitempty"`
	MTU       int       `json:"mtu,omitempty"`
	Addresses []Address `json:"addresses,omitempty"`
	Routes    []Route   `json:"routes,omitempty"`
}

// Address is one of an interface, with its subnet, such as 10.213.0.2/16.
type Address struct {
	Prefix  netip.Prefix `json:"prefix"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
}

// Route says where packets to Destination go.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Gateway     netip.Addr   `json:"gateway,omitzero"`
}

// Addresses returns the addresses of all interfaces, in their order: the pod's
// IPs.
func (r Result) Addresses() []netip.Addr {
	var all []netip.Addr
	for _, i := range r.Interfaces {
		for _, a := range i.Addresses {
			all = append(all, a.Prefix.Addr())
		}
	}
	return all
}

// Clone returns a copy that shares no memory with r.
func (r Result) Clone() Result {
	r.Interfaces = slices.Clone(r.Interfaces)
	for i := range r.Interfaces {
		r.Interfaces[i].Addresses = slices.Clone(r.Interfaces[i].Addresses)
		r.Interfaces[i].Routes = slices.Clone(r.Interfaces[i].Routes)
	}
	return r
}
