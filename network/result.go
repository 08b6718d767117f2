package network

import (
	"net/netip"
	"slices"
)

// Result is the network that a pod has got: plain data, which survives JSON.
type Result struct {
	Interfaces []Interface `json:"interfaces,omitempty"`
	// DNS is what the networks say of it, together; a Bridge says nothing.
	DNS DNS `json:"dns,omitzero"`
}

// DNS is how names are resolved in a network, in the terms of resolv.conf(5).
type DNS struct {
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	Domain      string       `json:"domain,omitempty"`
	Searches    []string     `json:"searches,omitempty"`
	Options     []string     `json:"options,omitempty"`
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

// Route says where packets to Destination go. Without a Gateway that is the
// interface itself, or the gateway of its address.
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
	r.DNS.Nameservers = slices.Clone(r.DNS.Nameservers)
	r.DNS.Searches = slices.Clone(r.DNS.Searches)
	r.DNS.Options = slices.Clone(r.DNS.Options)
	return r
}

// add adds what a further attachment has made. The first domain counts.
func (r *Result) add(more Result) {
	r.Interfaces = append(r.Interfaces, more.Interfaces...)
	r.DNS.Nameservers = append(r.DNS.Nameservers, more.DNS.Nameservers...)
	r.DNS.Searches = append(r.DNS.Searches, more.DNS.Searches...)
	r.DNS.Options = append(r.DNS.Options, more.DNS.Options...)
	if r.DNS.Domain == "" {
		r.DNS.Domain = more.DNS.Domain
	}
}

// of returns the interface of a name.
func (r Result) of(name string) (Interface, bool) {
	i := slices.IndexFunc(r.Interfaces, func(i Interface) bool { return i.Name == name })
	if i < 0 {
		return Interface{}, false
	}
	return r.Interfaces[i], true
}
