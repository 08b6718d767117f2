package namespace_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
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
	testutil.Main(m)
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

// unshare makes namespaces for the test.
func unshare(t testing.TB, kinds namespace.Kind) namespace.Set {
	t.Helper()
	testutil.RequireRoot(t)
	set, err := namespace.Unshare(kinds, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	return set
}

// pinDir returns a directory on a private mount of the test's own.
func pinDir(t testing.TB) string {
	t.Helper()
	testutil.RequireRoot(t)
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
