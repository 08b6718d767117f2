package sandbox

import (
	"syscall"
	"time"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/network"
)

// Status is a sandbox as it is now.
type Status struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Hostname  string    `json:"hostname"`
	CreatedAt time.Time `json:"createdAt"`
	// Namespaces are the inode numbers of the shared namespaces by their names
	// in /proc/<pid>/ns, the host's among them if the pod uses those.
	Namespaces map[string]uint64 `json:"namespaces"`
	// InitPID is PID 1 of a shared PID namespace as the host numbers it; 0 if
	// there is none or it has ended.
	InitPID int `json:"initPid,omitempty"`
	// Cgroup is the pod's cgroup below the mount points of the hierarchies.
	Cgroup string `json:"cgroup"`
	// Network is what the pod has got, as New recorded it.
	Network network.Result `json:"network,omitzero"`
	// NetworkProblem says in what the pod's network is not so any more; empty
	// if all is as it was made.
	NetworkProblem string            `json:"networkProblem,omitempty"`
	Volumes        []string          `json:"volumes,omitempty"`
	Processes      []ProcessStatus   `json:"processes,omitempty"` // in the order of their names
	Labels         map[string]string `json:"labels,omitempty"`
	Annotations    map[string]string `json:"annotations,omitempty"`
}

// ProcessState is where a process is in its life.
type ProcessState string

// The states of a process.
const (
	Starting ProcessState = "starting" // between intent and execution, or its starter died there
	Running  ProcessState = "running"
	Exited   ProcessState = "exited"
	Unknown  ProcessState = "unknown" // gone without an exit record
)

// ProcessStatus is a process as it is now.
type ProcessStatus struct {
	Name      string       `json:"name"`
	State     ProcessState `json:"state"`
	PID       int          `json:"pid,omitempty"`    // as the host numbers it, of the last one that ran
	Target    string       `json:"target,omitempty"` // of a further command: the container's process
	StartedAt time.Time    `json:"startedAt,omitzero"`
	Exit      *Exit        `json:"exit,omitempty"` // if State is Exited
}

// Exit is how a process ended.
type Exit struct {
	// Code is the exit code, or 128 and the signal's number if a signal ended
	// the process.
	Code int `json:"code"`
	// Signal is the signal that ended the process, 0 if it exited.
	Signal syscall.Signal `json:"signal,omitempty"`
	// OOMKilled says that the kernel killed a process of the container for
	// want of memory since the container's start.
	OOMKilled bool `json:"oomKilled,omitempty"`

	StartedAt  time.Time     `json:"startedAt"`
	FinishedAt time.Time     `json:"finishedAt"`
	UserTime   time.Duration `json:"userTime"`   // of the process and the children it waited for
	SystemTime time.Duration `json:"systemTime"` // likewise
	MaxRSS     int64         `json:"maxRss"`     // bytes, likewise
}

// Success reports whether the process exited with code 0.
func (e Exit) Success() bool { return e.Code == 0 && e.Signal == 0 }

// Stats are what a container uses now, or all of a pod together.
type Stats = cgroup.Stats

// PodStats are what all containers together use, and what the pod's interfaces
// have counted.
type PodStats struct {
	Stats
	// Interfaces are those of the pod's network namespace; none if it is the
	// host's.
	Interfaces []network.InterfaceStats `json:"interfaces,omitempty"`
}
