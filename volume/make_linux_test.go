package volume_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/volume"
)

// storage makes a directory such as Make wants.
func storage(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "volumes")
	require.NoError(t, os.Mkdir(dir, 0o700))
	return dir
}

// makeVolume makes v and returns a path that leads into it.
func makeVolume(t *testing.T, v volume.Volume, storage string) (*volume.Mounted, string) {
	t.Helper()
	testutil.RequireRoot(t)
	m, err := volume.Make(t.Context(), v, storage)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m, fmt.Sprintf("/proc/self/fd/%d", m.File.Fd())
}

// withUmask runs the test with a umask that a host program may have.
func withUmask(t *testing.T) {
	t.Helper()
	const mask = 0o077
	old := syscall.Umask(mask)
	t.Cleanup(func() { require.Equal(t, mask, syscall.Umask(old), "the umask was changed") })
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func statfs(t *testing.T, path string) (st unix.Statfs_t) {
	t.Helper()
	require.NoError(t, unix.Statfs(path, &st))
	return st
}

func mount(t *testing.T, source, target, fstype string, flags uintptr, data string) {
	t.Helper()
	testutil.RequireRoot(t)
	require.NoError(t, unix.Mount(source, target, fstype, flags, data))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(target, unix.MNT_DETACH)) })
}

// requireNoDevices proves that a device node in dir has no effect below path,
// which shows dir.
func requireNoDevices(t *testing.T, dir, path string) {
	t.Helper()
	require.NoError(t, unix.Mknod(dir+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	_, err := os.Open(path + "/null")
	require.ErrorIs(t, err, syscall.EACCES)
}

func TestMemory(t *testing.T) {
	const page = 4096
	tests := []struct {
		name                string
		limit, size, inodes int64
	}{
		{"default", 0, volume.DefaultMemorySize, volume.DefaultMemorySize / page},
		{"one byte is a page", 1, page, 1024},
		{"limit", 1<<20 + 1, 1<<20 + page, 1024},
		{"large", 1 << 30, 1 << 30, 1 << 30 / page},
		{"largest", math.MaxInt64, 0, 1 << 31},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			withUmask(t)
			v := emptyDir(volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: tt.limit})
			m, path := makeVolume(t, v, "")
			require.True(t, m.Dir)
			st := statfs(t, path)
			require.EqualValues(t, unix.TMPFS_MAGIC, st.Type)
			if tt.size != 0 && os.Getpagesize() == page {
				require.Equal(t, tt.size, int64(st.Blocks)*st.Bsize)
			}
			require.EqualValues(t, tt.inodes, st.Files)
			require.EqualValues(t, unix.ST_NODEV|unix.ST_NOSUID, st.Flags&(unix.ST_NODEV|unix.ST_NOSUID|unix.ST_RDONLY|unix.ST_NOEXEC))
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, fs.ModeDir|0o777, info.Mode())
			requireNoDevices(t, path, path)
			require.NoError(t, volume.Remove(t.Context(), v, ""))
		})
	}
}

// TestCase_R24_MemoryVolumeIsLimited: who writes too much gets ENOSPC, instead of
// the machine running out of memory.
func TestCase_R24_MemoryVolumeIsLimited(t *testing.T) {
	_, path := makeVolume(t, emptyDir(volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: 1 << 20}), "")
	require.NoError(t, os.WriteFile(path+"/fits", make([]byte, 1<<20), 0o600))
	require.ErrorIs(t, os.WriteFile(path+"/more", make([]byte, 1), 0o600), syscall.ENOSPC)
	require.NoError(t, os.Remove(path+"/fits"))
	for i := 0; ; i++ {
		err := os.Mkdir(fmt.Sprintf("%s/%d", path, i), 0o700)
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			break
		}
		require.Less(t, i, 1024, "the number of files must be limited")
	}
}

func TestDisk(t *testing.T) {
	withUmask(t)
	dir, v := storage(t), emptyDir(volume.EmptyDir{})
	m, path := makeVolume(t, v, dir)
	require.True(t, m.Dir)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o777, info.Mode())
	require.EqualValues(t, unix.ST_NODEV|unix.ST_NOSUID, statfs(t, path).Flags&(unix.ST_NODEV|unix.ST_NOSUID|unix.ST_RDONLY))
	write(t, path+"/a/b", "x")
	require.FileExists(t, dir+"/data/a/b")
	requireNoDevices(t, path, path)

	_, err = volume.Make(t.Context(), v, dir)
	require.ErrorIs(t, err, fs.ErrExist, "what is there is not for another pod")
	require.FileExists(t, dir+"/data/a/b")
	var e *volume.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "make", e.Op)
	require.Equal(t, "data", e.Volume)

	require.NoError(t, volume.Remove(t.Context(), v, dir))
	require.NoError(t, volume.Remove(t.Context(), v, dir), "is idempotent")
	requireEmpty(t, dir)
	require.NoError(t, volume.Remove(t.Context(), v, dir+"/none"))
}

// TestDiskIsPrivate: mounts below a disk volume do not reach the host, whatever
// the propagation of the storage's file system.
func TestDiskIsPrivate(t *testing.T) {
	dir := storage(t)
	mount(t, dir, dir, "", unix.MS_BIND, "")
	require.NoError(t, unix.Mount("", dir, "", unix.MS_SHARED, ""))
	v := emptyDir(volume.EmptyDir{})
	m, path := makeVolume(t, v, dir)
	require.NoError(t, os.Mkdir(path+"/mnt", 0o700))
	at := t.TempDir()
	attach(t, m, at)
	mount(t, "tmpfs", at+"/mnt", "tmpfs", 0, "size=4k,nr_inodes=4")
	write(t, at+"/mnt/x", "x")
	require.NoFileExists(t, dir+"/data/mnt/x")
}

func attach(t *testing.T, m *volume.Mounted, at string) {
	t.Helper()
	require.NoError(t, unix.MoveMount(int(m.File.Fd()), "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(at, unix.MNT_DETACH)) })
}

func TestStorageIsChecked(t *testing.T) {
	testutil.RequireRoot(t)
	dir, v := storage(t), emptyDir(volume.EmptyDir{})
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	_, err := volume.Make(t.Context(), v, link)
	require.Error(t, err, "a symbolic link")
	_, err = volume.Make(t.Context(), v, dir+"/none")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.Chmod(dir, 0o711))
	_, err = volume.Make(t.Context(), v, dir)
	require.ErrorContains(t, err, "mode 0700")
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, os.Chown(dir, 1, 1))
	_, err = volume.Make(t.Context(), v, dir)
	require.ErrorContains(t, err, "must belong to the calling user")
}

func TestMakeRefuses(t *testing.T) {
	dir := storage(t)
	_, err := volume.Make(t.Context(), volume.Volume{Name: "../x", Source: volume.EmptyDir{}}, dir)
	requireField(t, "Name", err)
	_, err = volume.Make(t.Context(), volume.Volume{Name: "a", Source: &volume.EmptyDir{}}, dir)
	requireField(t, "Source", err)
	requireField(t, "Name", volume.Remove(t.Context(), volume.Volume{Name: "../x", Source: volume.EmptyDir{}}, dir))
	_, err = volume.UsageOf(t.Context(), volume.Volume{Name: ".."}, nil, dir)
	requireField(t, "Name", err)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = volume.Make(ctx, emptyDir(volume.EmptyDir{}), dir)
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, dir+"/data")
}

func TestConcurrently(t *testing.T) {
	testutil.RequireRoot(t)
	dir := storage(t)
	var wg sync.WaitGroup
	errs := make([]error, 64)
	for i := range errs {
		wg.Go(func() {
			v := volume.Volume{Name: fmt.Sprintf("v-%d", i), Source: volume.EmptyDir{}}
			if i%2 == 0 {
				v.Source = volume.Files{Items: map[string]volume.File{"a/b": {Content: []byte("x")}}}
			}
			m, err := volume.Make(context.Background(), v, dir)
			if err == nil {
				err = m.Close()
			}
			errs[i] = errors.Join(err, volume.Remove(context.Background(), v, dir))
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	requireEmpty(t, dir)
}

func BenchmarkMake(b *testing.B) {
	testutil.RequireRoot(b)
	for _, v := range []volume.Volume{
		{Name: "disk", Source: volume.EmptyDir{}},
		{Name: "memory", Source: volume.EmptyDir{Medium: volume.MediumMemory}},
		{Name: "files", Source: volume.Files{Items: map[string]volume.File{"a": {Content: []byte("x")}, "b/c": {}}}},
	} {
		b.Run(v.Name, func(b *testing.B) {
			dir := storage(b)
			for b.Loop() {
				m, err := volume.Make(context.Background(), v, dir)
				require.NoError(b, err)
				require.NoError(b, m.Close())
				require.NoError(b, volume.Remove(context.Background(), v, dir))
			}
		})
	}
}
