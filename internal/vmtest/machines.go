package main

import (
	"slices"
	"strings"
)

// machine is one of those that the tests run on.
type machine struct {
	name, about string
}

// set is a set of machines.
type set uint

const (
	host set = 1 << iota
	user
	debian
	systemd
)

var machines = []machine{
	{"host", "this machine as root"},
	{"user", "this machine as an ordinary user"},
	{"debian", "Debian's kernel with pure cgroup v2, all capabilities, no systemd"},
	{"systemd", "the same with systemd as PID 1, for tests of cgroups"},
}

// features says which machine is known to have which of the features that tests
// ask testutil for. There, a test may not be skipped for lack of it.
//
// What the host has is what .ci/run installs, and what each machine has that the
// project's checks run on; not what the next one may have.
var features = map[string]set{
	"root":         host | debian | systemd,
	"unprivileged": user,

	"busybox":              host | user | debian | systemd,
	"crun":                 host | user,
	"runc":                 host | user,
	"gcc":                  host | user,
	"go":                   host,
	"sudo":                 host | user,
	"ip":                   host | user | debian | systemd,
	"nsenter":              host | user | debian | systemd,
	"nft":                  host | user | debian | systemd,
	"iperf3":               host | user,
	"iptables":             host | user,
	"unshare":              host | user | debian | systemd,
	"mkfs.ext4":            host | debian | systemd,
	"mkfs.xfs":             host | debian | systemd,
	"as":                   host | user,
	"aarch64-linux-gnu-as": host | user,
	"x86_64-linux-gnu-as":  0, // of other architectures
	"qemu-aarch64-static":  host | user,
	"x-sys-source":         host,

	"overlay":          host | debian | systemd,
	"ipv6":             host | user | debian | systemd,
	"cgroup":           host | debian | systemd,
	"cgroup.freeze":    host | debian | systemd,
	"cgroup2":          debian | systemd,
	"cgroup.kill":      host | debian | systemd,
	"memory.oom":       host | debian | systemd,
	"keyrings":         debian | systemd,
	"ns_last_pid":      debian | systemd,
	"memfd_noexec":     host, // Linux 6.3
	"pidfd-namespaces": host, // Linux 6.11
	"quota.ext4":       debian | systemd,
	"quota.xfs":        debian | systemd,
	"systemd":          systemd,
	"no-systemd":       host | user | debian,

	"CAP_SYS_RESOURCE": debian | systemd,
	"CAP_SYS_ADMIN":    host | debian | systemd,
	"time":             host | user, // elsewhere tests run with -short
	"memory-8GiB":      0,           // for benchmarks
}

// virtual reports whether the machine is one that is made for the tests.
func (m machine) virtual() bool { return m.bit()&(debian|systemd) != 0 }

// only is a pattern for the tests of a package that the machine runs; all if it is
// empty. With systemd nothing differs but cgroups.
func (m machine) only(pkg string) string {
	if m.bit() == systemd && !strings.HasSuffix(pkg, "/internal/cgroup") {
		return "Systemd|Cgroup|OOM"
	}
	return ""
}

// bit returns the set of the machine alone.
func (m machine) bit() set {
	return 1 << slices.Index(machines, m)
}

// features lists what the machine is known to have, as BAREPOD_REQUIRE has it.
func (m machine) features() string {
	var list []string
	for name, on := range features {
		if on&m.bit() != 0 {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}
