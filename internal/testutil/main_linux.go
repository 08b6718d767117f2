package testutil

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// settleTime is how long the kernel is given to free what it frees behind our
// back: links after their namespace, threads and processes after their exit.
var settleTime = 5 * time.Second

// lockedEnv tells a test binary that another one which started it has the lock.
const lockedEnv = "BAREPOD_TEST_LOCKED"

// rootSkips counts the tests that [RequireRoot] skipped.
var rootSkips atomic.Int64

// Main is the test main of every package. It runs the tests in a temporary
// directory of their own and fails if something is left behind: what [Snapshot]
// sees, children, or files in that directory. If [StartChild] started this
// process, it runs that child's function instead.
//
// As root it first waits for the test binaries of other packages: what a test
// leaves on the machine can be told only if one of them runs at a time.
func Main(m *testing.M) {
	runChild()
	if fuzzing() {
		m.Run() // several processes at once, all of them ours
		return
	}
	unlock, err := lockMachine()
	if err != nil {
		exit(err)
	}
	dir, err := ownTempDir()
	if err != nil {
		exit(err)
	}
	before := Snapshot()
	code := m.Run()
	removeCNIPlugins()
	left := settle(before, settleTime)
	left = append(left, leftIn(dir)...)
	if err := os.RemoveAll(dir); err != nil {
		left = append(left, err.Error())
	}
	if n := rootSkips.Load(); n > 0 {
		fmt.Printf("root-gated: %d skipped\n", n)
	}
	if len(left) > 0 {
		fmt.Printf("FAIL: left behind:\n\t%s\n", strings.Join(left, "\n\t"))
		code = max(code, 1)
	}
	unlock()
	os.Exit(code)
}

func exit(err error) {
	fmt.Fprintln(os.Stderr, "testutil:", err)
	os.Exit(1)
}

// fuzzing reports whether this is one of the processes of go test -fuzz.
func fuzzing() bool {
	for _, arg := range os.Args[1:] {
		arg = strings.TrimLeft(arg, "-")
		if arg == "test.fuzzworker" || strings.HasPrefix(arg, "test.fuzz=") && arg != "test.fuzz=" {
			return true
		}
	}
	return false
}

// lockWait bounds the wait for other test binaries. Their own bound is go
// test's -timeout.
const lockWait = 10 * time.Minute

// lockMachine takes the lock that root's test binaries run under.
func lockMachine() (unlock func(), err error) {
	if sharedMachine() || os.Getenv(lockedEnv) != "" {
		return func() {}, nil
	}
	// Only root may write here, so nobody can lay a trap.
	lock, err := os.OpenFile("/run/barepod-test.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) || time.Now().After(deadline) {
			return nil, fmt.Errorf("wait for the other test binaries: lock %s: %w", lock.Name(), errors.Join(err, lock.Close()))
		}
	}
	if err := os.Setenv(lockedEnv, "1"); err != nil {
		return nil, err
	}
	return func() { _ = lock.Close() }, nil
}

// sharedMachine reports whether mounts, cgroups and links that appear may be
// others': those of an ordinary user's tests always are.
func sharedMachine() bool { return os.Geteuid() != 0 || os.Getenv("BAREPOD_SHARED_MACHINE") != "" }

// hostTempDir is where every program of the machine has temporary files,
// tempDir where only this one has.
var hostTempDir, tempDir string

// ownTempDir makes tempDir, and has t.TempDir and os.MkdirTemp use it.
func ownTempDir() (string, error) {
	// Short: the path of a Unix socket has at most 107 bytes.
	host := filepath.Clean(os.TempDir())
	dir, err := os.MkdirTemp(host, "bp")
	if err != nil {
		return "", err
	}
	// Other users' processes, which tests start, have to get through.
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		return "", err
	}
	hostTempDir, tempDir = host, dir
	return dir, os.Setenv("TMPDIR", dir)
}

// leftIn lists the files in a directory.
func leftIn(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	var left []string
	for _, e := range entries {
		left = append(left, "file "+filepath.Join(dir, e.Name()))
	}
	return left
}
