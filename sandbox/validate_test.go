package sandbox_test

import (
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// badConfig is a configuration with one mistake in it.
type badConfig struct {
	name   string
	change func(c *sandbox.Config)
	field  string
}

func emptyDir(name string) volume.Volume { return volume.Volume{Name: name, Source: volume.EmptyDir{}} }

func sysctl(name, value string) func(*sandbox.Config) {
	return func(c *sandbox.Config) { c.Sysctls = map[string]string{name: value} }
}

func badConfigs() []badConfig {
	ip := netip.MustParseAddr("10.0.0.1")
	volumes := func(v ...volume.Volume) func(*sandbox.Config) {
		return func(c *sandbox.Config) { c.Volumes = v }
	}
	alias := func(ip netip.Addr, names ...string) func(*sandbox.Config) {
		return func(c *sandbox.Config) { c.HostAliases = []sandbox.HostAlias{{IP: ip, Hostnames: names}} }
	}
	list := []badConfig{
		{"host namespace of no such kind", func(c *sandbox.Config) { c.HostNamespaces = namespace.Mount }, "HostNamespaces"},
		{"host user namespace", func(c *sandbox.Config) { c.HostNamespaces = namespace.IPC | namespace.User }, "HostNamespaces"},
		{"host network in another spelling", func(c *sandbox.Config) { c.HostNamespaces = namespace.Net }, "HostNamespaces"},
		{"port", func(c *sandbox.Config) {
			c.Networks = network.Attachments{network.Bridge{Ports: []network.Port{{HostPort: 70000}}}}
		}, "Networks[0].Ports[0].HostPort"},
		{"path of the host's network", func(c *sandbox.Config) {
			c.Networks, c.NetNSPath = network.Attachments{network.Host{}}, true
		}, "NetNSPath"},
		{"shared and the host's PIDs", func(c *sandbox.Config) { c.HostNamespaces, c.ShareProcessNamespace = namespace.PID, true }, "ShareProcessNamespace"},
		{"hostname of the host", func(c *sandbox.Config) { c.HostNamespaces, c.Hostname = namespace.UTS, "other" }, "Hostname"},
		{"negative shm", func(c *sandbox.Config) { c.ShmSize = -1 }, "ShmSize"},
		{"DNS policy", func(c *sandbox.Config) { c.DNS.Policy = "ClusterFirst" }, "DNS.Policy"},
		{"nameserver", func(c *sandbox.Config) { c.DNS.Nameservers = []netip.Addr{ip, {}} }, "DNS.Nameservers[1]"},
		{"search of two words", func(c *sandbox.Config) { c.DNS.Searches = []string{"a b"} }, "DNS.Searches[0]"},
		{"search with newline", func(c *sandbox.Config) { c.DNS.Searches = []string{"a", "b\nnameserver 1.2.3.4"} }, "DNS.Searches[1]"},
		{"empty option", func(c *sandbox.Config) { c.DNS.Options = []string{""} }, "DNS.Options[0]"},
		{"alias without IP", alias(netip.Addr{}, "a"), "HostAliases[0].IP"},
		{"alias with zone", alias(netip.MustParseAddr("fe80::1%eth0"), "a"), "HostAliases[0].IP"},
		{"alias without names", alias(ip), "HostAliases[0].Hostnames"},
		{"alias with newline", alias(ip, "a", "b\n1.2.3.4 evil"), "HostAliases[0].Hostnames[1]"},
		{"alias with comment", alias(ip, "#"), "HostAliases[0].Hostnames[0]"},
		{"volume without name", volumes(emptyDir("")), "Volumes[0].Name"},
		{"volume that climbs", volumes(emptyDir("../etc")), "Volumes[0].Name"},
		{"volume twice", volumes(emptyDir("a"), emptyDir("b"), emptyDir("a")), "Volumes[2].Name"},
		{"volume without source", volumes(volume.Volume{Name: "a"}), "Volumes[0].Source"},
		{"source by pointer", volumes(volume.Volume{Name: "a", Source: &volume.EmptyDir{}}), "Volumes[0].Source"},
		{"negative size", volumes(volume.Volume{Name: "a", Source: volume.EmptyDir{SizeLimit: -1}}), "Volumes[0].Source.SizeLimit"},
		{"relative HostPath", volumes(volume.Volume{Name: "a", Source: volume.HostPath{Path: "etc"}}), "Volumes[0].Source.Path"},
		{"HostPath with ..", volumes(volume.Volume{Name: "a", Source: volume.HostPath{Path: "/a/../etc"}}), "Volumes[0].Source.Path"},
		{"file that climbs", volumes(volume.Volume{Name: "a", Source: volume.Files{Items: map[string]volume.File{"../x": {}}}}), `Volumes[0].Source.Items["../x"]`},
		{"negative CPU", func(c *sandbox.Config) { c.Resources.CPU = -1 }, "Resources.CPU"},
		{"negative memory", func(c *sandbox.Config) { c.Resources.Memory = -1 }, "Resources.Memory"},
		{"negative PIDs", func(c *sandbox.Config) { c.Resources.PIDs = -1 }, "Resources.PIDs"},
		{"cgroup driver", func(c *sandbox.Config) { c.Cgroup.Driver = "docker" }, "Cgroup.Driver"},
		{"cgroup root", func(c *sandbox.Config) { c.Cgroup.Parent = "/" }, "Cgroup.Parent"},
		{"shm with the host's IPC", func(c *sandbox.Config) { c.HostNamespaces, c.ShmSize = namespace.IPC, 1 }, "ShmSize"},
		{"cgroup that climbs", func(c *sandbox.Config) { c.Cgroup.Parent = "/a/../b" }, "Cgroup.Parent"},
	}
	return append(append(list, badNames()...), badSysctls()...)
}

// badNames has everything that is a string and ends up in a path or a file.
func badNames() []badConfig {
	var list []badConfig
	for what, value := range map[string]string{
		"with slash": "a/b", "that climbs": "../x", "of dots": "..", "with NUL": "a\x00b", "with newline": "a\nb", "with blank": "a b",
		"of 4096 bytes": strings.Repeat("a", 4096), "in Unicode": "pöd", "that begins with a dash": "-a",
	} {
		list = append(list,
			badConfig{"ID " + what, func(c *sandbox.Config) { c.ID = value }, "ID"},
			badConfig{"name " + what, func(c *sandbox.Config) { c.Name = value }, "Name"},
			badConfig{"hostname " + what, func(c *sandbox.Config) { c.Hostname = value }, "Hostname"})
	}
	for what, value := range map[string]string{
		"relative": "run/x", "with ..": "/run/../x", "with .": "/run/./x", "with slash at the end": "/run/", "with NUL": "/run\x00x",
		"with newline": "/run\nx", "of 5000 bytes": "/" + strings.Repeat("a/", 2500) + "a",
	} {
		list = append(list,
			badConfig{"StateDir " + what, func(c *sandbox.Config) { c.StateDir = value }, "StateDir"},
			badConfig{"DataDir " + what, func(c *sandbox.Config) { c.DataDir = value }, "DataDir"})
	}
	return append(list,
		badConfig{"no name", func(c *sandbox.Config) { c.Name = "" }, "Name"},
		badConfig{"name in capitals", func(c *sandbox.Config) { c.Name = "Web" }, "Name"},
		badConfig{"name of 64 bytes", func(c *sandbox.Config) { c.Name = strings.Repeat("a", 64) }, "Name"},
		badConfig{"ID of 65 bytes", func(c *sandbox.Config) { c.ID = strings.Repeat("a", 65) }, "ID"},
		badConfig{"hidden ID", func(c *sandbox.Config) { c.ID = ".hidden" }, "ID"},
		badConfig{"hostname of 65 bytes", func(c *sandbox.Config) { c.Hostname = strings.Repeat("a", 32) + "." + strings.Repeat("b", 32) }, "Hostname"},
		badConfig{"StateDir /", func(c *sandbox.Config) { c.StateDir = "/" }, "StateDir"},
		badConfig{"DataDir /", func(c *sandbox.Config) { c.DataDir = "/" }, "DataDir"},
	)
}

// badSysctls are parameters of the whole machine, in all spellings.
func badSysctls() []badConfig {
	list := []badConfig{
		{"sysctl with newline", sysctl("net.ipv4.ip_forward", "1\n"), "Sysctls"},
		{"sysctl with NUL", sysctl("net.ipv4.ip_forward", "1\x00"), "Sysctls"},
		{"sysctl of a host namespace", func(c *sandbox.Config) {
			c.Networks = network.Attachments{network.Host{}}
			c.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"}
		}, "Sysctls"},
	}
	for _, name := range []string{
		"kernel.core_pattern", "kernel/core_pattern", "vm.swappiness", "fs.file-max", "kernel.hostname", "kernel.shm_next_id", "user.max_net_namespaces",
		"net", "", ".", "..", "net.", "net..ipv4", "net/ipv4/ip_forward", "net.ipv4.ip_forward ", "NET.ipv4.ip_forward",
		"net.ipv4/../../kernel/core_pattern", "net.../kernel/core_pattern", "net.ipv4.ip_forward\x00", "net.ipv4.ip_forward\n",
		// CVE-2022-0811.
		"kernel.shm_rmid_forced+kernel.core_pattern", "kernel.shm_rmid_forced=1+kernel.core_pattern", "net.ipv4.ip_forward+kernel.core_pattern",
	} {
		list = append(list, badConfig{"sysctl " + name, sysctl(name, "1"), "Sysctls"})
	}
	return list
}

func TestConfigValidate(t *testing.T) {
	good := sandbox.Config{Name: "web", StateDir: "/nonexistent/state", DataDir: "/nonexistent/data"}
	require.NoError(t, good.Validate())
	require.NoError(t, sandbox.Config{Name: "a"}.Validate())
	for _, tt := range badConfigs() {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			err := cfg.Validate()
			var invalid *sandbox.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, tt.field, invalid.Field)
			require.ErrorIs(t, err, fs.ErrInvalid)
			require.Less(t, len(err.Error()), 500, "bad input is not repeated at length")
		})
	}
}

// TestConfigAccepted is for what looks odd and is right.
func TestConfigAccepted(t *testing.T) {
	for name, change := range map[string]func(*sandbox.Config){
		"ID":         func(c *sandbox.Config) { c.ID = "A_b.C-1" },
		"ID of 64":   func(c *sandbox.Config) { c.ID = strings.Repeat("a", 64) },
		"name of 63": func(c *sandbox.Config) { c.Name = strings.Repeat("a", 63) },
		"hostname":   func(c *sandbox.Config) { c.Hostname = "web.example.com" },
		"all the host": func(c *sandbox.Config) {
			c.HostNamespaces = namespace.IPC | namespace.UTS | namespace.PID
			c.Networks = network.Attachments{network.Host{}}
		},
		"net sysctl": sysctl("net.ipv4.ip_local_port_range", "1024\t65000"),
		"IPC sysctl": sysctl("kernel.sem", "1 2 3 4"),
		"mq sysctl":  sysctl("fs.mqueue.msg_max", "100"),
		"UTS sysctl": sysctl("kernel.domainname", "example.com"),
		"if sysctl":  sysctl("net.ipv4.conf.eth0-1.rp_filter", "0"),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := sandbox.Config{Name: "web"}
			change(&cfg)
			require.NoError(t, cfg.Validate())
		})
	}
}
