// Package launch runs launch programs: the birth of a process as data.
//
// A [Program] is a flat list of system calls with their arguments. [Program.Image]
// lays it out, with all its strings and structures, in a static ELF image of a
// few KiB whose only code is an interpreter of some 250 bytes: make the call,
// store the result where a later call needs it, jump if told, and on failure
// report (index, errno) and exit. [Start] runs the image from a sealed memfd
// as a child of the calling process.
//
// Nothing else runs between fork and exec: no Go runtime, no libc, and no
// memory of the host program, which is why such a process may enter a pod's
// namespaces while untrusted processes are there.
//
// A program can be printed ([Program.String]) and compared with a golden text
// without any privilege, and a failed call comes back as an [*Error] that names
// it.
//
// # Processes
//
// A program forks by calling clone and branching on its result; parent and
// child go on in the same list with memory of their own. Descriptors 0 to 2 are
// the standard streams given to [Start], [StatusFD] is a socket to the starter,
// and [Program.File] numbers the others.
package launch

//go:generate sh stub/generate.sh
