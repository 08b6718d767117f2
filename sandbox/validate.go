package sandbox

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/volume"
)

// hostKinds are the namespaces that can be taken from the host.
const hostKinds = namespace.IPC | namespace.UTS | namespace.PID

// complete returns a deep copy of the configuration with the defaults filled in.
func (c Config) complete() Config {
	if c.ID == "" {
		b := make([]byte, 12)
		_, _ = rand.Read(b) // never fails
		c.ID = hex.EncodeToString(b)
	}
	if c.Hostname == "" {
		c.Hostname = c.Name
	}
	if c.StateDir == "" {
		c.StateDir = DefaultStateDir
	}
	if c.DataDir == "" {
		c.DataDir = DefaultDataDir
	}
	if c.ShmSize == 0 && !c.HostNamespaces.Has(namespace.IPC) {
		c.ShmSize = DefaultShmSize
	}
	return c.clone()
}

func (c Config) clone() Config {
	c.Sysctls = maps.Clone(c.Sysctls)
	c.Networks = c.Networks.Clone()
	c.DNS.Nameservers = slices.Clone(c.DNS.Nameservers)
	c.DNS.Searches = slices.Clone(c.DNS.Searches)
	c.DNS.Options = slices.Clone(c.DNS.Options)
	c.HostAliases = slices.Clone(c.HostAliases)
	for i := range c.HostAliases {
		c.HostAliases[i].Hostnames = slices.Clone(c.HostAliases[i].Hostnames)
	}
	c.Volumes = volume.Clone(c.Volumes)
	c.Labels = maps.Clone(c.Labels)
	c.Annotations = maps.Clone(c.Annotations)
	return c
}

// Validate returns an *InvalidError for the first field that is wrong on any
// machine. New calls it.
func (c Config) Validate() error {
	full := c.complete()
	return full.validate()
}

func (c *Config) validate() error {
	bad := func(field string, value any, reason string) error {
		return &invalid.Error{Field: field, Value: value, Reason: reason}
	}
	checks := []error{
		invalid.ID("ID", c.ID),
		invalid.Label("Name", c.Name),
		invalid.Hostname("Hostname", c.Hostname),
		ownDir("StateDir", c.StateDir),
		ownDir("DataDir", c.DataDir),
		invalid.Within("Resources", c.Resources.Validate()),
		invalid.Within("Cgroup", c.Cgroup.Validate()),
	}
	if c.HostNamespaces&^hostKinds != 0 {
		checks = append(checks, bad("HostNamespaces", c.HostNamespaces, "must be of ipc, uts, pid; the host's network is network.Host in Networks"))
	}
	if c.HostNamespaces.Has(namespace.PID) && c.ShareProcessNamespace {
		checks = append(checks, bad("ShareProcessNamespace", true, "must not be set with the host's PID namespace"))
	}
	if c.HostNamespaces.Has(namespace.UTS) && c.Hostname != c.Name {
		checks = append(checks, bad("Hostname", c.Hostname, "must be empty with the host's UTS namespace"))
	}
	switch {
	case c.ShmSize < 0:
		checks = append(checks, bad("ShmSize", c.ShmSize, "must not be negative"))
	case c.ShmSize > 0 && c.HostNamespaces.Has(namespace.IPC):
		checks = append(checks, bad("ShmSize", c.ShmSize, "must be 0 with the host's IPC namespace"))
	}
	for name, value := range c.Sysctls {
		checks = append(checks, checkSysctl("Sysctls", name, value, (contextKinds|namespace.PID)&^c.fromHost()))
	}
	if c.NetNSPath && c.fromHost().Has(namespace.Net) {
		checks = append(checks, bad("NetNSPath", true, "must not be set with the host's network namespace"))
	}
	checks = append(checks, c.Networks.Validate(), c.DNS.validate())
	for i, a := range c.HostAliases {
		checks = append(checks, invalid.Within(fmt.Sprintf("HostAliases[%d]", i), a.validate()))
	}
	checks = append(checks, volume.ValidateVolumes(c.Volumes))
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

// ownDir checks the path of a directory that cannot be the host's root.
func ownDir(field, path string) error {
	if path == "/" {
		return &invalid.Error{Field: field, Value: path, Reason: "must not be the root directory"}
	}
	return invalid.AbsPath(field, path)
}

func (d *DNS) validate() error {
	if d.Policy != DNSDefault && d.Policy != DNSNone {
		return &invalid.Error{Field: "DNS.Policy", Value: d.Policy, Reason: `must be "" or "None"`}
	}
	for i, a := range d.Nameservers {
		if !a.IsValid() {
			return &invalid.Error{Field: fmt.Sprintf("DNS.Nameservers[%d]", i), Value: a, Reason: "must be an IP address"}
		}
	}
	for what, words := range map[string][]string{"Searches": d.Searches, "Options": d.Options} {
		for i, w := range words {
			if !isWord(w) {
				return &invalid.Error{Field: fmt.Sprintf("DNS.%s[%d]", what, i), Value: w, Reason: "must be one word"}
			}
		}
	}
	return nil
}

func (a *HostAlias) validate() error {
	if !a.IP.IsValid() || a.IP.Zone() != "" {
		return &invalid.Error{Field: "IP", Value: a.IP, Reason: "must be an IP address"}
	}
	if len(a.Hostnames) == 0 {
		return &invalid.Error{Field: "Hostnames", Reason: "must not be empty"}
	}
	for i, h := range a.Hostnames {
		if !isWord(h) {
			return &invalid.Error{Field: fmt.Sprintf("Hostnames[%d]", i), Value: h, Reason: "must be one word"}
		}
	}
	return nil
}

// isWord reports whether s can stand in a line of words (CVE-2022-4318).
func isWord(s string) bool {
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' })
}

// Validate returns an *InvalidError for the first field that is wrong on any
// machine, for a command in a sandbox of the given configuration. Start calls
// it.
func (c *Cmd) Validate(cfg Config) error {
	full := c.complete()
	return full.validate(cfg.Volumes)
}

// validate checks what can be wrong with the command on any machine.
func (c *Cmd) validate(volumes []volume.Volume) error {
	bad := func(field string, value any, reason string) error {
		return &invalid.Error{Field: field, Value: value, Reason: reason}
	}
	checks := []error{}
	if c.Name != "" {
		checks = append(checks, invalid.Label("Name", c.Name))
	}
	if c.Path == "" {
		checks = append(checks, bad("Path", c.Path, "must not be empty"))
	} else if len(c.candidates()) == 0 {
		checks = append(checks, bad("Path", c.Path, "must have a slash, for PATH in Env has no absolute directory"))
	}
	for _, s := range []struct {
		field string
		words []string
	}{{"Path", []string{c.Path}}, {"Args", c.Args}, {"Env", c.Env}} {
		for i, w := range s.words {
			if strings.IndexByte(w, 0) >= 0 {
				checks = append(checks, bad(s.field, w, "must not have a NUL"))
			}
			if s.field == "Env" && strings.IndexByte(w, '=') < 1 {
				checks = append(checks, bad(fmt.Sprintf("Env[%d]", i), w, `must be "key=value"`))
			}
		}
	}
	if c.Dir != "" && c.Dir != "/" {
		checks = append(checks, invalid.AbsPath("Dir", c.Dir))
	}
	_, err := c.Capabilities.set()
	checks = append(checks, c.User.validate(), err, validateRlimits(c.Rlimits), invalid.Within("Resources", c.Resources.Validate()))
	checks = append(checks, c.validateTarget(volumes)...)
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

// validate refuses the number that means "unchanged" to setresuid(2), and is
// no user's.
func (u *User) validate() error {
	for i, n := range append([]uint32{u.UID, u.GID}, u.Groups...) {
		if n == math.MaxUint32 {
			field := fmt.Sprintf("User.Groups[%d]", i-2)
			if i < 2 {
				field = [...]string{"User.UID", "User.GID"}[i]
			}
			return &invalid.Error{Field: field, Value: n, Reason: "must be below 4294967295"}
		}
	}
	return nil
}

// validateTarget checks what only a container has, and only a container may.
func (c *Cmd) validateTarget(volumes []volume.Volume) []error {
	if c.target != nil {
		var checks []error
		for i, set := range []bool{c.Rootfs != nil, len(c.Mounts) > 0, c.Resources != (Resources{})} {
			if set {
				field := [...]string{"Rootfs", "Mounts", "Resources"}[i]
				checks = append(checks, &invalid.Error{Field: field, Reason: "must be empty: it is that of the container"})
			}
		}
		return checks
	}
	checks := []error{c.validateRootfs(), volume.ValidateMounts(volumes, c.Mounts)}
	for i, m := range c.Mounts {
		if m.Path == "/proc" || strings.HasPrefix(m.Path, "/proc/") {
			// CVE-2019-19921: what masks /proc must not be reachable.
			checks = append(checks, &invalid.Error{Field: fmt.Sprintf("Mounts[%d].Path", i), Value: m.Path, Reason: "must not be in /proc"})
		}
	}
	return checks
}

func (c *Cmd) validateRootfs() error {
	at := func(err error) error { return invalid.Within("Rootfs", err) }
	switch r := c.Rootfs.(type) {
	case Dir:
		if path.Clean(r.Path) == "/" {
			return at(&invalid.Error{Field: "Path", Value: r.Path, Reason: "must not be the host's root: that is HostRoot"})
		}
		return at(invalid.AbsPath("Path", r.Path))
	case Overlay:
		if len(r.Lower) == 0 || len(r.Lower) > maxLower {
			return at(&invalid.Error{Field: "Lower", Value: len(r.Lower), Reason: fmt.Sprintf("must be 1 to %d directories", maxLower)})
		}
		for i, l := range r.Lower {
			if err := ownDir(fmt.Sprintf("Lower[%d]", i), l); err != nil {
				return at(err)
			}
		}
		return nil
	case HostRoot, Scratch:
		return nil
	case nil:
		return &invalid.Error{Field: "Rootfs", Reason: "must be set"}
	default:
		return &invalid.Error{Field: "Rootfs", Value: fmt.Sprintf("%T", r), Reason: "must be Dir, Overlay, HostRoot or Scratch, not a pointer"}
	}
}

// maxLower is how many layers fit into the one page of mount options; the
// kernel's own limit is 500 (OVL_MAX_STACK).
const maxLower = 400
