package sandbox_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/sandbox"
)

const ownHosts = `127.0.0.1	localhost web
::1	localhost ip6-localhost ip6-loopback web
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
`

func TestHosts(t *testing.T) {
	aliases := []sandbox.HostAlias{
		{IP: netip.MustParseAddr("10.1.2.3"), Hostnames: []string{"db", "db.example.com"}},
		{IP: netip.MustParseAddr("fd00::1"), Hostnames: []string{"db"}},
	}
	tests := []struct {
		name, host string
		cfg        sandbox.Config
		want       string
	}{
		{"own", "1.2.3.4 secret\n", sandbox.Config{}, ownHosts},
		{"aliases", "", sandbox.Config{HostAliases: aliases}, ownHosts + "10.1.2.3\tdb db.example.com\nfd00::1\tdb\n"},
		{"host network", "127.0.0.1 localhost\n", sandbox.Config{Networks: network.Attachments{network.Host{}}}, "127.0.0.1 localhost\n"},
		{"host network and aliases", "127.0.0.1 localhost", sandbox.Config{Networks: network.Attachments{network.Host{}}, HostAliases: aliases[:1]}, "127.0.0.1 localhost\n10.1.2.3\tdb db.example.com\n"},
		{"no hosts of the host", "", sandbox.Config{Networks: network.Attachments{network.Host{}}, HostAliases: aliases[1:]}, "fd00::1\tdb\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Name = "web"
			etc := tt.cfg.Complete().Etc(tt.host, "", "")
			require.Equal(t, tt.want, etc["hosts"])
			require.Equal(t, "web\n", etc["hostname"])
			require.Len(t, etc, 3)
		})
	}
}

func TestResolvConf(t *testing.T) {
	const (
		host = "# comment\n; too\nnameserver 192.0.2.1\nnameserver 127.0.0.53\nnameserver ::1\nnameserver bad\nnameserver\n" +
			"search a.example b.example\noptions ndots:2 edns0\noptions rotate\nsortlist 1.2.3.4\n"
		stub = "nameserver 127.0.0.53\nsearch a.example\noptions edns0\n"
		real = "nameserver 192.0.2.9\nsearch other.example\n"
	)
	own := sandbox.DNS{
		Nameservers: []netip.Addr{netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("fd00::53")},
		Searches:    []string{"own.example", "a.example"}, Options: []string{"ndots:5", "edns0"},
	}
	none := own
	none.Policy = sandbox.DNSNone
	tests := []struct {
		name         string
		host, real   string
		dns          sandbox.DNS
		hostNetworks bool
		want         string
	}{
		{"host's", host, "", sandbox.DNS{}, false, "nameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:2 edns0 rotate\n"},
		{"host's network", host, "", sandbox.DNS{}, true, "nameserver 192.0.2.1\nnameserver 127.0.0.53\nnameserver ::1\nsearch a.example b.example\noptions ndots:2 edns0 rotate\n"},
		{"both", host, "", own, false, "nameserver 10.0.0.10\nnameserver fd00::53\nnameserver 192.0.2.1\nsearch own.example a.example b.example\noptions ndots:5 edns0 ndots:2 rotate\n"},
		{"none of the host's", host, "", none, false, "nameserver 10.0.0.10\nnameserver fd00::53\nsearch own.example a.example\noptions ndots:5 edns0\n"},
		{"behind a stub", stub, real, sandbox.DNS{}, false, "nameserver 192.0.2.9\nsearch a.example\noptions edns0\n"},
		{"stub of the host's network", stub, real, sandbox.DNS{}, true, "nameserver 127.0.0.53\nsearch a.example\noptions edns0\n"},
		{"domain", "domain d.example\n", "", sandbox.DNS{}, false, "search d.example\n"},
		{"last search counts", "search a\nsearch b\n", "", sandbox.DNS{}, false, "search b\n"},
		{"nothing", "", "", sandbox.DNS{}, false, ""},
		{"nothing at all", host, real, sandbox.DNS{Policy: sandbox.DNSNone}, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := sandbox.Config{Name: "web", DNS: tt.dns}
			if tt.hostNetworks {
				cfg.Networks = network.Attachments{network.Host{}}
			}
			require.Equal(t, tt.want, cfg.Complete().Etc("", tt.host, tt.real)["resolv.conf"])
		})
	}
}

// TestResolvConfOfNetwork has a network that says where names are resolved.
func TestResolvConfOfNetwork(t *testing.T) {
	servers := []netip.Addr{netip.MustParseAddr("10.1.0.53"), netip.MustParseAddr("127.0.0.1")}
	for want, dns := range map[string]network.DNS{
		"": {Nameservers: servers[1:], Domain: "d"},
		"nameserver 10.1.0.53\nsearch d\noptions\n":           {Nameservers: servers, Domain: "d"},
		"nameserver 10.1.0.53\nsearch a b\noptions ndots:5\n": {Nameservers: servers, Domain: "d", Searches: []string{"a", "b", "c\nnameserver 192.0.2.1"}, Options: []string{"ndots:5"}},
	} {
		require.Equal(t, want, sandbox.ResolvOf(dns))
	}
	own := sandbox.Config{Name: "web", DNS: sandbox.DNS{Nameservers: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}}
	require.Equal(t, "nameserver 192.0.2.7\nnameserver 10.1.0.53\nsearch d\n",
		own.Complete().Etc("", sandbox.ResolvOf(network.DNS{Nameservers: servers, Domain: "d"}), "")["resolv.conf"])
}
