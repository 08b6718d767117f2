package network_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/network"
)

func conflist(plugins ...string) json.RawMessage {
	return json.RawMessage(`{"cniVersion":"1.1.0","name":"net","plugins":[` + strings.Join(plugins, ",") + `]}`)
}

func cniFull() network.CNI {
	return network.CNI{
		Config: conflist(`{"type":"bridge"}`), PluginDirs: []string{"/a", "/b"}, Args: map[string]string{"K": "v"},
		Capabilities: map[string]json.RawMessage{"mac": json.RawMessage(`"x"`)},
	}
}

func TestCNIValidate(t *testing.T) {
	tests := []struct {
		name  string
		cni   network.CNI
		field string // that is wrong; empty: none
	}{
		{"zero", network.CNI{}, ""},
		{"everything", cniFull(), ""},
		{"by name", network.CNI{ConfigDir: "/etc/cni", Name: "k8s-pod-network"}, ""},
		{"ipam", network.CNI{Config: conflist(`{"type":"bridge","ipam":{"type":"host-local"}}`)}, ""},
		{"no ipam", network.CNI{Config: conflist(`{"type":"bridge","ipam":{}}`)}, ""},
		{"flannel", network.CNI{Config: conflist(`{"type":"flannel","delegate":{"hairpinMode":true}}`)}, ""},

		{"both", network.CNI{Config: conflist(`{"type":"bridge"}`), ConfigDir: "/etc/cni"}, "Config"},
		{"data and name", network.CNI{Config: conflist(`{"type":"bridge"}`), Name: "net"}, "Config"},
		{"no JSON", network.CNI{Config: json.RawMessage(`{`)}, "Config"},
		{"no list", network.CNI{Config: json.RawMessage(`{"name":"net","type":"bridge"}`)}, "Config.plugins"},
		{"no plugins", network.CNI{Config: conflist()}, "Config.plugins"},
		{"no network name", network.CNI{Config: json.RawMessage(`{"plugins":[{"type":"a"}]}`)}, "Config.Name"},
		{"network name is a path", network.CNI{Config: json.RawMessage(`{"name":"../a","plugins":[{"type":"a"}]}`)}, "Config.Name"},
		{"no type", network.CNI{Config: conflist(`{}`)}, "Config.plugins[0].type"},
		{"type is a path", network.CNI{Config: conflist(`{"type":"a"}`, `{"type":"../a"}`)}, "Config.plugins[1].type"},
		{"type is a directory", network.CNI{Config: conflist(`{"type":".."}`)}, "Config.plugins[0].type"},
		{"ipam type is a path", network.CNI{Config: conflist(`{"type":"a","ipam":{"type":"/bin/sh"}}`)}, "Config.plugins[0].ipam.type"},
		{"delegate is a path", network.CNI{Config: conflist(`{"type":"a","delegate":{"type":"b","ipam":{"type":"c/d"}}}`)}, "Config.plugins[0].delegate.ipam.type"},
		{"relative directory", network.CNI{ConfigDir: "cni"}, "ConfigDir"},
		{"name", network.CNI{Name: "a/b"}, "Name"},
		{"plugin directory", network.CNI{PluginDirs: []string{"/a", "b"}}, "PluginDirs[1]"},
		{"plugin directory with colon", network.CNI{PluginDirs: []string{"/a:/b"}}, "PluginDirs[0]"},
		{"argument", network.CNI{Args: map[string]string{"a": "b;c=d"}}, "Args"},
		{"argument without name", network.CNI{Args: map[string]string{"": "b"}}, "Args"},
		{"capability", network.CNI{Capabilities: map[string]json.RawMessage{"mac": json.RawMessage(`{`)}}, "Capabilities"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := network.Attachments{network.Bridge{}, tt.cni}.Validate()
			if tt.field == "" {
				require.NoError(t, err)
				return
			}
			var invalid *network.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, "Networks[1]."+tt.field, invalid.Field)
		})
	}
	require.Error(t, network.Attachments{network.CNI{}, network.Host{}}.Validate())
	require.NoError(t, network.Attachments{network.CNI{}, network.CNI{}}.Validate())
}

func TestCNIJSON(t *testing.T) {
	for want, c := range map[string]network.CNI{
		`[{"type":"CNI"}]`: {},
		`[{"type":"CNI","config":{"cniVersion":"1.1.0","name":"net","plugins":[{"type":"bridge"}]},"pluginDirs":["/a","/b"],"args":{"K":"v"},"capabilities":{"mac":"x"}}]`: cniFull(),
		`[{"type":"CNI","configDir":"/c","name":"n"}]`: {ConfigDir: "/c", Name: "n"},
	} {
		data, err := json.Marshal(network.Attachments{c})
		require.NoError(t, err)
		require.Equal(t, want, string(data))
		var back network.Attachments
		require.NoError(t, json.Unmarshal(data, &back))
		require.Equal(t, network.Attachments{c}, back)
	}
	var l network.Attachments
	require.ErrorContains(t, json.Unmarshal([]byte(`[{"type":"CNI","plugins":[]}]`), &l), `unknown field "plugins"`)
}

func TestCNIClone(t *testing.T) {
	l := network.Attachments{cniFull()}
	clone := l.Clone()
	require.Equal(t, l, clone)
	c := l[0].(network.CNI)
	c.Config[0], c.PluginDirs[0], c.Args["K"], c.Capabilities["mac"][0] = '[', "/c", "w", '['
	require.Equal(t, network.Attachments{cniFull()}, clone)
}

func TestCNIError(t *testing.T) {
	err := &network.CNIError{Network: "net", Plugin: "bridge", Command: "ADD", Code: 7, Msg: "wrong", Details: "very", Err: fs.ErrNotExist}
	require.EqualError(t, err, "CNI network net: plugin bridge: ADD: code 7: wrong: very: file does not exist")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.EqualError(t, &network.CNIError{Network: "net", Command: "GC", Err: errors.New("x")}, "CNI network net: GC: x")
	require.EqualError(t, &network.NetNSError{Path: "/run/netns/a"}, "/run/netns/a is somebody else's")
}

// results are what networks look like in our words and in those of CNI.
func results() map[string]network.Result {
	return map[string]network.Result{
		"bridge": {
			Interfaces: []network.Interface{{
				Name: "eth0", HostName: "bpabc", Bridge: "barepod0", MAC: "0a:58:0a:d5:00:02", MTU: 1500,
				Addresses: []network.Address{{Prefix: prefix("10.213.0.2/16"), Gateway: addr("10.213.0.1")}, {Prefix: prefix("fd00::2/64"), Gateway: addr("fd00::1")}},
				Routes:    []network.Route{{Destination: prefix("0.0.0.0/0"), Gateway: addr("10.213.0.1")}, {Destination: prefix("::/0"), Gateway: addr("fd00::1")}},
			}},
		},
		"two, with DNS": {
			Interfaces: []network.Interface{
				{Name: "eth0", HostName: "veth0", Addresses: []network.Address{{Prefix: prefix("10.1.0.2/32")}}, Routes: []network.Route{{Destination: prefix("10.0.0.0/8")}}},
				{Name: "eth1", Addresses: []network.Address{{Prefix: prefix("10.2.0.2/24")}}, Routes: []network.Route{{Destination: prefix("10.7.0.0/16"), Gateway: addr("10.2.0.1")}}},
			},
			DNS: network.DNS{Nameservers: []netip.Addr{addr("10.1.0.53"), addr("fd00::53")}, Domain: "d", Searches: []string{"a", "b"}, Options: []string{"ndots:5"}},
		},
	}
}

func TestCNIResult(t *testing.T) {
	for name, r := range results() {
		t.Run(name, func(t *testing.T) {
			for _, version := range []string{"1.1.0", "1.0.0"} {
				in, err := r.CNI("/run/netns/x").GetAsVersion(version)
				require.NoError(t, err)
				data, err := json.Marshal(in)
				require.NoError(t, err)
				back, err := network.ParseCNI(nil, data, "eth0")
				require.NoError(t, err)
				require.Equal(t, r, back)
			}
		})
	}
	data, err := json.Marshal(results()["bridge"].CNI("/run/netns/x"))
	require.NoError(t, err)
	require.JSONEq(t, `{"cniVersion":"1.1.0",
		"interfaces":[{"name":"barepod0"},{"name":"bpabc"},{"name":"eth0","mac":"0a:58:0a:d5:00:02","mtu":1500,"sandbox":"/run/netns/x"}],
		"ips":[{"address":"10.213.0.2/16","gateway":"10.213.0.1","interface":2},{"address":"fd00::2/64","gateway":"fd00::1","interface":2}],
		"routes":[{"dst":"0.0.0.0/0","gw":"10.213.0.1"},{"dst":"::/0","gw":"fd00::1"}]}`, string(data))
	require.IsType(t, &types100.Result{}, network.Result{}.CNI(""))
}

// TestCNIResultOf reads what plugins print in practice.
func TestCNIResultOf(t *testing.T) {
	one := func(i network.Interface) network.Result { return network.Result{Interfaces: []network.Interface{i}} }
	for name, tt := range map[string]struct {
		json string
		want network.Result
	}{
		"empty":      {`{}`, one(network.Interface{Name: "eth0"})},
		"no version": {`{"ips":[{"address":"10.1.0.2/24"}]}`, one(network.Interface{Name: "eth0", Addresses: []network.Address{{Prefix: prefix("10.1.0.2/24")}}})},
		// As Calico has it: the host's end alone.
		"host's end": {
			`{"cniVersion":"1.0.0","interfaces":[{"name":"cali1"}],"ips":[{"address":"10.1.0.2/32"}]}`,
			one(network.Interface{Name: "eth0", HostName: "cali1", Addresses: []network.Address{{Prefix: prefix("10.1.0.2/32")}}}),
		},
		"address of the host's end": {
			`{"cniVersion":"1.0.0","interfaces":[{"name":"lxc1"},{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"fd00::2/128","interface":0}]}`,
			one(network.Interface{Name: "eth0", HostName: "lxc1", Addresses: []network.Address{{Prefix: prefix("fd00::2/128")}}}),
		},
		"0.2": {
			`{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.2/24","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0"}]}}`,
			one(network.Interface{
				Name: "eth0", Addresses: []network.Address{{Prefix: prefix("10.1.0.2/24"), Gateway: addr("10.1.0.1")}},
				Routes: []network.Route{{Destination: prefix("0.0.0.0/0")}},
			}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := network.ParseCNI([]byte(`{"cniVersion":"1.0.0"}`), []byte(tt.json), "eth0")
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

// FuzzCNIResult reads what plugins print. What is understood can be said again.
func FuzzCNIResult(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `7`, `{"cniVersion":"1.0.0","ips":[null]}`, `{"cniVersion":"0.3.1","interfaces":[null],"routes":[null]}`,
		`{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.2/24","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0"}]},"dns":{}}`,
		`{"cniVersion":"1.1.0","interfaces":[{"name":"cni0"},{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"fd00::2/64","gateway":"fd00::1","interface":1}],"routes":[{"dst":"::/0","gw":"fd00::1"}],"dns":{"nameservers":["10.1.0.53"],"search":["a"]}}`,
		`{"cniVersion":"0.4.0","ips":[{"version":"4","address":"::ffff:10.1.0.2/120","interface":0}],"interfaces":[{"name":"eth0","sandbox":"/x"}]}`,
		`{"cniVersion":"9.0.0"}`, `{"cniVersion":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := network.ParseCNI([]byte(`{"cniVersion":"1.0.0"}`), data, "eth0")
		if err != nil {
			return
		}
		require.NotEmpty(t, r.Interfaces)
		again, err := json.Marshal(r.CNI("/run/netns/x"))
		require.NoError(t, err)
		_, err = network.ParseCNI(nil, again, "eth0")
		require.NoError(t, err, "%s", again)
	})
}
