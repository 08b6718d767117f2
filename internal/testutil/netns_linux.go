package testutil

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"github.com/barepod/barepod/internal/sys"
)

// ownNetEnv tells a test binary that it is in a network namespace of its own.
const ownNetEnv = "BAREPOD_TEST_OWN_NET"

// MainInOwnNet is [Main] for packages whose tests change the network of their
// host: as root the test binary executes itself once more in a new network
// namespace, with nothing but a loopback device, so that the machine's links,
// rules and kernel parameters are never touched.
func MainInOwnNet(m *testing.M) {
	runChild() // where it was started, which may be in a pod
	own := os.Getenv(ownNetEnv) != ""
	if os.Geteuid() != 0 || own {
		if own {
			if err := sys.LoopbackUp(); err != nil {
				exit(err)
			}
		}
		Main(m)
		return
	}
	unlock := func() {}
	if !fuzzing() {
		// Before the namespace is made: others would take it for a leak.
		var err error
		if unlock, err = lockMachine(); err != nil {
			exit(err)
		}
	}
	runtime.LockOSThread() // which the death signal is tied to
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), ownNetEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	// What is sent to stop the tests reaches the process group, the child too.
	signal.Ignore(os.Interrupt, syscall.SIGQUIT)
	err := cmd.Run()
	unlock()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		os.Exit(max(failed.ExitCode(), 1))
	}
	if err != nil {
		exit(err)
	}
	os.Exit(0)
}
