package pod

import (
	"errors"
	"io/fs"
	"strconv"
	"time"

	"github.com/barepod/barepod/sandbox"
)

// history is what is kept of a container when it is started again, for the
// sandbox keeps a name's last process only. It is written before the start, so
// that no restart is missed whoever dies when: as long as Last is still the
// container's process, or there is none, the restart has not happened.
type history struct {
	Restarts int       `json:"restarts"`
	Last     *instance `json:"last,omitempty"`
}

// instance is a process of a container that has ended.
type instance struct {
	PID       int           `json:"pid"`
	StartedAt time.Time     `json:"startedAt"`
	Exit      *sandbox.Exit `json:"exit,omitempty"` // nil if nobody knows
}

func instanceOf(p sandbox.ProcessStatus) instance {
	return instance{PID: p.PID, StartedAt: p.StartedAt, Exit: p.Exit}
}

// same reports whether both are the same run.
func (i instance) same(other instance) bool {
	return i.PID == other.PID && i.StartedAt.Equal(other.StartedAt)
}

func (i instance) terminated() *Terminated {
	if i.Exit == nil {
		return unknown(i.StartedAt)
	}
	return terminated(*i.Exit)
}

// exit returns how the run ended.
func (i instance) exit() (sandbox.Exit, error) {
	if i.Exit == nil {
		return sandbox.Exit{}, sandbox.ErrExitUnknown
	}
	return *i.Exit, nil
}

// replace returns the history of a container that is about to be started again
// in place of a run, and whether that is a change.
func (h history) replace(i instance) (history, bool) {
	if h.Last != nil && h.Last.same(i) {
		return h, false // the start before this one failed
	}
	return history{Restarts: h.Restarts + 1, Last: &i}, true
}

// historyKey is the name of a container's history in the sandbox's store: by
// its place in the Spec, which never changes, because a prefix and a name could
// be longer than a label.
func historyKey(index int) string { return "container-" + strconv.Itoa(index) }

func readHistory(sb *sandbox.Sandbox, index int) (history, error) {
	var h history
	err := sb.StoreGet(historyKey(index), &h)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // never started again
	}
	return h, err
}
