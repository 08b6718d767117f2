package network_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/network"
)

// links is the network of a namespace as a text that does not depend on numbers.
func (h *host) dump(t testing.TB, p *pod) string {
	t.Helper()
	var out []string
	for _, ns := range []struct {
		title string
		ns    *pod
	}{{"host", &pod{ns: h.ns}}, {"pod", p}} {
		out = append(out, "["+ns.title+"]")
		for _, args := range []string{"-o link show", "-o addr show", "route show", "-6 route show"} {
			out = append(out, run(t, ns.ns.ns, "ip", strings.Fields(args)...))
		}
	}
	text := strings.Join(out, "\n")
	for _, r := range [][2]string{
		{`(?m)^\d+: `, ""},                                // numbers of links
		{`@if\d+`, ""},                                    //
		{`\\ *`, " "},                                     // lines that -o joined
		{`bp[a-z2-7]{13}`, "VETH"},                        // derives from the directory
		{`fe80::[0-9a-f:]+/64`, "LINKLOCAL"},              // derives from it, too
		{`link/ether 02:[0-9a-f:]+`, "link/ether BRIDGE"}, //
		{`master barepod0 (.*) link/ether [0-9a-f:]+`, "master barepod0 $1 link/ether RANDOM"},
		{` qlen \d+| valid_lft forever preferred_lft forever| link-netnsid \d+| group default| mode DEFAULT| brd ff:ff:ff:ff:ff:ff`, ""},
		{`(?m)[ \t]+`, " "},
		{`(?m) +$`, ""},
		{`\n\n+`, "\n"},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}

func TestGolden(t *testing.T) {
	h := newHost(t)
	p := h.attach(t, network.Bridge{MTU: 1400})
	want := strings.TrimPrefix(`
[host]
lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
barepod0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc noqueue state UP link/ether BRIDGE
VETH: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc noqueue master barepod0 state UP link/ether RANDOM alias `+p.ID+` eth0
lo inet 127.0.0.1/8 scope host lo
lo inet6 ::1/128 scope host
barepod0 inet 10.213.0.1/16 brd 10.213.255.255 scope global barepod0
barepod0 inet6 fd62:6172:6570:6f64::1/64 scope global nodad
barepod0 inet6 LINKLOCAL scope link
10.213.0.0/16 dev barepod0 proto kernel scope link src 10.213.0.1
fd62:6172:6570:6f64::/64 dev barepod0 proto kernel metric 256 pref medium
fe80::/64 dev barepod0 proto kernel metric 256 pref medium
[pod]
lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc noqueue state UP link/ether 0a:58:0a:d5:00:02
lo inet 127.0.0.1/8 scope host lo
lo inet6 ::1/128 scope host
eth0 inet 10.213.0.2/16 brd 10.213.255.255 scope global eth0
eth0 inet6 fd62:6172:6570:6f64::2/64 scope global nodad
eth0 inet6 LINKLOCAL scope link
default via 10.213.0.1 dev eth0
10.213.0.0/16 dev eth0 proto kernel scope link src 10.213.0.2
fd62:6172:6570:6f64::/64 dev eth0 proto kernel metric 256 pref medium
fe80::/64 dev eth0 proto kernel metric 256 pref medium
default via fd62:6172:6570:6f64::1 dev eth0 metric 1024 pref medium
`, "\n")
	var got string
	testutil.Await(func() bool { // link-local addresses come when the links are up
		got = h.dump(t, p)
		return got == want
	})
	require.Equal(t, want, got)
}

// TestGoldenRules has protocols as numbers: their names are in /etc/protocols, which
// not every machine has.
func TestGoldenRules(t *testing.T) {
	h := newHost(t)
	h.attach(t, network.Bridge{
		Isolate: true, NoMasquerade: true, Subnets: subnets("10.1.0.0/24"),
		Ports: []network.Port{{HostPort: 80, ContainerPort: 8080}, {HostIP: addr("127.0.0.1"), HostPort: 53, Protocol: network.UDP}},
	})
	require.Equal(t, strings.TrimPrefix(`
table inet barepod {
	set bridges {
		type ifname
		elements = { "barepod0" }
	}

	set subnets4 {
		type ipv4_addr
		flags interval
		elements = { 10.1.0.0/24 }
	}

	set plain4 {
		type ipv4_addr
		elements = { 10.1.0.2 }
	}

	set isolated4 {
		type ipv4_addr
		elements = { 10.1.0.2 }
	}

	set publishers4 {
		type ipv4_addr
		elements = { 10.1.0.2 }
	}

	map ports4 {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 127.0.0.1 . 17 . 53 : 10.1.0.2 . 53 }
	}

	map anyports4 {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 6 . 80 : 10.1.0.2 . 8080 }
	}

	set subnets6 {
		type ipv6_addr
		flags interval
	}

	set plain6 {
		type ipv6_addr
	}

	set isolated6 {
		type ipv6_addr
	}

	set publishers6 {
		type ipv6_addr
	}

	map ports6 {
		type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
	}

	map anyports6 {
		type inet_proto . inet_service : ipv6_addr . inet_service
	}

	chain guard {
		type filter hook prerouting priority raw; policy accept;
		iifname @bridges ip saddr 127.0.0.0/8 drop comment "barepod network 1"
		iifname @bridges ip daddr 127.0.0.0/8 drop
	}

	chain hostports {
		ip6 daddr ::1 return
		dnat ip to ip daddr . meta l4proto . th dport map @ports4
		meta nfproto ipv4 dnat ip to meta l4proto . th dport map @anyports4
		dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6
		meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @anyports6
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump hostports
	}

	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type local jump hostports
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr @isolated4 ip daddr @isolated4 drop
		ip6 saddr @isolated6 ip6 daddr @isolated6 drop
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr @subnets4 oifname @bridges ct status dnat masquerade
		ip saddr @subnets4 ip saddr != @plain4 oifname != @bridges masquerade
		ip6 saddr @subnets6 oifname @bridges ct status dnat masquerade
		ip6 saddr @subnets6 ip6 saddr != @plain6 oifname != @bridges masquerade
		ip saddr 127.0.0.0/8 oifname @bridges masquerade
	}
}
`, "\n"), run(t, h.ns, "nft", "--numeric-protocol", "list", "ruleset"))
}
