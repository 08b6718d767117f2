package namespace

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/barepod/barepod/internal/feature"
)

var (
	// ErrNotNamespace says that a file is not a namespace, or not a pin of one.
	// It matches fs.ErrInvalid.
	ErrNotNamespace error = &sentinel{"not a namespace", fs.ErrInvalid}

	// ErrPinned says that something is at the path of a pin already. It matches
	// fs.ErrExist.
	ErrPinned error = &sentinel{"pin exists", fs.ErrExist}

	// ErrGoexit says that a function which was run in a namespace called
	// runtime.Goexit instead of returning.
	ErrGoexit = errors.New("function called runtime.Goexit")
)

// UnsupportedError says that something cannot be done with namespaces here, and
// what it would need. It matches errors.ErrUnsupported.
type UnsupportedError = feature.Error

// Error is the error of every operation of this package. Functions that were run
// in a namespace have their own errors returned as they are.
type Error struct {
	Op   string // "open", "enter", "run in", "restore", "unshare", "pin", "unpin", ...
	Kind Kind   // the kinds of namespaces concerned, 0 if not known
	Path string // the file concerned, "" if there is none
	Err  error  // the cause
}

// Error implements error.
func (e *Error) Error() string {
	text := "namespace: " + e.Op
	if e.Kind != 0 {
		text += " " + e.Kind.String()
	}
	if e.Path != "" {
		text += " " + e.Path
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// PanicError is a panic in a function that was run in a namespace.
type PanicError struct {
	Value any    // what panic was called with
	Stack []byte // the stack of the goroutine, as runtime/debug.Stack prints it
}

// Error implements error. It has the stack, as the report of an unrecovered
// panic would.
func (e *PanicError) Error() string {
	return fmt.Sprintf("panic: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the panic's value if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// sentinel is an error that matches a standard one without being it.
type sentinel struct {
	text string
	is   error
}

func (e *sentinel) Error() string        { return e.text }
func (e *sentinel) Is(target error) bool { return target == e.is } //nolint:errorlint // this is Is

// wrap returns err as an *Error, nil for nil.
func wrap(op string, kind Kind, path string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Kind: kind, Path: path, Err: err}
}
