package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/barepod/barepod/internal/invalid"
)

// DefaultCapabilities returns the capabilities that a container has unless its
// Capabilities say otherwise: those of the usual container runtimes.
func DefaultCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// capabilities has all names in the order of their numbers (linux/capability.h).
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// allCapabilities is the name that stands for every capability.
const allCapabilities = "ALL"

// set returns the capabilities as a bit set.
func (c Capabilities) set() (uint64, error) {
	set, err := capabilitySet("", DefaultCapabilities())
	if err != nil {
		return 0, err
	}
	drop, err := capabilitySet("Capabilities.Drop", c.Drop)
	if err != nil {
		return 0, err
	}
	add, err := capabilitySet("Capabilities.Add", c.Add)
	return set&^drop | add, err
}

func capabilitySet(field string, names []string) (uint64, error) {
	var set uint64
	for i, name := range names {
		if name == allCapabilities {
			set |= 1<<len(capabilities) - 1
			continue
		}
		n := slices.Index(capabilities, "CAP_"+strings.TrimPrefix(name, "CAP_"))
		if n < 0 {
			return 0, &invalid.Error{Field: fmt.Sprintf("%s[%d]", field, i), Value: name, Reason: "must be a capability of capabilities(7) or ALL"}
		}
		set |= 1 << n
	}
	return set, nil
}

// rlimits has the numbers of resource limits (asm-generic/resource.h).
var rlimits = []string{
	"RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC",
	"RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE",
	"RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
}

func validateRlimits(list []Rlimit) error {
	seen := map[string]bool{}
	for i, r := range list {
		field := fmt.Sprintf("Rlimits[%d]", i)
		switch {
		case !slices.Contains(rlimits, r.Type):
			return &invalid.Error{Field: field + ".Type", Value: r.Type, Reason: "must be a resource of setrlimit(2)"}
		case seen[r.Type]:
			return &invalid.Error{Field: field + ".Type", Value: r.Type, Reason: "must not be there twice"}
		case r.Soft > r.Hard:
			return &invalid.Error{Field: field + ".Soft", Value: r.Soft, Reason: "must not be above Hard"}
		}
		seen[r.Type] = true
	}
	return nil
}
