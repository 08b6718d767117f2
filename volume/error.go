package volume

import (
	"errors"

	"github.com/barepod/barepod/internal/feature"
)

// Error is the error type of Make, Remove and UsageOf.
type Error struct {
	Op     string // "make", "remove" or "measure"
	Volume string // the volume's name
	Err    error
}

func (e *Error) Error() string { return e.Op + " volume " + e.Volume + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrMounted says that Remove met a mount in a volume. Nothing was removed
// through it; once it is unmounted, Remove can be repeated.
var ErrMounted = errors.New("something is mounted in the volume")

// UnsupportedError says that the machine, or this kind of volume, lacks a
// feature; it names the feature and what it needs. It matches
// errors.ErrUnsupported.
type UnsupportedError = feature.Error

// wrap gives err the operation and the volume; nil stays nil, and errors that
// name a field stay as they are.
func wrap(op string, v Volume, err error) error {
	var i *InvalidError
	if err == nil || errors.As(err, &i) {
		return err
	}
	return &Error{Op: op, Volume: v.Name, Err: err}
}
