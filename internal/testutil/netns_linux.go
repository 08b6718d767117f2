package testutil

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
)

// ownNetEnv tells a test binary that it is in a network namespace of its own.
const ownNetEnv = "BAREPOD_TEST_OWN_NET"

// MainInOwnNet is [Main] for packages whose tests change the network of their
// host: as root the test binary executes itself once more in a new network
// namespace, with nothing but a loopback device, so that the machine's links,
// rules and kernel parameters are never touched.
func MainInOwnNet(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(ownNetEnv) != "" || len(os.Args) > 1 && os.Args[1] == "-test.list" {
		if os.Getenv(ownNetEnv) != "" {
			if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
				exit(errors.New("ip link set lo up: " + string(out)))
			}
		}
		Main(m)
		return
	}
	runtime.LockOSThread() // which the death signal is tied to
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), ownNetEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	// What is sent to stop the tests reaches the process group, the child too.
	signal.Ignore(os.Interrupt, syscall.SIGQUIT)
	err := cmd.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		os.Exit(max(failed.ExitCode(), 1))
	}
	if err != nil {
		exit(err)
	}
	os.Exit(0)
}
