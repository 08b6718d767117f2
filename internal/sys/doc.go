// Package sys is the project's one door to the kernel: thin wrappers over
// golang.org/x/sys/unix that retry interrupted calls, take and return *os.File,
// set O_CLOEXEC, and report errors as *os.PathError or *os.SyscallError.
// Nothing here holds policy or state.
package sys
