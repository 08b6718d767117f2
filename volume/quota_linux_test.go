package volume_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/volume"
)

// quotaFS is a file system that can limit projects.
type quotaFS struct {
	name    string
	mkfs    []string
	on, off string // mount options with which it does and does not
}

var quotaFileSystems = []quotaFS{
	{"ext4", []string{"mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota"}, "prjquota", "noquota"},
	{"xfs", []string{"mkfs.xfs", "-q"}, "prjquota", "pqnoenforce"},
}

// mount makes such a file system in an image file and mounts it.
func (f quotaFS) mount(t *testing.T, options string) (storage string) {
	t.Helper()
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, f.mkfs[0])
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 320<<20)) // mkfs.xfs refuses less
	out, err := exec.Command(f.mkfs[0], append(f.mkfs[1:], image)...).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.Mkdir(at, 0o700))
	out, err = exec.Command("mount", "-t", f.name, "-o", "loop,"+options, image, at).CombinedOutput()
	if err != nil {
		testutil.LacksFeature(t, "quota."+f.name, string(out))
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(at, 0)) })
	storage = filepath.Join(at, "volumes")
	require.NoError(t, os.Mkdir(storage, 0o700))
	return storage
}

func TestSizeLimit(t *testing.T) {
	const limit = 8 << 20
	for _, f := range quotaFileSystems {
		t.Run(f.name, func(t *testing.T) {
			dir := f.mount(t, f.on)
			v := emptyDir(volume.EmptyDir{SizeLimit: limit})
			for range 2 { // nothing of the first is left for the second
				m, err := volume.Make(t.Context(), v, dir)
				require.NoError(t, err)
				path := fmt.Sprintf("/proc/self/fd/%d", m.File.Fd())
				usage, err := volume.UsageOf(t.Context(), v, nil, dir)
				require.NoError(t, err)
				require.EqualValues(t, limit, usage.Limit)
				require.EqualValues(t, 1, usage.Inodes)
				require.Less(t, usage.Bytes, int64(64<<10))

				require.NoError(t, os.Mkdir(path+"/sub", 0o777))
				written, err := fill(path + "/sub/file")
				requireFull(t, err)
				require.LessOrEqual(t, written, limit)
				require.Greater(t, written, limit*3/4)
				usage, err = volume.UsageOf(t.Context(), v, m.File, dir)
				require.NoError(t, err)
				require.InDelta(t, limit, usage.Bytes, limit/4)
				require.EqualValues(t, 3, usage.Inodes)

				_, err = fill(dir + "/not-limited")
				require.NoError(t, err)
				require.NoError(t, os.Remove(dir+"/not-limited"))
				require.NoError(t, m.Close())
				require.NoError(t, volume.Remove(t.Context(), v, dir))
				require.NoError(t, volume.Remove(t.Context(), v, dir))
				requireEmpty(t, dir)
			}
		})
	}
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func requireFull(t *testing.T, err error) {
	t.Helper()
	require.True(t, errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT), "%v", err)
}

// unprivileged calls f without CAP_SYS_RESOURCE, which quotas do not hold for.
func unprivileged(f func() error) error {
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return err
	}
	without := caps
	without[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	if err := unix.Capset(&header, &without[0]); err != nil {
		return err
	}
	err := f()
	if e := unix.Capset(&header, &caps[0]); e != nil {
		return errors.Join(err, e) // and the thread stays locked
	}
	runtime.UnlockOSThread()
	return err
}

// fill writes 16 MiB, and returns how much of it could be written.
func fill(path string) (written int, err error) {
	err = unprivileged(func() error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		for range 256 {
			var n int
			n, err = f.Write(make([]byte, 64<<10))
			written += n
			if err != nil {
				break
			}
		}
		return errors.Join(err, f.Sync(), f.Close())
	})
	return written, err
}

func TestSizeLimitOfFiles(t *testing.T) {
	for _, f := range quotaFileSystems {
		t.Run(f.name, func(t *testing.T) {
			dir := f.mount(t, f.on)
			v := emptyDir(volume.EmptyDir{SizeLimit: 1 << 20})
			_, path := makeVolume(t, v, dir)
			n := 0
			requireFull(t, unprivileged(func() error {
				for ; n < 2000; n++ {
					if err := os.Symlink("x", fmt.Sprintf("%s/%d", path, n)); err != nil {
						return err
					}
				}
				return nil
			}))
			require.Equal(t, 1023, n, "one for the volume itself")
		})
	}
}

// TestProjectsAreUnique: no two volumes share a limit, even if their project IDs
// are derived from the same path, or made at the same time.
func TestProjectsAreUnique(t *testing.T) {
	for _, f := range quotaFileSystems {
		t.Run(f.name, func(t *testing.T) {
			dir := f.mount(t, f.on)
			projects := map[string]bool{}
			for i := range 3 {
				v := emptyDir(volume.EmptyDir{SizeLimit: 1 << 20})
				m, err := volume.Make(t.Context(), v, dir)
				require.NoError(t, err)
				require.NoError(t, m.Close())
				projects[readProject(t, dir+"/data.project")] = true
				require.NoError(t, os.Rename(dir, fmt.Sprintf("%s-%d", dir, i)))
				require.NoError(t, os.Mkdir(dir, 0o700))
			}
			require.Len(t, projects, 3)

			errs := make([]error, 32)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() {
					v := volume.Volume{Name: fmt.Sprintf("v-%d", i), Source: volume.EmptyDir{SizeLimit: 1 << 20}}
					m, err := volume.Make(context.Background(), v, dir)
					if err == nil {
						err = m.Close()
					}
					errs[i] = err
				})
			}
			wg.Wait()
			require.NoError(t, errors.Join(errs...))
			for i := range errs {
				projects[readProject(t, fmt.Sprintf("%s/v-%d.project", dir, i))] = true
			}
			require.Len(t, projects, 3+len(errs))
		})
	}
}

func readProject(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotEmpty(t, strings.TrimSpace(string(data)))
	return string(data)
}

// TestSizeLimitUnsupported: a limit that would not hold is refused, and nothing
// is left.
func TestSizeLimitUnsupported(t *testing.T) {
	requireUnsupported := func(t *testing.T, dir string) {
		t.Helper()
		_, err := volume.Make(t.Context(), emptyDir(volume.EmptyDir{SizeLimit: 1 << 20}), dir)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		var e *volume.UnsupportedError
		require.ErrorAs(t, err, &e)
		require.Equal(t, "size limit of an EmptyDir on disk", e.Feature)
		requireEmpty(t, dir)
	}
	t.Run("tmpfs", func(t *testing.T) {
		dir := storage(t)
		mount(t, "tmpfs", dir, "tmpfs", 0, "size=1m,nr_inodes=64,mode=700")
		requireUnsupported(t, dir)
	})
	for _, f := range quotaFileSystems {
		t.Run(f.name+" that only counts", func(t *testing.T) { requireUnsupported(t, f.mount(t, f.off)) })
	}
}

// TestQuotasLost removes a volume with a limit from a file system that was
// mounted without quotas since.
func TestQuotasLost(t *testing.T) {
	for _, f := range quotaFileSystems {
		t.Run(f.name, func(t *testing.T) {
			dir := f.mount(t, f.off)
			write(t, dir+"/data/a", "x")
			write(t, dir+"/data.project", "1610612737\n")
			v := emptyDir(volume.EmptyDir{SizeLimit: 1 << 20})
			require.NoError(t, volume.Remove(t.Context(), v, dir))
			requireEmpty(t, dir)
		})
	}
}
