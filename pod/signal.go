package pod

import (
	"strconv"
	"strings"
	"syscall"

	"github.com/barepod/barepod/internal/invalid"
)

// signals are Linux's, in the order of their numbers from 1 on: the same on
// amd64 and arm64 (asm-generic/signal.h). Package syscall has those of the
// system that the program was built for.
var signals = strings.Fields("SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV " +
	"SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU " +
	"SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS")

// The real-time signals of programs; the C library keeps 32 and 33 for itself.
const (
	sigRTMin = 34
	sigRTMax = 64
)

// stopSignal returns the container's stop signal.
func (c *Container) stopSignal() (syscall.Signal, error) {
	name := c.StopSignal
	if name == "" {
		name = DefaultStopSignal
	}
	for i, s := range signals {
		if s == name {
			return syscall.Signal(i + 1), nil
		}
	}
	n := -1
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		n = sigRTMin + offset(rest, '+')
	} else if rest, ok := strings.CutPrefix(name, "SIGRTMAX"); ok {
		n = sigRTMax - offset(rest, '-')
	}
	if n < sigRTMin || n > sigRTMax {
		return 0, &invalid.Error{Field: "StopSignal", Value: c.StopSignal, Reason: `must be a name of signal(7) such as "SIGTERM" or "SIGRTMIN+3"`}
	}
	return syscall.Signal(n), nil
}

// offset returns the number behind SIGRTMIN or SIGRTMAX, or one that is out of
// every range.
func offset(s string, sign byte) int {
	const none = 1 << 10
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s[1:], 10, 8)
	if err != nil || s[0] != sign || s[1] == '0' {
		return none
	}
	return int(n)
}
