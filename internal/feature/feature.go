// Package feature holds the one error for "this cannot be done here": by this
// kernel, on this machine, or from a Go program at all. Public packages export
// it under a name of their own by a type alias.
package feature

import "errors"

// Error says that a feature which the caller asked for is not available. It
// matches errors.ErrUnsupported.
type Error struct {
	Feature string // what was asked for, for instance "enter a user namespace"
	Needs   string // what it would take or why it cannot be, for instance "Linux 6.3"
	Err     error  // how it showed, nil if nothing was tried
}

// Error implements error.
func (e *Error) Error() string {
	text := e.Feature + ": not supported"
	if e.Needs != "" {
		text += ", needs " + e.Needs
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Is reports whether target is errors.ErrUnsupported.
func (e *Error) Is(target error) bool { return target == errors.ErrUnsupported } //nolint:errorlint // this is Is

// Unwrap returns how the lack of the feature showed.
func (e *Error) Unwrap() error { return e.Err }

// NeedsLinux returns the error for what only Linux can do.
func NeedsLinux(what string) error { return &Error{Feature: what, Needs: "Linux"} }
