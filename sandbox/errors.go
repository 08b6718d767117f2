package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/barepod/barepod/internal/feature"
	"github.com/barepod/barepod/internal/invalid"
)

// Error is the error type of this package's functions.
type Error struct {
	Op  string // "new", "open", "start", ...
	ID  string // the sandbox's ID, or ID/process
	Err error
}

func (e *Error) Error() string {
	if e.ID == "" {
		return "sandbox: " + e.Op + ": " + e.Err.Error()
	}
	return fmt.Sprintf("sandbox: %s %s: %v", e.Op, e.ID, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// wrap gives err the operation and the ID; nil stays nil, and an *Error of
// this package is not wrapped twice.
func wrap(op, id string, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Op: op, ID: id, Err: err}
}

// The sentinels of this package. Each also matches the standard error named in
// its description, so that errors.Is(err, fs.ErrNotExist) and the like work.
var (
	// ErrNotExist says that there is no such sandbox or process: it was
	// never made, or removed. It matches fs.ErrNotExist.
	ErrNotExist = &sentinel{"does not exist", fs.ErrNotExist}
	// ErrExist says that the ID, or the name of a running process, is taken.
	// It matches fs.ErrExist.
	ErrExist = &sentinel{"exists already", fs.ErrExist}
	// ErrIncomplete says that a sandbox was not finished by its creator, or is
	// being removed: it can only be removed. It matches fs.ErrNotExist.
	ErrIncomplete = &sentinel{"is incomplete and can only be removed", fs.ErrNotExist}
	// ErrProcessDone says that the process has ended. It matches
	// os.ErrProcessDone.
	ErrProcessDone = &sentinel{"process has ended", os.ErrProcessDone}
	// ErrExitUnknown says that a process ended without an exit record, because
	// its keeper was killed or the machine went down.
	ErrExitUnknown = &sentinel{"process ended without an exit record", nil}
)

// sentinel is an error that also is another one.
type sentinel struct {
	text string
	is   error
}

func (s *sentinel) Error() string        { return s.text }
func (s *sentinel) Is(target error) bool { return s.is != nil && target == s.is }

// UnsupportedError says that the machine lacks a feature; it names the feature
// and what it needs. It matches errors.ErrUnsupported.
type UnsupportedError = feature.Error

// InvalidError says which field of a Config or Cmd is wrong, and why.
type InvalidError = invalid.Error
