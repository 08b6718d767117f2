package pod

import (
	"slices"
	"time"

	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// Spec says what a pod is. It is plain data: it survives JSON, and New keeps a
// copy.
type Spec struct {
	// Sandbox is what the containers share. Its Name is the pod's.
	Sandbox sandbox.Config `json:"sandbox"`
	// Containers are started in this order; at least one is required.
	Containers []Container `json:"containers"`
	// TerminationGracePeriod is how long Stop waits after the stop signal
	// before it kills. 0 means DefaultTerminationGracePeriod. In JSON it is a
	// number of nanoseconds.
	TerminationGracePeriod time.Duration `json:"terminationGracePeriod,omitempty"`
}

// DefaultTerminationGracePeriod is Kubernetes' default.
const DefaultTerminationGracePeriod = 30 * time.Second

// DefaultStopSignal is the stop signal of a container that does not say any.
const DefaultStopSignal = "SIGTERM"

// Container says what a container of a pod is. The container of a running pod is
// a [ContainerHandle].
type Container struct {
	// Name is an RFC 1123 label, unique in the pod.
	Name string `json:"name"`
	// Rootfs is the root directory: sandbox.Dir, Overlay, HostRoot or Scratch.
	// It is required.
	Rootfs sandbox.Rootfs `json:"-"`

	// Command is the program and its arguments. The program is an absolute path
	// in the container, or a name that is looked for in the directories of PATH
	// in Env. It is required: there is no image to take it from.
	Command []string `json:"command"`
	// Env is the whole environment, "key=value" each. Nil means a PATH with the
	// usual directories, and HOME=/. Nothing comes from the host.
	Env []string `json:"env,omitempty"`
	// WorkingDir is absolute. Empty means "/".
	WorkingDir string `json:"workingDir,omitempty"`
	// Mounts are the volumes that the container sees, and where.
	Mounts []volume.Mount `json:"mounts,omitempty"`

	// User is whom the container runs as; the zero value is root.
	User sandbox.User `json:"user,omitzero"`
	// Capabilities change the default set, sandbox.DefaultCapabilities.
	Capabilities sandbox.Capabilities `json:"capabilities,omitzero"`
	// AllowPrivilegeEscalation lets execve give privileges that the container
	// does not have (set-user-ID programs). The zero value forbids it.
	AllowPrivilegeEscalation bool `json:"allowPrivilegeEscalation,omitempty"`
	// Rlimits are resource limits; those not named are inherited from the
	// process that starts the container.
	Rlimits []sandbox.Rlimit `json:"rlimits,omitempty"`
	// Resources limit this container, inside the limits of the pod.
	Resources sandbox.Resources `json:"resources,omitzero"`

	// StopSignal is what Stop sends first: a name of signal(7) such as
	// "SIGQUIT", "SIGRTMIN+3" or "SIGRTMAX-1". Empty means DefaultStopSignal.
	StopSignal string `json:"stopSignal,omitempty"`
	// LogPath is a file of the host, an absolute path, that standard output and
	// standard error are appended to. It is made with mode 0640, less the umask,
	// if it is missing; its directory has to be there. It is the caller's:
	// nothing here truncates, rotates or removes it. Empty means that the output
	// is discarded. Standard input is empty in any case.
	LogPath string `json:"logPath,omitempty"`
}

// cloneContainers returns a copy that shares no memory with the original.
func cloneContainers(containers []Container) []Container {
	clones := slices.Clone(containers)
	for i := range clones {
		c := &clones[i]
		if o, ok := c.Rootfs.(sandbox.Overlay); ok {
			o.Lower = slices.Clone(o.Lower)
			c.Rootfs = o
		}
		c.Command, c.Env, c.Mounts = slices.Clone(c.Command), slices.Clone(c.Env), slices.Clone(c.Mounts)
		c.User.Groups = slices.Clone(c.User.Groups)
		c.Capabilities.Add, c.Capabilities.Drop = slices.Clone(c.Capabilities.Add), slices.Clone(c.Capabilities.Drop)
		c.Rlimits = slices.Clone(c.Rlimits)
	}
	return clones
}

// fill puts the container into a command.
func (c *Container) fill(cmd *sandbox.Cmd) {
	cmd.Name = c.Name
	cmd.Env, cmd.Dir = c.Env, c.WorkingDir
	cmd.Rootfs, cmd.Mounts = c.Rootfs, c.Mounts
	cmd.User, cmd.Capabilities, cmd.AllowPrivilegeEscalation = c.User, c.Capabilities, c.AllowPrivilegeEscalation
	cmd.Rlimits, cmd.Resources = c.Rlimits, c.Resources
}

// gracePeriod is TerminationGracePeriod or its default.
func gracePeriod(d time.Duration) time.Duration {
	if d == 0 {
		return DefaultTerminationGracePeriod
	}
	return d
}
