package state_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
)

// mountsOn returns the mountinfo lines of the mounts on dir.
func mountsOn(t testing.TB, dir string) []string {
	t.Helper()
	info, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	var found []string
	for line := range strings.Lines(string(info)) {
		if strings.Fields(line)[4] == dir {
			found = append(found, line)
		}
	}
	return found
}

// sharedTmpfs returns a directory on which everything mounted becomes shared, as
// it is on machines that systemd has booted.
func sharedTmpfs(t testing.TB) string {
	t.Helper()
	testutil.RequireRoot(t)
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,nr_inodes=1000,mode=755"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	require.NoError(t, unix.Mount("", dir, "", unix.MS_SHARED, ""))
	return dir
}

func TestPrepareAndRelease(t *testing.T) {
	for _, tt := range []struct{ name, dir string }{
		{"new directory", sharedTmpfs(t) + "/a/b/state"},
		{"root of a shared mount", sharedTmpfs(t)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(mountsOn(t, tt.dir))
			for range 3 {
				require.NoError(t, state.Prepare(tt.dir))
			}
			mounts := mountsOn(t, tt.dir)
			require.Len(t, mounts, before+1)
			require.NotContains(t, mounts[before], "shared:")
			st, err := os.Stat(tt.dir)
			require.NoError(t, err)
			require.Zero(t, st.Mode().Perm()&0o022)

			// What all of this is for: a mount namespace can be pinned here.
			set, err := namespace.Unshare(namespace.Mount, nil)
			require.NoError(t, err)
			pin := filepath.Join(tt.dir, "pin")
			require.NoError(t, set.Of(namespace.Mount).Pin(pin))
			require.NoError(t, set.Close())
			require.NoError(t, namespace.Unpin(pin))

			require.NoError(t, state.Release(tt.dir, nil))
			require.Len(t, mountsOn(t, tt.dir), before)
			require.NoFileExists(t, tt.dir+"/.lock")
			if before == 0 {
				require.NoDirExists(t, tt.dir)
			}
			require.NoError(t, state.Release(tt.dir, nil), "is idempotent")
			require.Len(t, mountsOn(t, tt.dir), before)
		})
	}
}

// TestPrepareFinishesAnother has a Prepare begin where another one was killed.
func TestPrepareFinishesAnother(t *testing.T) {
	dir := sharedTmpfs(t) + "/state"
	require.NoError(t, state.Prepare(dir))
	records, err := filepath.Glob(dir + "/.mount-*")
	require.NoError(t, err)
	require.Len(t, records, 1)
	whole, err := os.ReadFile(records[0])
	require.NoError(t, err)
	recorded, _, ok := strings.Cut(string(whole), `,"mount"`)
	require.True(t, ok)

	// After the mount, before its propagation was set and it was recorded.
	require.NoError(t, os.WriteFile(records[0], []byte(recorded+"}"), 0o600))
	require.NoError(t, unix.Mount("", dir, "", unix.MS_SHARED, ""))
	require.NoError(t, state.Prepare(dir))
	mounts := mountsOn(t, dir)
	require.Len(t, mounts, 1)
	require.NotContains(t, mounts[0], "shared:")

	// Before the mount.
	require.NoError(t, os.WriteFile(records[0], []byte(recorded+"}"), 0o600))
	require.NoError(t, unix.Unmount(dir, 0))
	require.NoError(t, state.Prepare(dir))
	require.Len(t, mountsOn(t, dir), 1)

	// Released without ever finishing.
	require.NoError(t, os.WriteFile(records[0], []byte(recorded+"}"), 0o600))
	require.NoError(t, state.Release(dir, nil))
	require.Empty(t, mountsOn(t, dir))
	require.NoDirExists(t, dir)
}

// TestPrepareWithoutItsRecord has Prepare find the mount of another one that
// nothing tells of: it must not be bound again, and cannot be.
func TestPrepareWithoutItsRecord(t *testing.T) {
	dir := sharedTmpfs(t) + "/state"
	require.NoError(t, state.Prepare(dir))
	records, err := filepath.Glob(dir + "/.mount-*")
	require.NoError(t, err)
	require.Len(t, records, 1)
	for _, content := range []string{"", "{", `{"bootId":"another"}`} {
		require.NoError(t, os.WriteFile(records[0], []byte(content), 0o600))
		require.NoError(t, state.Prepare(dir))
		require.Len(t, mountsOn(t, dir), 1)
	}
	require.NoError(t, state.Release(dir, nil))
	require.Empty(t, mountsOn(t, dir))
	require.NoDirExists(t, dir)
}

// TestPrepareInACopy has a process whose mount namespace was copied after a
// Prepare. Whether the copy of the mount can be bound depends on the kernel: it
// takes that one, or makes one more of its own, but only once.
func TestPrepareInACopy(t *testing.T) {
	dir := sharedTmpfs(t) + "/state"
	require.NoError(t, state.Prepare(dir))
	before := mountsOn(t, dir)
	cmd := testutil.ChildCommand("prepare in a copy", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, []string{"1 <nil>\n1 <nil>\n", "2 <nil>\n2 <nil>\n"}, string(out))
	require.NoError(t, state.Prepare(dir))
	require.Equal(t, before, mountsOn(t, dir))
	require.NoError(t, state.Release(dir, nil))
	require.NoDirExists(t, dir)
}

var _ = testutil.Child("prepare in a copy", func(args []string) {
	for range 2 {
		err := state.Prepare(args[0])
		info, _ := os.ReadFile("/proc/self/mountinfo")
		fmt.Println(strings.Count(string(info), " "+args[0]+" "), err)
	}
})

func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]func(t *testing.T, path string){
		"link":     func(t *testing.T, path string) { require.NoError(t, os.Symlink(dir, path)) },
		"file":     func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, nil, 0o600)) },
		"writable": func(t *testing.T, path string) { mkdir(t, path, 0o775) },
		"sticky":   func(t *testing.T, path string) { mkdir(t, path, 0o777|fs.ModeSticky) },
		"foreign": func(t *testing.T, path string) {
			testutil.RequireRoot(t)
			mkdir(t, path, 0o700)
			require.NoError(t, os.Chown(path, 1, 1))
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			prepare(t, path)
			require.ErrorIs(t, state.Prepare(path), invalid.ErrInvalid)
			_, err := state.Create(path, "pod")
			require.ErrorIs(t, err, invalid.ErrInvalid)
			require.ErrorIs(t, state.Release(path, nil), invalid.ErrInvalid)
		})
	}
}

func mkdir(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	require.NoError(t, os.Mkdir(path, 0o700))
	require.NoError(t, os.Chmod(path, mode))
}

func TestPrepareWithoutPrivileges(t *testing.T) {
	testutil.RequireFeature(t, "unprivileged")
	dir := filepath.Join(t.TempDir(), "state")
	require.ErrorIs(t, state.Prepare(dir), fs.ErrPermission)
	require.NoDirExists(t, dir)
}

func TestReleaseKeeps(t *testing.T) {
	dir := sharedTmpfs(t) + "/state"
	e, err := state.Create(dir, "pod")
	require.NoError(t, err)
	require.NoError(t, state.Release(dir, func() error { return errors.New("called") }))
	require.Len(t, mountsOn(t, dir), 1)
	require.NoError(t, e.Remove(t.Context()))
	require.NoError(t, e.Close())

	failed := errors.New("cannot be dropped")
	require.ErrorIs(t, state.Release(dir, func() error { return failed }), failed)
	require.Len(t, mountsOn(t, dir), 1)

	require.NoError(t, os.WriteFile(dir+"/mine", nil, 0o600))
	require.NoError(t, state.Release(dir, nil))
	require.Empty(t, mountsOn(t, dir))
	require.FileExists(t, dir+"/mine")
}

// The children wait for a line, so that they begin together.
var (
	_ = testutil.Child("prepare", func(args []string) {
		await()
		report(state.Prepare(args[0]))
	})
	_ = testutil.Child("churn", func(args []string) {
		await()
		report(churn(args[0], args[1]))
	})
)

func await() { _, _ = os.Stdin.Read(make([]byte, 1)) }

func report(err error) { fmt.Println(err) }

// churn creates and removes entries while others do and release the directory.
func churn(dir, id string) error {
	for range 50 {
		e, err := state.Create(dir, id)
		if err != nil {
			return err
		}
		// The entry is on the mount, and stays as long as the entry does.
		entryMount, _, err := mountID(filepath.Join(dir, id))
		if err != nil {
			return err
		}
		dirMount, root, err := mountID(dir)
		if err != nil {
			return err
		}
		if !root || entryMount != dirMount {
			return fmt.Errorf("entry on mount %d, directory on %d, root: %t", entryMount, dirMount, root)
		}
		if err := errors.Join(e.Remove(ctx), e.Close(), state.Release(dir, nil)); err != nil {
			return err
		}
	}
	return nil
}

func mountID(path string) (id uint64, root bool, err error) {
	var st unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st)
	return st.Mnt_id, st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, err
}

func startTogether(t *testing.T, n int, name string, args func(i int) []string) {
	t.Helper()
	var children []*testutil.ChildProcess
	for i := range n {
		children = append(children, testutil.StartChild(t, name, args(i)...))
	}
	for _, c := range children {
		c.WriteLine("")
	}
	for _, c := range children {
		require.Equal(t, "<nil>", c.ReadLine())
		require.NoError(t, c.Wait())
	}
}

func TestPrepareOnceAmongProcesses(t *testing.T) {
	dir := sharedTmpfs(t) + "/state"
	startTogether(t, 32, "prepare", func(int) []string { return []string{dir} })
	require.Len(t, mountsOn(t, dir), 1)
	require.NoError(t, state.Release(dir, nil))
}

func TestCreateAndReleaseAmongProcesses(t *testing.T) {
	dir := sharedTmpfs(t) + "/state"
	startTogether(t, 6, "churn", func(i int) []string { return []string{dir, fmt.Sprint("pod", i)} })
	require.NoError(t, state.Release(dir, nil))
	require.Empty(t, mountsOn(t, dir))
	require.NoDirExists(t, dir)
}

func TestPrepareOnceAmongGoroutines(t *testing.T) {
	dir := sharedTmpfs(t) + "/state"
	var all sync.WaitGroup
	errs := make([]error, 64)
	for i := range errs {
		all.Go(func() { errs[i] = state.Prepare(dir) })
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Len(t, mountsOn(t, dir), 1)
	require.NoError(t, state.Release(dir, nil))
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	list := func(dir string) (ids []string) {
		for id, err := range state.List(dir) {
			require.NoError(t, err)
			ids = append(ids, id)
		}
		return ids
	}
	require.Empty(t, list(dir+"/missing"))
	for _, name := range []string{"b", "a", "C.d_e-1", ".nursery", "-x", "a b", strings.Repeat("x", 65)} {
		mkdir(t, filepath.Join(dir, name), 0o700)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	require.Equal(t, []string{"C.d_e-1", "a", "b"}, list(dir))
	for range state.List(dir) {
		break
	}
	for _, err := range state.List(filepath.Join(dir, "file")) {
		require.Error(t, err)
	}
	require.True(t, slices.IsSorted(list(dir)))
}

func BenchmarkCreate(b *testing.B) {
	dir := sharedTmpfs(b) + "/state"
	require.NoError(b, state.Prepare(dir))
	for b.Loop() {
		e, err := state.Create(dir, "pod")
		require.NoError(b, err)
		require.NoError(b, e.Remove(ctx))
		require.NoError(b, e.Close())
	}
	require.NoError(b, state.Release(dir, nil))
}
