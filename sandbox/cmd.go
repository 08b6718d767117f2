package sandbox

import (
	"io"

	"github.com/barepod/barepod/volume"
)

// Cmd is a process to be started in a sandbox: a container, or a further
// command in one. It is made by [Sandbox.Command] or [Process.Exec], may be
// changed until Start, and can be started once.
type Cmd struct {
	// Name identifies the process in its sandbox, an RFC 1123 label. It is
	// free again when the process has ended. Empty means a generated one.
	Name string `json:"name,omitempty"`

	// Path is the program: an absolute path in the container, or a name that
	// is looked for in the directories of PATH in Env, with Dir for a path
	// with a slash that is not absolute.
	Path string `json:"path"`
	// Args are the arguments, Args[0] included. Empty means {Path}.
	Args []string `json:"args,omitempty"`
	// Env is the whole environment, "key=value" each. Nil means PATH with the
	// six usual directories, and HOME=/. Nothing comes from the host.
	Env []string `json:"env,omitempty"`
	// Dir is the working directory, absolute. Empty means "/".
	Dir string `json:"dir,omitempty"`

	// Stdin, Stdout and Stderr are as in os/exec: nil is /dev/null, an
	// *os.File is passed through, anything else is copied by a goroutine as
	// long as this process lives, and Wait waits for it.
	Stdin  io.Reader `json:"-"`
	Stdout io.Writer `json:"-"`
	Stderr io.Writer `json:"-"`

	// Rootfs is the root directory. It is required for a container.
	Rootfs Rootfs `json:"-"`
	// Mounts are the volumes that the container sees, and where.
	Mounts []volume.Mount `json:"mounts,omitempty"`

	// User is whom the process runs as; the zero value is root.
	User User `json:"user,omitzero"`
	// Capabilities change the default set.
	Capabilities Capabilities `json:"capabilities,omitzero"`
	// AllowPrivilegeEscalation lets execve give privileges that the process
	// does not have (set-user-ID programs). The zero value forbids it with
	// no_new_privs (prctl(2)).
	AllowPrivilegeEscalation bool `json:"allowPrivilegeEscalation,omitempty"`
	// Rlimits are resource limits; those not named are inherited.
	Rlimits []Rlimit `json:"rlimits,omitempty"`
	// Resources limit this container inside the pod's limits.
	Resources Resources `json:"resources,omitzero"`

	sb      *Sandbox
	target  *Process // of an Exec
	started bool
}

// User is whom a process runs as, in numbers.
type User struct {
	UID uint32 `json:"uid,omitempty"`
	GID uint32 `json:"gid,omitempty"`
	// Groups are the supplementary groups; none is the default, also for root.
	Groups []uint32 `json:"groups,omitempty"`
}

// Capabilities change the default set of 14 capabilities, which is the one of
// the usual container runtimes: [DefaultCapabilities]. Names are those of
// capabilities(7) with or without "CAP_"; "ALL" is allowed in both lists. Drop
// comes first. A process that is not root has its set as a bound only.
type Capabilities struct {
	Add  []string `json:"add,omitempty"`
	Drop []string `json:"drop,omitempty"`
}

// Rlimit is one resource limit (setrlimit(2)). Raising a hard limit above the
// calling process's own needs CAP_SYS_RESOURCE.
type Rlimit struct {
	// Type is a name such as "RLIMIT_NOFILE".
	Type string `json:"type"`
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

// Infinity is the value of a resource limit that does not limit.
const Infinity = ^uint64(0)
