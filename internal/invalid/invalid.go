// Package invalid has the error for a field of a spec that cannot be accepted,
// and the checks of names and paths that all packages share.
package invalid

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrInvalid is what every *Error matches, besides fs.ErrInvalid.
var ErrInvalid = errors.New("invalid field")

// Error says which field of a spec is wrong, and why.
type Error struct {
	// Field is the path of the field, such as Volumes[2].Name.
	Field string
	// Value is what was found there; nil means that nothing was.
	Value any
	// Reason says what is wrong, such as "must be an RFC 1123 label".
	Reason string
	// Err is what was tried and failed; nil if the value alone tells.
	Err error
}

// maxShown is how much of a value an error message repeats: values come from
// outside and may be megabytes.
const maxShown = 80

func (e *Error) Error() string {
	reason := e.Reason
	if e.Err != nil {
		reason += ": " + e.Err.Error()
	}
	if e.Value == nil {
		return fmt.Sprintf("invalid %s: %s", e.Field, reason)
	}
	text := fmt.Sprintf("%v", e.Value)
	more := ""
	if len(text) > maxShown {
		text, more = text[:maxShown], "..."
	}
	if _, ok := e.Value.(string); ok {
		text = fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("invalid %s %s%s: %s", e.Field, text, more, reason)
}

// Unwrap returns what failed, if anything was tried.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is ErrInvalid or fs.ErrInvalid.
func (e *Error) Is(target error) bool {
	return target == ErrInvalid || target == fs.ErrInvalid //nolint:errorlint // this is Is
}

// Within puts the field of err, if err is or wraps an *Error, below the field
// outer: Name within Volumes[2] is Volumes[2].Name. Other errors, and nil, are
// returned as they are.
func Within(outer string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	field := outer
	if e.Field != "" {
		field += "." + e.Field
	}
	return &Error{Field: field, Value: e.Value, Reason: e.Reason, Err: e.Err}
}
