// Package namespace holds Linux namespaces by handles: it makes them, opens
// them, runs Go code inside them, and pins them so that they outlive every
// process.
//
// # Life cycle
//
// A [Handle] owns one open file that keeps its namespace alive. It comes from
// [Open] (a path), [OfProcess] (a pidfd), [OfThread] (the calling thread),
// [FromFile] (a descriptor that came from elsewhere) or [Unshare] (new ones).
// [Handle.Close] drops the handle. The namespace goes when nothing holds it any
// more: no handle, no process, no pin.
//
// A pin is a mount of the namespace's file on an empty file: [Handle.Pin] makes
// one, [Open] opens it again in any process, [Unpin] removes it. A path under
// /proc/<pid> is no substitute: the number will belong to another process one
// day. What comes from a path can be anything, so each file is checked to be a
// namespace before it is used, and [Handle.ID] tells whether it is the one that
// was meant: it is unique among the namespaces that exist at one time, and the
// kernel may give it to a new one after that.
//
// # Privileges
//
// Opening a process's namespaces needs the right to trace it (ptrace(2),
// PTRACE_MODE_READ_FSCREDS). Making, entering and pinning need CAP_SYS_ADMIN,
// for entering also in the user namespace that owns the target; entering a mount
// namespace needs CAP_SYS_CHROOT, too. /proc must be mounted, but for Open, Pin and
// Unpin in a mount namespace that has none. What the system
// refuses comes back as an [*Error] that wraps the errno.
//
// # Threads
//
// A namespace belongs to an OS thread, and Go moves goroutines between threads.
// So [Handle.Do], [Set.Do] and [Unshare] run the given function on a goroutine
// and a locked thread of its own; the caller's goroutine waits and is not moved.
// The thread is given back to the Go scheduler only when all its namespaces were
// seen to be what they were before; otherwise, and always with a mount namespace,
// it ends. The process's first thread is never used: it cannot end, and its
// namespaces are what /proc/self shows.
//
// Inside such a function,
//
//   - goroutines that it starts run outside, in the namespaces of the program.
//     This includes those that the standard library starts, as net.Dialer does
//     for host names and for addresses of two families. Files and sockets that
//     were opened inside stay what they are and can be used anywhere;
//   - processes that it starts begin in the namespaces it runs in;
//   - a further Do starts from the program's namespaces, not from these: use a
//     [Set] to be in several at once;
//   - runtime.LockOSThread and runtime.UnlockOSThread must come in pairs;
//   - a panic or runtime.Goexit (so also testing.T.FailNow) ends the function,
//     not the program, and is returned as an error: see [PanicError] and
//     [ErrGoexit].
//
// # Limitations
//
// A Go program has many threads from its start, and the kernel lets only a
// process with a single one enter or make a user namespace or enter a time
// namespace; entering a PID namespace affects child processes only. Handles of
// these kinds can be opened, compared and pinned, but Do and Unshare return an
// [*UnsupportedError]. Systems other than Linux return it for everything.
//
// A pin on a mount with shared propagation appears in other mount namespaces,
// too, and a mount namespace cannot be pinned there at all (EINVAL): pin below a
// private mount. The kernel also refuses to pin a mount namespace in itself or in
// one that is younger (ELOOP).
package namespace
