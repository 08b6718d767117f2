package pod

import (
	"time"

	"github.com/barepod/barepod/sandbox"
)

// PhaseOf is phaseOf, for its table.
var PhaseOf = phaseOf

// Run is a run of a container that has ended; its Exit is nil if nobody knows how.
type Run struct {
	PID       int
	StartedAt time.Time
	Exit      *sandbox.Exit
}

// StatusOf is statusOf, for its table: last is the run that was to be replaced by
// the restart of that number.
func StatusOf(p *sandbox.ProcessStatus, restarts int, last *Run) ContainerStatus {
	h := history{Restarts: restarts}
	if last != nil {
		h.Last = &instance{PID: last.PID, StartedAt: last.StartedAt, Exit: last.Exit}
	}
	return statusOf("c", p, h)
}

// StopSignal returns the number of a container's stop signal.
func StopSignal(c Container) (int, error) {
	sig, err := c.stopSignal()
	return int(sig), err
}
