package sandbox

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// hostFiles are the host's files that a pod's depend on; what is missing is
// empty.
type hostFiles struct {
	hosts      string
	resolv     string
	realResolv string // of systemd-resolved, whose stub is on a loopback address
}

// etc returns the pod's files in /etc.
func (c *Config) etc(host hostFiles) map[string]string {
	return map[string]string{
		"hostname":    c.Hostname + "\n",
		"hosts":       c.hosts(host, nil),
		"resolv.conf": c.resolv(host),
	}
}

// hosts returns /etc/hosts of a pod with these addresses: the host's own where
// its network is used.
func (c *Config) hosts(host hostFiles, addresses []netip.Addr) string {
	var b strings.Builder
	switch {
	case c.fromHost().Has(namespace.Net):
		b.WriteString(host.hosts)
		if host.hosts != "" && !strings.HasSuffix(host.hosts, "\n") {
			b.WriteByte('\n')
		}
	default:
		// A name of the pod's own is on its addresses, or on its loopback.
		own := " " + c.Hostname
		if len(addresses) > 0 {
			own = ""
		}
		b.WriteString("127.0.0.1\tlocalhost" + own + "\n" +
			"::1\tlocalhost ip6-localhost ip6-loopback" + own + "\n" +
			"fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
		for _, a := range addresses {
			b.WriteString(a.String() + "\t" + c.Hostname + "\n")
		}
	}
	for _, a := range c.HostAliases {
		b.WriteString(a.IP.String() + "\t" + strings.Join(a.Hostnames, " ") + "\n")
	}
	return b.String()
}

// resolv returns /etc/resolv.conf.
func (c *Config) resolv(host hostFiles) string {
	servers := slices.Clone(c.DNS.Nameservers)
	searches, options := slices.Clone(c.DNS.Searches), slices.Clone(c.DNS.Options)
	if c.DNS.Policy == DNSDefault {
		loopback := c.fromHost().Has(namespace.Net)
		s, d, o := parseResolv(host.resolv, loopback)
		if len(s) == 0 {
			s, _, _ = parseResolv(host.realResolv, loopback)
		}
		servers, searches, options = append(servers, s...), append(searches, d...), append(options, o...)
	}
	var b strings.Builder
	for _, s := range servers {
		b.WriteString("nameserver " + s.String() + "\n")
	}
	if len(searches) > 0 {
		b.WriteString("search " + strings.Join(unique(searches), " ") + "\n")
	}
	if len(options) > 0 {
		b.WriteString("options " + strings.Join(unique(options), " ") + "\n")
	}
	return b.String()
}

// resolvOf returns what a network says of DNS as a resolv.conf(5); nothing, if it
// has no nameserver for a pod.
func resolvOf(d network.DNS) string {
	var b strings.Builder
	for _, a := range d.Nameservers {
		if !a.IsLoopback() {
			b.WriteString("nameserver " + a.String() + "\n")
		}
	}
	if b.Len() == 0 {
		return ""
	}
	searches := d.Searches
	if len(searches) == 0 {
		searches = []string{d.Domain}
	}
	for _, line := range [][]string{append([]string{"search"}, searches...), append([]string{"options"}, d.Options...)} {
		b.WriteString(strings.Join(slices.DeleteFunc(line, func(w string) bool { return !isWord(w) }), " ") + "\n")
	}
	return b.String()
}

// parseResolv reads a resolv.conf(5), without loopback resolvers unless wanted.
func parseResolv(text string, loopback bool) (servers []netip.Addr, searches, options []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil && (loopback || !a.IsLoopback()) {
				servers = append(servers, a)
			}
		case "search", "domain": // the last one counts
			searches = slices.DeleteFunc(words[1:], func(w string) bool { return !isWord(w) })
		case "options":
			options = append(options, slices.DeleteFunc(words[1:], func(w string) bool { return !isWord(w) })...)
		}
	}
	return servers, searches, options
}

// unique returns words without repetitions, in their first order.
func unique(words []string) []string {
	var out []string
	for _, w := range words {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}
