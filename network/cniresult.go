package network

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

// CNI returns the result in the words of CNI 1.1, in which netns is the path of
// the pod's network namespace, such as [Pod.NetNSPath]. Its GetAsVersion gives
// that of older versions, 1.0 among them.
//
// Before each interface of the pod are those of the host that belong to it: the
// bridge, if there is one, and the other end.
func (r Result) CNI(netns string) *types100.Result {
	out := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	for _, i := range r.Interfaces {
		for _, host := range []string{i.Bridge, i.HostName} {
			if host != "" {
				out.Interfaces = append(out.Interfaces, &types100.Interface{Name: host})
			}
		}
		out.Interfaces = append(out.Interfaces, &types100.Interface{Name: i.Name, Mac: i.MAC, Mtu: i.MTU, Sandbox: netns})
		for _, a := range i.Addresses {
			out.IPs = append(out.IPs, &types100.IPConfig{
				Interface: types100.Int(len(out.Interfaces) - 1),
				Address:   toIPNet(a.Prefix),
				Gateway:   a.Gateway.AsSlice(),
			})
		}
		for _, route := range i.Routes {
			out.Routes = append(out.Routes, &types.Route{Dst: toIPNet(route.Destination), GW: route.Gateway.AsSlice()})
		}
	}
	for _, a := range r.DNS.Nameservers {
		out.DNS.Nameservers = append(out.DNS.Nameservers, a.String())
	}
	out.DNS.Domain, out.DNS.Search, out.DNS.Options = r.DNS.Domain, r.DNS.Searches, r.DNS.Options
	return out
}

// parseCNIResult reads what a plugin has printed for a configuration. Without a
// version of its own it is of the configuration's.
func parseCNIResult(config, stdout []byte) (*types100.Result, error) {
	type versioned struct {
		CNIVersion string `json:"cniVersion"`
	}
	var want, got versioned
	if err := json.Unmarshal(config, &want); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(stdout, &got); err != nil {
		return nil, err
	}
	if got.CNIVersion == "" {
		got.CNIVersion = want.CNIVersion
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(stdout, &object); err != nil {
		return nil, err
	}
	if object == nil {
		return nil, fmt.Errorf("is null")
	}
	object["cniVersion"], _ = json.Marshal(got.CNIVersion)
	for field, value := range object {
		// In any case, as encoding/json takes them.
		if !slices.ContainsFunc([]string{"interfaces", "ips", "routes"}, func(list string) bool { return strings.EqualFold(field, list) }) {
			continue
		}
		// The library's own conversions do not expect these.
		var list []*json.RawMessage
		if err := json.Unmarshal(value, &list); err != nil {
			return nil, err
		}
		for i, element := range list {
			if element == nil {
				return nil, fmt.Errorf("%s[%d] is null", field, i)
			}
		}
	}
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	result, err := create.Create(got.CNIVersion, data)
	if err != nil {
		return nil, err
	}
	return types100.GetResult(result)
}

// resultOfCNI returns what CNI plugins have made, in our words. Where no
// interface is said to be in the pod, what there is belongs to ifname.
func resultOfCNI(in *types100.Result, ifname string) (Result, error) {
	var r Result
	at := map[int]int{} // from their interfaces to ours
	var host []string   // interfaces since the last one in the pod
	for i, f := range in.Interfaces {
		if f.Sandbox == "" {
			host = append(host, f.Name)
			continue
		}
		at[i] = len(r.Interfaces)
		r.Interfaces = append(r.Interfaces, Interface{Name: f.Name, MAC: f.Mac, MTU: f.Mtu}.onHost(host))
		host = nil
	}
	if len(r.Interfaces) == 0 {
		r.Interfaces = []Interface{Interface{Name: ifname}.onHost(host)}
	}
	for _, ip := range in.IPs {
		a, err := addressOfCNI(ip)
		if err != nil {
			return Result{}, err
		}
		i := 0
		if ip.Interface != nil {
			if *ip.Interface < 0 || *ip.Interface >= max(len(in.Interfaces), 1) {
				return Result{}, fmt.Errorf("address %v is on interface %d of %d", a.Prefix, *ip.Interface, len(in.Interfaces))
			}
			i = at[*ip.Interface] // the first, if it is the host's
		}
		r.Interfaces[i].Addresses = append(r.Interfaces[i].Addresses, a)
	}
	for _, route := range in.Routes {
		dst, err := prefixOf(route.Dst)
		if err != nil {
			return Result{}, err
		}
		gw, err := addrOf(route.GW)
		if err != nil {
			return Result{}, err
		}
		i := r.interfaceTo(gw)
		r.Interfaces[i].Routes = append(r.Interfaces[i].Routes, Route{Destination: dst, Gateway: gw})
	}
	for _, s := range in.DNS.Nameservers {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return Result{}, err
		}
		r.DNS.Nameservers = append(r.DNS.Nameservers, a)
	}
	r.DNS.Domain, r.DNS.Searches, r.DNS.Options = in.DNS.Domain, in.DNS.Search, in.DNS.Options
	return r.Clone(), nil
}

// onHost adds the host's interfaces that come before it in a CNI result: its
// other end last, and before that a bridge.
func (i Interface) onHost(names []string) Interface {
	if n := len(names); n > 0 {
		i.HostName = names[n-1]
		if n > 1 {
			i.Bridge = names[n-2]
		}
	}
	return i
}

// interfaceTo is the number of the interface that has a gateway in one of its
// subnets; 0 if none has.
func (r Result) interfaceTo(gateway netip.Addr) int {
	for i, f := range r.Interfaces {
		for _, a := range f.Addresses {
			if a.Prefix.Contains(gateway) {
				return i
			}
		}
	}
	return 0
}

func addressOfCNI(ip *types100.IPConfig) (Address, error) {
	p, err := prefixOf(ip.Address)
	if err != nil {
		return Address{}, err
	}
	gw, err := addrOf(ip.Gateway)
	return Address{Prefix: p, Gateway: gw}, err
}

func toIPNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n net.IPNet) (netip.Prefix, error) {
	a, err := addrOf(n.IP)
	ones, bits := n.Mask.Size()
	if a.Is4() && bits == 128 { // written as ::ffff:10.1.0.2/120
		ones, bits = ones-96, 32
	}
	p := netip.PrefixFrom(a, ones)
	if err == nil && (!p.IsValid() || bits != a.BitLen()) {
		err = fmt.Errorf("%v is not an address with its subnet", n.String())
	}
	return p, err
}

// addrOf returns an address; the zero value if there is none.
func addrOf(ip net.IP) (netip.Addr, error) {
	if len(ip) == 0 {
		return netip.Addr{}, nil
	}
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return a, fmt.Errorf("%v is not an IP address", ip)
	}
	return a.Unmap(), nil
}
