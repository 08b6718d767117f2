package pod

import (
	"errors"
	"fmt"
	"os"

	"github.com/barepod/barepod/sandbox"
)

// Error is the error type of this package's functions.
type Error struct {
	Op  string // "new", "open", "start", ...
	ID  string // the pod's ID, or ID/container
	Err error
}

func (e *Error) Error() string {
	if e.ID == "" {
		return "pod: " + e.Op + ": " + e.Err.Error()
	}
	return fmt.Sprintf("pod: %s %s: %v", e.Op, e.ID, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrNotStarted says that a container was never started, so there is nothing to
// wait for, to signal or to execute a command in. It matches os.ErrProcessDone,
// as no process is there.
var ErrNotStarted error = notStarted{}

type notStarted struct{}

func (notStarted) Error() string        { return "container has not been started" }
func (notStarted) Is(target error) bool { return target == os.ErrProcessDone } //nolint:errorlint // this is Is

// wrap gives err the operation and the ID. Nil stays nil, an *Error of this
// package is not wrapped twice, and a *sandbox.Error is replaced: it says the
// same of the level below.
func wrap(op, id string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	if s, ok := err.(*sandbox.Error); ok { //nolint:errorlint // the outermost only
		err = s.Err
	}
	return &Error{Op: op, ID: id, Err: err}
}
