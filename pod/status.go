package pod

import (
	"net/netip"
	"syscall"
	"time"

	"github.com/barepod/barepod/sandbox"
)

// Status is a pod as it is now.
type Status struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Phase Phase  `json:"phase"`
	// PodIPs are the pod's addresses, those of eth0 first.
	PodIPs     []netip.Addr      `json:"podIPs,omitempty"`
	Containers []ContainerStatus `json:"containers"` // in the order of the Spec
}

// Phase is where a pod is in its life, in Kubernetes' words and by its rules for
// the restart policy Never.
//
// https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase
type Phase string

// The phases of a pod.
const (
	// PhasePending means that at least one container was never started.
	PhasePending Phase = "Pending"
	// PhaseRunning means that all containers were started, and that at least
	// one is running.
	PhaseRunning Phase = "Running"
	// PhaseSucceeded means that all containers have ended with exit code 0.
	PhaseSucceeded Phase = "Succeeded"
	// PhaseFailed means that all containers have ended, at least one of them
	// with another exit code, by a signal, or nobody knows how.
	PhaseFailed Phase = "Failed"
	// PhaseUnknown means that the state of the pod could not be read. It comes
	// with an error.
	PhaseUnknown Phase = "Unknown"
)

// ContainerStatus is a container as it is now. Its times are in UTC.
type ContainerStatus struct {
	Name  string         `json:"name"`
	State ContainerState `json:"state"`
	// RestartCount is how many times the container was started again after it
	// had ended.
	RestartCount int `json:"restartCount"`
}

// ContainerState has exactly one field that is not nil.
type ContainerState struct {
	Waiting    *Waiting    `json:"waiting,omitempty"`
	Running    *Running    `json:"running,omitempty"`
	Terminated *Terminated `json:"terminated,omitempty"`
}

// Waiting is the state of a container that was never started, or is being
// started for the first time.
type Waiting struct {
	Reason string `json:"reason"` // ReasonContainerCreating
}

// Running is the state of a container whose program runs.
type Running struct {
	StartedAt time.Time `json:"startedAt"`
	PID       int       `json:"pid"` // as the host numbers it
}

// Terminated is the state of a container that has ended. One that could not be
// started again stays in it.
type Terminated struct {
	// ExitCode is the exit code, or 128 and the signal's number if a signal
	// ended the program, or -1 if nobody knows: it is never made up.
	ExitCode int `json:"exitCode"`
	// Signal is the signal that ended the program, 0 if it exited.
	Signal syscall.Signal `json:"signal,omitempty"`
	// Reason is ReasonCompleted, ReasonError, ReasonOOMKilled or
	// ReasonContainerStatusUnknown.
	Reason     string    `json:"reason"`
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt,omitzero"` // zero if nobody knows
}

// The reasons of states, in Kubernetes' words.
const (
	ReasonContainerCreating = "ContainerCreating"
	ReasonCompleted         = "Completed" // exit code 0
	ReasonError             = "Error"     // another one, or a signal
	// ReasonOOMKilled means that the kernel killed a process of the container
	// for want of memory, whatever the exit code.
	ReasonOOMKilled = "OOMKilled"
	// ReasonContainerStatusUnknown means that no record of the end exists,
	// because the process that writes it was killed, too.
	ReasonContainerStatusUnknown = "ContainerStatusUnknown"
)

// phaseOf returns the phase of a pod with these containers, as the kubelet
// computes it: a container that was never started comes first, then one that
// runs, and only when all have ended do the exit codes count.
func phaseOf(containers []ContainerStatus) Phase {
	running, failed := false, false
	for _, c := range containers {
		switch {
		case c.State.Running != nil:
			running = true
		case c.State.Terminated != nil:
			failed = failed || c.State.Terminated.ExitCode != 0
		default:
			return PhasePending
		}
	}
	switch {
	case running:
		return PhaseRunning
	case failed:
		return PhaseFailed
	default:
		return PhaseSucceeded
	}
}

// terminated returns the state of a container that has ended.
func terminated(exit sandbox.Exit) *Terminated {
	t := &Terminated{
		ExitCode: exit.Code, Signal: exit.Signal, Reason: ReasonError,
		StartedAt: exit.StartedAt.UTC(), FinishedAt: exit.FinishedAt.UTC(),
	}
	switch {
	case exit.OOMKilled:
		t.Reason = ReasonOOMKilled
	case exit.Success():
		t.Reason = ReasonCompleted
	}
	return t
}

// unknown returns the state of a container that has ended without a record.
func unknown(startedAt time.Time) *Terminated {
	return &Terminated{ExitCode: -1, Reason: ReasonContainerStatusUnknown, StartedAt: startedAt.UTC()}
}

// statusOf returns a container's status from the process of its name, which is
// nil if there is none, and the history of the container.
func statusOf(name string, p *sandbox.ProcessStatus, h history) ContainerStatus {
	s := ContainerStatus{Name: name, RestartCount: h.Restarts}
	switch {
	case p == nil || p.State == sandbox.Starting:
		if h.Last == nil {
			s.State.Waiting = &Waiting{Reason: ReasonContainerCreating}
			break
		}
		// It is being started again, or that has failed: as before.
		s.State.Terminated = h.Last.terminated()
		s.RestartCount--
	case p.State == sandbox.Running:
		s.State.Running = &Running{StartedAt: p.StartedAt.UTC(), PID: p.PID}
	default:
		i := instanceOf(*p)
		s.State.Terminated = i.terminated()
		if h.Last != nil && h.Last.same(i) { // not replaced yet
			s.RestartCount--
		}
	}
	return s
}
