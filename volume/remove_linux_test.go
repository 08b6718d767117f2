package volume_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/volume"
)

// TestCVE_2017_1002102: removing a volume follows no link that a container left
// and removes nothing that is mounted in it.
func TestCVE_2017_1002102(t *testing.T) {
	host := t.TempDir()
	write(t, host+"/dir/kept", "kept")
	write(t, host+"/kept", "kept")
	v := emptyDir(volume.EmptyDir{})
	requireKept := func(t *testing.T) {
		t.Helper()
		require.FileExists(t, host+"/dir/kept")
		require.FileExists(t, host+"/kept")
	}
	t.Run("links", func(t *testing.T) {
		dir := storage(t)
		_, path := makeVolume(t, v, dir)
		require.NoError(t, os.MkdirAll(path+"/a/b", 0o777))
		for link, target := range map[string]string{
			"dir": host + "/dir", "a/file": host + "/kept", "a/up": "../../../..", "a/b/root": "/", "loop": "loop",
		} {
			require.NoError(t, os.Symlink(target, filepath.Join(path, link)))
		}
		require.NoError(t, volume.Remove(t.Context(), v, dir))
		require.NoDirExists(t, dir+"/data")
		requireKept(t)
	})
	t.Run("volume is a link", func(t *testing.T) {
		testutil.RequireRoot(t)
		dir := storage(t)
		require.NoError(t, os.Symlink(host, dir+"/data"))
		require.NoError(t, volume.Remove(t.Context(), v, dir))
		_, err := os.Lstat(dir + "/data")
		require.ErrorIs(t, err, os.ErrNotExist)
		requireKept(t)
	})
	for name, at := range map[string]string{"mounted below": "data/a/mnt", "mounted on it": "data"} {
		t.Run(name, func(t *testing.T) {
			dir := storage(t)
			_, path := makeVolume(t, v, dir)
			require.NoError(t, os.MkdirAll(path+"/a/mnt", 0o777))
			t.Run("mounted", func(t *testing.T) {
				mount(t, host, filepath.Join(dir, at), "", unix.MS_BIND, "")
				err := volume.Remove(t.Context(), v, dir)
				require.ErrorIs(t, err, volume.ErrMounted)
				var e *volume.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, "remove", e.Op)
				requireKept(t)
			})
			require.NoError(t, volume.Remove(t.Context(), v, dir), "can be repeated")
			require.NoDirExists(t, dir+"/data")
			requireKept(t)
		})
	}
}

// TestRemoveUnfinished removes what a Make that was killed may leave.
func TestRemoveUnfinished(t *testing.T) {
	testutil.RequireRoot(t)
	v := emptyDir(volume.EmptyDir{SizeLimit: 1 << 20})
	tests := []struct {
		name string
		make func(t *testing.T, dir string)
	}{
		{"nothing", func(*testing.T, string) {}},
		{"directory", func(t *testing.T, dir string) { require.NoError(t, os.Mkdir(dir+"/data", 0o700)) }},
		{"directory and empty record", func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir+"/data", 0o700))
			write(t, dir+"/data.project", "")
		}},
		{"record", func(t *testing.T, dir string) { write(t, dir+"/data.project", "1610612737\n") }},
		{"record of nonsense", func(t *testing.T, dir string) { write(t, dir+"/data.project", "0\n") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := storage(t)
			tt.make(t, dir)
			require.NoError(t, volume.Remove(t.Context(), v, dir))
			requireEmpty(t, dir)
		})
	}
}

func TestRemoveEndsWithContext(t *testing.T) {
	dir, v := storage(t), emptyDir(volume.EmptyDir{})
	_, path := makeVolume(t, v, dir)
	write(t, path+"/a/b", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, volume.Remove(ctx, v, dir), context.Canceled)
	require.NoError(t, volume.Remove(t.Context(), v, dir))
	require.NoDirExists(t, dir+"/data")
}

func TestUsage(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		v := emptyDir(volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: 1 << 20})
		m, path := makeVolume(t, v, "")
		requireUsage(t, volume.Usage{Bytes: 0, Inodes: 1, Limit: 1 << 20}, v, m.File, "")
		write(t, path+"/a/b", string(make([]byte, 128<<10)))
		requireUsage(t, volume.Usage{Bytes: 128 << 10, Inodes: 3, Limit: 1 << 20}, v, m.File, "")
	})
	t.Run("files", func(t *testing.T) {
		page := int64(os.Getpagesize())
		v := files(map[string]volume.File{"a/b": {Content: []byte("x")}, "c": {}})
		m, _ := makeVolume(t, v, "")
		requireUsage(t, volume.Usage{Bytes: page, Inodes: 4, Limit: page}, v, m.File, "")
	})
	t.Run("not the volume's mount", func(t *testing.T) {
		f, err := os.Open("/proc")
		require.NoError(t, err)
		defer f.Close()
		v := emptyDir(volume.EmptyDir{Medium: volume.MediumMemory})
		_, err = volume.UsageOf(t.Context(), v, f, "")
		require.ErrorIs(t, err, unix.EINVAL)
		_, err = volume.UsageOf(t.Context(), v, nil, "")
		require.ErrorIs(t, err, os.ErrInvalid)
	})
	t.Run("disk", func(t *testing.T) {
		dir, v := storage(t), emptyDir(volume.EmptyDir{})
		_, path := makeVolume(t, v, dir)
		empty, err := volume.UsageOf(t.Context(), v, nil, dir)
		require.NoError(t, err)
		require.EqualValues(t, 1, empty.Inodes)
		require.Zero(t, empty.Limit)
		write(t, path+"/a/b", string(make([]byte, 1<<20)))
		require.NoError(t, os.Link(path+"/a/b", path+"/c"))
		require.NoError(t, os.Symlink("/", path+"/root"))
		used, err := volume.UsageOf(t.Context(), v, nil, dir)
		require.NoError(t, err)
		require.EqualValues(t, 4, used.Inodes)
		require.InDelta(t, 1<<20, used.Bytes-empty.Bytes, 64<<10)
		require.NoError(t, volume.Remove(t.Context(), v, dir))
		_, err = volume.UsageOf(t.Context(), v, nil, dir)
		require.ErrorIs(t, err, os.ErrNotExist)
	})
	t.Run("host path", func(t *testing.T) {
		_, err := volume.UsageOf(t.Context(), hostPath("/", ""), nil, "")
		require.ErrorIs(t, err, errors.ErrUnsupported)
		var e *volume.UnsupportedError
		require.ErrorAs(t, err, &e)
	})
}

func requireUsage(t *testing.T, want volume.Usage, v volume.Volume, mount *os.File, storage string) {
	t.Helper()
	have, err := volume.UsageOf(t.Context(), v, mount, storage)
	require.NoError(t, err)
	require.Equal(t, want, have)
}
