package network_test

import (
	"encoding/json"
	"io/fs"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/network"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func subnets(prefixes ...string) []network.Subnet {
	var all []network.Subnet
	for _, p := range prefixes {
		all = append(all, network.Subnet{Prefix: prefix(p)})
	}
	return all
}

func ports(p ...network.Port) network.Attachments {
	return network.Attachments{network.Bridge{Ports: p}}
}

func TestValidate(t *testing.T) {
	one := func(b network.Bridge) network.Attachments { return network.Attachments{b} }
	tests := []struct {
		name     string
		networks network.Attachments
		field    string // that is wrong; empty: none
	}{
		{"empty", nil, ""},
		{"none", network.Attachments{network.None{}}, ""},
		{"host", network.Attachments{network.Host{}}, ""},
		{"bridge", one(network.Bridge{}), ""},
		{"everything", one(network.Bridge{
			Name: "fifteen-bytes-x", Subnets: []network.Subnet{{Prefix: prefix("10.1.0.0/30"), Gateway: addr("10.1.0.2")}, {Prefix: prefix("fd00::/126")}},
			MTU: 65535, Addresses: []netip.Addr{addr("10.1.0.1"), addr("fd00::3")}, MAC: "0a:58:0a:d5:00:02", NoMasquerade: true, Isolate: true,
			Bandwidth: network.Bandwidth{IngressRate: 8, EgressRate: 1e9, EgressBurst: 1e7},
			Ports:     []network.Port{{HostIP: addr("::"), HostPort: 65534, Range: 2, Protocol: network.SCTP}},
		}), ""},
		{"two bridges", network.Attachments{network.Bridge{}, network.Bridge{Name: "b", Subnets: subnets("10.1.0.0/24")}}, ""},

		{"nil", network.Attachments{nil}, "Networks[0]"},
		{"pointer", network.Attachments{&network.Bridge{}}, "Networks[0]"},
		{"host and bridge", network.Attachments{network.Bridge{}, network.Host{}}, "Networks[1]"},
		{"same bridge twice", network.Attachments{network.Bridge{}, network.Bridge{Name: network.DefaultBridge}}, "Networks[1].Name"},
		{"long name", one(network.Bridge{Name: "sixteen-bytes-xx"}), "Networks[0].Name"},
		{"name is a path", one(network.Bridge{Name: "../x"}), "Networks[0].Name"},
		{"name is a directory", one(network.Bridge{Name: ".."}), "Networks[0].Name"},
		{"name with space", one(network.Bridge{Name: "a b"}), "Networks[0].Name"},
		{"name with NUL", one(network.Bridge{Name: "a\x00"}), "Networks[0].Name"},
		{"name pattern", one(network.Bridge{Name: "br%d"}), "Networks[0].Name"},
		{"unicode name", one(network.Bridge{Name: "brücke"}), "Networks[0].Name"},
		{"small MTU", one(network.Bridge{MTU: 1279}), "Networks[0].MTU"},
		{"large MTU", one(network.Bridge{MTU: 65536}), "Networks[0].MTU"},
		{"no prefix", one(network.Bridge{Subnets: make([]network.Subnet, 1)}), "Networks[0].Subnets[0].Prefix"},
		{"host bits", one(network.Bridge{Subnets: subnets("10.1.0.1/24")}), "Networks[0].Subnets[0].Prefix"},
		{"no room", one(network.Bridge{Subnets: subnets("10.1.0.0/31")}), "Networks[0].Subnets[0].Prefix"},
		{"mapped", one(network.Bridge{Subnets: subnets("::ffff:10.1.0.0/112")}), "Networks[0].Subnets[0].Prefix"},
		{"loopback", one(network.Bridge{Subnets: subnets("127.0.0.0/8")}), "Networks[0].Subnets[0].Prefix"},
		{"multicast", one(network.Bridge{Subnets: subnets("ff02::/64")}), "Networks[0].Subnets[0].Prefix"},
		{"all", one(network.Bridge{Subnets: subnets("0.0.0.0/0")}), "Networks[0].Subnets[0].Prefix"},
		{"overlap", one(network.Bridge{Subnets: subnets("10.1.0.0/16", "10.1.2.0/24")}), "Networks[0].Subnets[1].Prefix"},
		{"two of a family", one(network.Bridge{Subnets: subnets("10.1.0.0/16", "10.2.0.0/16")}), "Networks[0].Subnets[1].Prefix"},
		{"foreign gateway", one(network.Bridge{Subnets: []network.Subnet{{Prefix: prefix("10.1.0.0/16"), Gateway: addr("10.2.0.1")}}}), "Networks[0].Subnets[0].Gateway"},
		{"broadcast gateway", one(network.Bridge{Subnets: []network.Subnet{{Prefix: prefix("10.1.0.0/16"), Gateway: addr("10.1.255.255")}}}), "Networks[0].Subnets[0].Gateway"},
		{"address outside", one(network.Bridge{Addresses: []netip.Addr{addr("10.214.0.5")}}), "Networks[0].Addresses[0]"},
		{"address of gateway", one(network.Bridge{Addresses: []netip.Addr{addr("10.213.0.1")}}), "Networks[0].Addresses[0]"},
		{"address of subnet", one(network.Bridge{Addresses: []netip.Addr{addr("10.213.0.0")}}), "Networks[0].Addresses[0]"},
		{"no address", one(network.Bridge{Addresses: make([]netip.Addr, 1)}), "Networks[0].Addresses[0]"},
		{"two addresses", one(network.Bridge{Addresses: []netip.Addr{addr("10.213.0.5"), addr("10.213.0.6")}}), "Networks[0].Addresses[1]"},
		{"MAC", one(network.Bridge{MAC: "0a:58"}), "Networks[0].MAC"},
		{"group MAC", one(network.Bridge{MAC: "01:00:5e:00:00:01"}), "Networks[0].MAC"},
		{"zero MAC", one(network.Bridge{MAC: "00:00:00:00:00:00"}), "Networks[0].MAC"},
		{"rate", one(network.Bridge{Bandwidth: network.Bandwidth{EgressRate: 7}}), "Networks[0].Bandwidth.EgressRate"},
		{"burst alone", one(network.Bridge{Bandwidth: network.Bandwidth{IngressBurst: 1e6}}), "Networks[0].Bandwidth.IngressBurst"},
		{"small burst", one(network.Bridge{Bandwidth: network.Bandwidth{IngressRate: 1e6, IngressBurst: 8}}), "Networks[0].Bandwidth.IngressBurst"},
		{"port 0", ports(network.Port{}), "Networks[0].Ports[0].HostPort"},
		{"port 70000", ports(network.Port{HostPort: 70000}), "Networks[0].Ports[0].HostPort"},
		{"container port 70000", ports(network.Port{HostPort: 1, ContainerPort: 70000}), "Networks[0].Ports[0].ContainerPort"},
		{"range", ports(network.Port{HostPort: 65535, Range: 2}), "Networks[0].Ports[0].Range"},
		{"huge range", ports(network.Port{HostPort: 1, Range: 1 << 62}), "Networks[0].Ports[0].Range"},
		{"protocol", ports(network.Port{HostPort: 1, Protocol: "tcp"}), "Networks[0].Ports[0].Protocol"},
		{"host IP zone", ports(network.Port{HostPort: 1, HostIP: addr("fe80::1%eth0")}), "Networks[0].Ports[0].HostIP"},
		{"host IP loopback 6", ports(network.Port{HostPort: 1, HostIP: addr("::1")}), "Networks[0].Ports[0].HostIP"},
		{"host IP of no subnet", one(network.Bridge{Subnets: subnets("10.1.0.0/24"), Ports: []network.Port{{HostPort: 1, HostIP: addr("2001:db8::1")}}}), "Networks[0].Ports[0].HostIP"},
		{"port twice", ports(network.Port{HostPort: 80, Range: 10}, network.Port{HostPort: 89}), "Networks[0].Ports[1].HostPort"},
		{"port shadowed", ports(network.Port{HostPort: 80}, network.Port{HostPort: 80, HostIP: addr("127.0.0.1")}), "Networks[0].Ports[1].HostPort"},
		{"port of all and one", ports(network.Port{HostPort: 80, HostIP: addr("192.0.2.1")}, network.Port{HostPort: 80, HostIP: addr("0.0.0.0")}), "Networks[0].Ports[1].HostPort"},
		{"port of both networks", network.Attachments{
			network.Bridge{Ports: []network.Port{{HostPort: 80}}}, network.Bridge{Name: "b", Ports: []network.Port{{HostPort: 80}}},
		}, "Networks[1].Ports[0].HostPort"},
		{"ports of two addresses", ports(network.Port{HostPort: 80, HostIP: addr("192.0.2.1")}, network.Port{HostPort: 80, HostIP: addr("192.0.2.2")}), ""},
		{"port of two protocols", ports(network.Port{HostPort: 80}, network.Port{HostPort: 80, Protocol: network.UDP}), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.networks.Validate()
			if tt.field == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, fs.ErrInvalid)
			var invalid *network.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, tt.field, invalid.Field)
		})
	}
}

func TestJSON(t *testing.T) {
	tests := []struct {
		name     string
		networks network.Attachments
		want     string
	}{
		{"nil", nil, `null`},
		{"empty", network.Attachments{}, `[]`},
		{"none", network.Attachments{network.None{}}, `[{"type":"None"}]`},
		{"host", network.Attachments{network.Host{}}, `[{"type":"Host"}]`},
		{"bridge", network.Attachments{network.Bridge{}}, `[{"type":"Bridge"}]`},
		{"everything", network.Attachments{network.Bridge{
			Name: "br", Subnets: []network.Subnet{{Prefix: prefix("10.1.0.0/16"), Gateway: addr("10.1.0.9")}}, MTU: 1400,
			Addresses: []netip.Addr{addr("10.1.0.2")}, MAC: "0a:58:0a:01:00:02", NoMasquerade: true, Isolate: true,
			Bandwidth: network.Bandwidth{IngressRate: 1, IngressBurst: 2, EgressRate: 3, EgressBurst: 4},
			Ports:     []network.Port{{HostIP: addr("127.0.0.1"), HostPort: 1, ContainerPort: 2, Range: 3, Protocol: network.UDP}},
		}}, `[{"type":"Bridge","name":"br","subnets":[{"prefix":"10.1.0.0/16","gateway":"10.1.0.9"}],"mtu":1400,` +
			`"addresses":["10.1.0.2"],"mac":"0a:58:0a:01:00:02","noMasquerade":true,"isolate":true,` +
			`"bandwidth":{"ingressRate":1,"egressRate":3,"ingressBurst":2,"egressBurst":4},` +
			`"ports":[{"hostIP":"127.0.0.1","hostPort":1,"containerPort":2,"range":3,"protocol":"UDP"}]}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, err := json.Marshal(tt.networks)
			require.NoError(t, err)
			require.Equal(t, tt.want, string(data))
			var back network.Attachments
			require.NoError(t, json.Unmarshal(data, &back))
			require.Equal(t, tt.networks, back)
		})
	}
}

func TestJSONRefused(t *testing.T) {
	tests := []struct{ name, json, want string }{
		{"unknown type", `[{"type":"None"},{"type":"Macvlan"}]`, `network 1: invalid Type "Macvlan": must be None, Host, Bridge or CNI`},
		{"no type", `[{"name":"br"}]`, `network 0: invalid Type "": must be None, Host, Bridge or CNI`},
		{"unknown field", `[{"type":"Bridge","subnet":"10.1.0.0/16"}]`, `unknown field "subnet"`},
		{"unknown field of port", `[{"type":"Bridge","ports":[{"hostPort":1,"port":2}]}]`, `unknown field "port"`},
		{"field of another type", `[{"type":"Host","name":"br"}]`, `unknown field "name"`},
		{"no list", `{"type":"Host"}`, `cannot unmarshal object`},
		{"no object", `["Host"]`, `cannot unmarshal string`},
		{"no prefix", `[{"type":"Bridge","subnets":[{"prefix":"10.1.0.0"}]}]`, `no '/'`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l network.Attachments
			require.ErrorContains(t, json.Unmarshal([]byte(tt.json), &l), tt.want)
			require.Nil(t, l)
		})
	}
	_, err := json.Marshal(network.Attachments{&network.Bridge{}})
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestClone(t *testing.T) {
	l := network.Attachments{network.Bridge{
		Subnets: subnets("10.1.0.0/16"), Addresses: []netip.Addr{addr("10.1.0.2")}, Ports: []network.Port{{HostPort: 1}},
	}}
	clone := l.Clone()
	require.Equal(t, l, clone)
	b := l[0].(network.Bridge)
	b.Subnets[0], b.Addresses[0], b.Ports[0] = network.Subnet{}, netip.Addr{}, network.Port{}
	require.NotEqual(t, l, clone)
	require.NoError(t, clone.Validate())
	require.Nil(t, network.Attachments(nil).Clone())
}

func TestErrors(t *testing.T) {
	taken := &network.PortError{Protocol: network.TCP, Port: netip.MustParseAddrPort("0.0.0.0:80"), By: "a socket of the host"}
	full := &network.AddressError{Bridge: "br", Subnet: prefix("10.1.0.0/30")}
	static := &network.AddressError{Bridge: "br", Subnet: prefix("10.1.0.0/24"), Address: addr("10.1.0.7"), Free: 200, By: "web"}
	foreign := &network.BridgeError{Bridge: "br", Reason: "is somebody else's"}
	for text, err := range map[string]error{
		"host port 0.0.0.0:80/TCP is taken by a socket of the host":                                taken,
		"subnet 10.1.0.0/30 of bridge br is full: 0 addresses are free":                            full,
		"address 10.1.0.7 of bridge br is taken by pod web: 200 addresses of 10.1.0.0/24 are free": static,
		"bridge br: is somebody else's":                                                            foreign,
		"attach network of pod web: " + taken.Error():                                              &network.Error{Op: "attach", ID: "web", Err: taken},
		"sweep network: " + fs.ErrPermission.Error():                                               &network.Error{Op: "sweep", Err: os.ErrPermission},
	} {
		require.EqualError(t, err, text)
	}
	require.ErrorIs(t, &network.Error{Err: taken}, fs.ErrExist)
	require.ErrorIs(t, static, fs.ErrExist)
	require.ErrorIs(t, foreign, fs.ErrExist)
	require.NotErrorIs(t, full, fs.ErrExist)
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`[{"type":"None"}]`, `[{"type":"Host"}]`, `[{"type":"Bridge"},{"type":"Bridge","name":"b","subnets":[{"prefix":"10.1.0.0/16"}]}]`,
		`[{"type":"Bridge","name":"br","subnets":[{"prefix":"fd00::/64","gateway":"fd00::9"}],"mtu":1400,"addresses":["fd00::2"]}]`,
		`[{"type":"Bridge","mac":"0a:58:0a:01:00:02","bandwidth":{"ingressRate":8},"ports":[{"hostPort":1,"range":3}]}]`,
		`[{"type":"CNI"},{"type":"CNI","config":{"name":"n","plugins":[{"type":"bridge"}]},"args":{"a":"b"},"capabilities":{"mac":"x"}}]`,
		`[{"type":"CNI","configDir":"/c","name":"n","pluginDirs":["/p"]}]`, `[{"type":"Bridge","type":"Host"}]`, `null`, `[]`, `{}`, `"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var l, back network.Attachments
		if json.Unmarshal(data, &l) != nil || l.Validate() != nil {
			return
		}
		again, err := json.Marshal(l)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(again, &back))
		require.NoError(t, back.Validate())
		third, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))
	})
}
