package namespace_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/namespace"
)

// helpers are what this test binary does instead of testing when it is started
// with helperEnv set to a name.
var helpers = map[string]func() error{
	"block":     func() error { _, err := os.Stdin.Read(make([]byte, 1)); return err },
	"reuse-pid": helperReusePID,
	"maker":     helperMaker,
	"unlock":    helperUnlock,
}

const helperEnv = "BAREPOD_TEST_HELPER"

func TestMain(m *testing.M) {
	if helper, ok := helpers[os.Getenv(helperEnv)]; ok {
		if err := helper(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = 1
	}
	os.Exit(code)
}

// run runs the tests and then looks for what they left behind. They have a
// temporary directory of their own, which tells their mounts from those of other
// programs' at the same time.
func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "namespace")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return 0, err
	}
	before, err := machine()
	if err != nil {
		return 0, err
	}
	code = m.Run()
	if err := before.leaks(); err != nil {
		return code, fmt.Errorf("left behind: %w", err)
	}
	return code, nil
}

// helper returns a command that runs a helper, with its standard input open until
// the test ends.
func helper(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+name)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	return cmd
}

// start starts a helper that blocks, and returns a pidfd of it. Both end with the
// test at the latest.
func start(t testing.TB, cmd *exec.Cmd) *os.File {
	t.Helper()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // may have ended already
		_ = cmd.Wait()
	})
	pidfd, err := sys.PidfdOpen(cmd.Process.Pid)
	require.NoError(t, err)
	t.Cleanup(func() { pidfd.Close() })
	return pidfd
}

func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// unshare makes namespaces for the test.
func unshare(t testing.TB, kinds namespace.Kind) namespace.Set {
	t.Helper()
	requireRoot(t)
	set, err := namespace.Unshare(kinds, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	return set
}

// pinDir returns a directory on a private mount of the test's own.
func pinDir(t testing.TB) string {
	t.Helper()
	requireRoot(t)
	dir := t.TempDir()
	tmpfs, err := sys.NewFS("tmpfs", 0, sys.Option{Key: "size", Value: "64k"})
	require.NoError(t, err)
	defer tmpfs.Close()
	require.NoError(t, sys.MoveMount(tmpfs, nil, dir))
	t.Cleanup(func() { require.NoError(t, sys.Unmount(dir, unix.MNT_DETACH)) })
	// A mount on a shared one becomes shared itself.
	require.NoError(t, sys.SetMountAttr(tmpfs, 0, 0, unix.MS_PRIVATE, false))
	return dir
}

// here opens the program's namespace of a kind.
func here(t testing.TB, kind namespace.Kind) *namespace.Handle {
	t.Helper()
	h, err := namespace.OfThread(kind)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// expectIn returns a function for Do that fails unless it runs in want.
func expectIn(want ...*namespace.Handle) func() error {
	return func() error {
		if unix.Gettid() == os.Getpid() {
			return errors.New("runs on the first thread")
		}
		for _, h := range want {
			path := fmt.Sprintf("/proc/%d/task/%d/ns/%v", os.Getpid(), unix.Gettid(), h.Kind())
			link, err := os.Readlink(path)
			if err == nil && link != h.String() {
				err = fmt.Errorf("runs in %s, not in %s", link, h)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// state is what a test must leave as it was.
type state struct {
	files  []string
	mounts string
	spaces []string // what every thread must be in
}

func machine() (s state, err error) {
	if s.files, err = openFiles(); err != nil {
		return s, err
	}
	if s.mounts, err = mountsBelow(os.TempDir()); err != nil {
		return s, err
	}
	s.spaces, err = spaces("/proc/self")
	return s, err
}

// leaks says what is there that was not before. Threads that are on their way out
// have a second to go.
func (s state) leaks() (err error) {
	for range 100 {
		runtime.GC()
		if err = s.check(); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

func (s state) check() error {
	now, err := machine()
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range now.files {
		if !slices.Contains(s.files, f) {
			errs = append(errs, errors.New("open file "+f))
		}
	}
	if now.mounts != s.mounts {
		errs = append(errs, errors.New("mounts:\n"+now.mounts))
	}
	tasks, err := filepath.Glob("/proc/self/task/*")
	errs = append(errs, err)
	for _, task := range tasks {
		in, err := spaces(task)
		if err != nil {
			continue // ended meanwhile
		}
		if !slices.Equal(in, s.spaces) {
			errs = append(errs, fmt.Errorf("thread %s in %v", task, in))
		}
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		errs = append(errs, fmt.Errorf("children: %w", err))
	}
	return errors.Join(errs...)
}

// mountsBelow lists the mounts in a directory.
func mountsBelow(dir string) (string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	var below strings.Builder
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[4], dir+"/") {
			below.WriteString(line)
		}
	}
	return below.String(), nil
}

// spaces lists the namespaces of a process or thread by its directory.
func spaces(dir string) (in []string, err error) {
	links, err := filepath.Glob(dir + "/ns/*")
	if err != nil {
		return nil, err
	}
	if len(links) == 0 {
		return nil, syscall.ESRCH
	}
	for _, link := range links {
		to, err := os.Readlink(link)
		if err != nil {
			return nil, err
		}
		in = append(in, filepath.Base(link)+"="+to)
	}
	return in, nil
}

// openFiles lists the program's open files, without those of the Go runtime and
// the directory that is being read.
func openFiles() (files []string, err error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(to, "anon_inode:[event") {
			continue
		}
		files = append(files, e.Name()+"="+to)
	}
	return files, nil
}
