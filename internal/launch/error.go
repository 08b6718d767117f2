//go:build linux

package launch

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// Error is a system call of a launch program that failed.
type Error struct {
	// Call is the call with its arguments, as Program.String prints it.
	Call string
	// Errno is what the kernel said.
	Errno syscall.Errno
	// Note says what the call was for; it may be empty.
	Note string
}

// Error names the purpose of the call, or the call itself where none is noted.
func (e *Error) Error() string {
	if e.Note == "" {
		return fmt.Sprintf("launch: %s: %v", e.Call, e.Errno)
	}
	return fmt.Sprintf("launch: %s: %v", e.Note, e.Errno)
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// reportSize is the size of the interpreter's report of a failure.
const reportSize = 8

// failure rebuilds the error from the interpreter's report.
func (p *Program) failure(report []byte) error {
	index := int(binary.LittleEndian.Uint32(report))
	errno := syscall.Errno(binary.LittleEndian.Uint32(report[4:]))
	if index >= len(p.steps) {
		return fmt.Errorf("launch: BUG: step %d of %d failed: %w", index, len(p.steps), errno)
	}
	s := &p.steps[index]
	return &Error{Call: s.String(), Errno: errno, Note: s.note.String()}
}
