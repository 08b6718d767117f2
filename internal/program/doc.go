// Package program writes the launch programs of a pod: the start of a
// container, a further command in one, and the PID 1 of a shared PID namespace.
//
// A program is compiled from plain data and open files and can be printed and
// compared without privileges; nothing here makes a system call.
//
// # The processes of a start
//
//	launcher   the child of the host program; forks the keeper and exits
//	keeper     the child's parent for as long as it lives; writes the exit record
//	child      becomes the container's first process
//
// The keeper never enters the pod. The child sends nothing but a failure; the
// keeper sends pids and pidfds in one message (two senders would arrive in any
// order), and end of file on the status socket means that the child has
// executed its program. Just before that it waits for one byte from the
// starter, which by then has the pids on disk: a container whose starter was
// killed in between does not run.
package program
