package tree_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/internal/tree"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// mountTmpfs mounts a tmpfs on path until the test ends.
func mountTmpfs(t *testing.T, path string) {
	t.Helper()
	testutil.RequireRoot(t)
	require.NoError(t, unix.Mount("tmpfs", path, "tmpfs", 0, "size=64k,nr_inodes=16"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(path, unix.MNT_DETACH)) })
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestRemove(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside+"/kept", "kept")
	tests := []struct {
		name string
		make func(t *testing.T, path string)
	}{
		{"nothing", func(*testing.T, string) {}},
		{"file", func(t *testing.T, path string) { write(t, path, "x") }},
		{"link", func(t *testing.T, path string) { require.NoError(t, os.Symlink(outside, path)) }},
		{"empty directory", func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }},
		{"tree", func(t *testing.T, path string) {
			for i := range 300 {
				write(t, fmt.Sprintf("%s/a/%d/x", path, i), "x")
				write(t, fmt.Sprintf("%s/b/%d", path, i), "x")
			}
			require.NoError(t, os.Symlink(outside, path+"/dir"))
			require.NoError(t, os.Symlink(outside+"/kept", path+"/a/file"))
			require.NoError(t, os.Symlink("..", path+"/a/up"))
			require.NoError(t, syscall.Mkfifo(path+"/fifo", 0o600))
		}},
		{"read-only directories", func(t *testing.T, path string) {
			write(t, path+"/a/b", "x")
			if os.Geteuid() == 0 {
				require.NoError(t, os.Chmod(path+"/a", 0))
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.make(t, dir+"/it")
			parent, before := open(t, dir), openFDs(t)
			require.NoError(t, tree.RemoveAt(t.Context(), parent, "it"))
			require.NoFileExists(t, dir+"/it")
			require.NoDirExists(t, dir+"/it")
			require.NoError(t, tree.RemoveAt(t.Context(), parent, "it"), "is idempotent")
			require.FileExists(t, outside+"/kept")
			require.Equal(t, before, openFDs(t))
		})
	}
}

func TestRemovePath(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/outside/pod/kept", "kept")
	write(t, dir+"/base/pods/pod/x/y", "x")
	write(t, dir+"/base/other", "kept")
	require.NoError(t, os.Symlink("../outside", dir+"/base/link"))

	require.NoError(t, tree.Remove(t.Context(), dir+"/base", "pods/pod"))
	require.NoDirExists(t, dir+"/base/pods/pod")
	require.DirExists(t, dir+"/base/pods")
	for _, gone := range []string{"pods/pod", "pods/pod/x/y", "none/at/all"} {
		require.NoError(t, tree.Remove(t.Context(), dir+"/base", gone))
	}
	require.NoError(t, tree.Remove(t.Context(), dir+"/none", "pod"))
	require.Error(t, tree.Remove(t.Context(), dir+"/base", "link/pod"))
	require.Error(t, tree.Remove(t.Context(), dir+"/base", "../outside/pod"))
	require.FileExists(t, dir+"/outside/pod/kept")
	require.NoError(t, tree.Remove(t.Context(), dir+"/base", "pods"))
	require.NoDirExists(t, dir+"/base/pods")
	require.FileExists(t, dir+"/base/other")
}

// deep makes a chain of directories that no path can name, with a file in each.
func deep(t *testing.T, path string, levels int) {
	t.Helper()
	require.NoError(t, os.Mkdir(path, 0o700))
	dir, err := os.Open(path)
	require.NoError(t, err)
	for range levels {
		f, err := sys.Openat2(dir, "file", os.O_CREATE|os.O_WRONLY, 0o600, sys.Beneath)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, unix.Mkdirat(int(dir.Fd()), "d", 0o700))
		next, err := sys.OpenBelow(dir, "d")
		require.NoError(t, err)
		require.NoError(t, dir.Close())
		dir = next
	}
	require.NoError(t, dir.Close())
}

func TestDeep(t *testing.T) {
	const levels = 3000 // more than PATH_MAX allows, and than most allow descriptors
	dir := t.TempDir()
	deep(t, dir+"/it", levels)
	size, err := tree.Usage(t.Context(), open(t, dir+"/it"))
	require.NoError(t, err)
	require.EqualValues(t, 2*levels+1, size.Inodes)
	require.NoError(t, tree.RemoveAt(t.Context(), open(t, dir), "it"))
	require.NoDirExists(t, dir+"/it")
}

func TestRemoveStopsAtMounts(t *testing.T) {
	tests := []struct {
		name, mountpoint, keep string
	}{
		{"below", "it/a/mnt", "it/a/mnt/kept"},
		{"on it", "it", "it/kept"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.MkdirAll(filepath.Join(dir, tt.mountpoint), 0o700))
			mountTmpfs(t, filepath.Join(dir, tt.mountpoint))
			write(t, filepath.Join(dir, tt.keep), "kept")
			err := tree.RemoveAt(t.Context(), open(t, dir), "it")
			require.ErrorIs(t, err, tree.ErrMounted)
			require.FileExists(t, filepath.Join(dir, tt.keep))
		})
	}
	t.Run("file", func(t *testing.T) {
		testutil.RequireRoot(t)
		dir := t.TempDir()
		write(t, dir+"/source", "kept")
		write(t, dir+"/it/file", "")
		require.NoError(t, unix.Mount(dir+"/source", dir+"/it/file", "", unix.MS_BIND, ""))
		err := tree.RemoveAt(t.Context(), open(t, dir), "it")
		require.NoError(t, unix.Unmount(dir+"/it/file", unix.MNT_DETACH))
		require.ErrorIs(t, err, tree.ErrMounted)
		require.FileExists(t, dir+"/source")
		require.NoError(t, tree.RemoveAt(t.Context(), open(t, dir), "it"), "can be repeated")
	})
}

func TestRemoveEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/it/a/b", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, tree.RemoveAt(ctx, open(t, dir), "it"), context.Canceled)
	require.NoError(t, tree.RemoveAt(t.Context(), open(t, dir), "it"))
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	base, err := tree.Usage(t.Context(), open(t, dir))
	require.NoError(t, err)
	require.EqualValues(t, 1, base.Inodes)

	content := strings.Repeat("x", 1<<20)
	write(t, dir+"/a/big", content)
	for i := range 3 {
		require.NoError(t, os.Link(dir+"/a/big", fmt.Sprintf("%s/link%d", dir, i)))
	}
	require.NoError(t, os.Symlink("/", dir+"/root"))
	root := open(t, dir)
	for range 2 { // the directory's offset is of no importance
		size, err := tree.Usage(t.Context(), root)
		require.NoError(t, err)
		require.EqualValues(t, 1+1+1+1, size.Inodes, "root, a, big, symbolic link")
		require.InDelta(t, base.Bytes+1<<20, size.Bytes, 64<<10)
	}
	t.Run("mounts are left out", func(t *testing.T) {
		require.NoError(t, os.Mkdir(dir+"/mnt", 0o700))
		mountTmpfs(t, dir+"/mnt")
		write(t, dir+"/mnt/x", "x")
		size, err := tree.Usage(t.Context(), root)
		require.NoError(t, err)
		require.EqualValues(t, 4, size.Inodes)
	})
}

// TestMovingTree measures a tree while its directories are moved, also out of
// those in which the walk is, and then removes it.
func TestMovingTree(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		write(t, fmt.Sprintf("%s/it/a/%d/b/c/d/x", dir, i), "x")
	}
	require.NoError(t, os.MkdirAll(dir+"/it/z", 0o700))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i = (i + 1) % 20 {
			select {
			case <-stop:
				return
			default:
			}
			from, to := fmt.Sprintf("%s/it/a/%d/b", dir, i), fmt.Sprintf("%s/it/z/%d", dir, i)
			_ = os.Rename(from, to)
			_ = os.Rename(to, from)
		}
	}()
	root := open(t, dir+"/it")
	for range 300 {
		size, err := tree.Usage(t.Context(), root)
		require.NoError(t, err)
		require.Positive(t, size.Inodes)
	}
	close(stop)
	<-done
	size, err := tree.Usage(t.Context(), root)
	require.NoError(t, err)
	require.EqualValues(t, 1+1+1+20*5, size.Inodes)
	require.NoError(t, tree.RemoveAt(t.Context(), open(t, dir), "it"))
	_, err = os.Lstat(dir + "/it")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
