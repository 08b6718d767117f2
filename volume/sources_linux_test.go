package volume_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/volume"
)

func TestHostPath(t *testing.T) {
	const none = fs.FileMode(0)
	tests := []struct {
		name, path string
		kind       volume.HostPathType
		dir        bool
		made       fs.FileMode // what is made
		err        error
	}{
		{"any: directory", "dir", volume.HostPathAny, true, none, nil},
		{"any: file", "file", volume.HostPathAny, false, none, nil},
		{"any: socket or FIFO", "fifo", volume.HostPathAny, false, none, nil},
		{"any: device", "device", volume.HostPathAny, false, none, errors.ErrUnsupported},
		{"any: nothing", "none", volume.HostPathAny, false, none, fs.ErrNotExist},
		{"directory", "dir", volume.HostPathDirectory, true, none, nil},
		{"directory through link", "link", volume.HostPathDirectory, true, none, nil},
		{"directory: file", "file", volume.HostPathDirectory, false, none, syscall.ENOTDIR},
		{"directory: nothing", "none", volume.HostPathDirectory, false, none, fs.ErrNotExist},
		{"directory or create: directory", "dir", volume.HostPathDirectoryOrCreate, true, none, nil},
		{"directory or create: file", "file", volume.HostPathDirectoryOrCreate, false, none, syscall.ENOTDIR},
		{"directory or create: nothing", "new", volume.HostPathDirectoryOrCreate, true, fs.ModeDir | 0o755, nil},
		{"directory or create: nothing above", "new/a/b", volume.HostPathDirectoryOrCreate, true, fs.ModeDir | 0o755, nil},
		{"directory or create: below file", "file/a", volume.HostPathDirectoryOrCreate, false, none, syscall.ENOTDIR},
		{"directory or create: lost link", "lost", volume.HostPathDirectoryOrCreate, false, none, fs.ErrNotExist},
		{"directory or create: below lost link", "lost/a", volume.HostPathDirectoryOrCreate, false, none, fs.ErrNotExist},
		{"file", "file", volume.HostPathFile, false, none, nil},
		{"file: directory", "dir", volume.HostPathFile, false, none, syscall.EISDIR},
		{"file: FIFO", "fifo", volume.HostPathFile, false, none, fs.ErrInvalid},
		{"file: device", "device", volume.HostPathFile, false, none, fs.ErrInvalid},
		{"file: nothing", "none", volume.HostPathFile, false, none, fs.ErrNotExist},
		{"file or create: file", "file", volume.HostPathFileOrCreate, false, none, nil},
		{"file or create: directory", "dir", volume.HostPathFileOrCreate, false, none, syscall.EISDIR},
		{"file or create: nothing", "new", volume.HostPathFileOrCreate, false, 0o644, nil},
		{"file or create: nothing above", "new/a", volume.HostPathFileOrCreate, false, none, fs.ErrNotExist},
		{"file or create: lost link", "lost", volume.HostPathFileOrCreate, false, none, fs.ErrNotExist},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testutil.RequireRoot(t)
			withUmask(t)
			dir := t.TempDir()
			write(t, dir+"/dir/x", "x")
			write(t, dir+"/file", "x")
			require.NoError(t, syscall.Mkfifo(dir+"/fifo", 0o600))
			require.NoError(t, unix.Mknod(dir+"/device", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
			require.NoError(t, os.Symlink("dir", dir+"/link"))
			require.NoError(t, os.Symlink("nowhere", dir+"/lost"))
			path := filepath.Join(dir, tt.path)
			v := hostPath(path, tt.kind)

			m, err := volume.Make(t.Context(), v, "")
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
				require.NoFileExists(t, dir+"/nowhere")
				require.NoDirExists(t, dir+"/new", "nothing may be left of a Make that fails")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.dir, m.Dir)
			requireSame(t, path, m.File)
			require.NoError(t, m.Close())
			require.NoError(t, volume.Remove(t.Context(), v, ""))
			info, err := os.Stat(path)
			require.NoError(t, err, "the host's files stay")
			if tt.made != none {
				require.Equal(t, tt.made, info.Mode())
			}
		})
	}
}

func requireSame(t *testing.T, path string, f *os.File) {
	t.Helper()
	want, err := os.Stat(path)
	require.NoError(t, err)
	have, err := f.Stat()
	require.NoError(t, err)
	require.True(t, os.SameFile(want, have), "%s must be what is mounted", path)
}

// TestHostPathBelow: what is mounted below belongs to the volume, device nodes
// there have no effect either, and the host's own mounts stay as they are.
func TestHostPathBelow(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/mnt", 0o755))
	mount(t, "tmpfs", dir+"/mnt", "tmpfs", 0, "size=64k,nr_inodes=16")
	write(t, dir+"/mnt/x", "x")
	_, path := makeVolume(t, hostPath(dir, volume.HostPathDirectory), "")
	require.FileExists(t, path+"/mnt/x")
	requireNoDevices(t, dir, path)
	requireNoDevices(t, dir+"/mnt", path+"/mnt")
	f, err := os.Open(dir + "/mnt/null")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, os.WriteFile(path+"/mnt/y", nil, 0o600))
	require.FileExists(t, dir+"/mnt/y")
}

// TestHostPathPropagates: the volume is a peer of the host's mount, as far as
// that one is shared.
func TestHostPathPropagates(t *testing.T) {
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			dir, at := t.TempDir(), t.TempDir()
			mount(t, "tmpfs", dir, "tmpfs", 0, "size=64k,nr_inodes=16")
			kind := uintptr(unix.MS_PRIVATE)
			if shared {
				kind = unix.MS_SHARED
			}
			require.NoError(t, unix.Mount("", dir, "", kind, ""))
			require.NoError(t, os.Mkdir(dir+"/mnt", 0o755))
			m, _ := makeVolume(t, hostPath(dir, volume.HostPathDirectory), "")
			attach(t, m, at)
			mount(t, "tmpfs", dir+"/mnt", "tmpfs", 0, "size=64k,nr_inodes=16")
			write(t, dir+"/mnt/x", "x")
			_, err := os.Stat(at + "/mnt/x")
			require.Equal(t, shared, err == nil)
		})
	}
}

func TestFiles(t *testing.T) {
	withUmask(t)
	big := strings.Repeat("0123456789", 100_000)
	v := files(map[string]volume.File{
		"plain":        {Content: []byte("x")},
		"empty":        {},
		"big":          {Content: []byte(big)},
		"a/b/script":   {Content: []byte("#!/bin/sh\n"), Mode: 0o755},
		"a/secret":     {Content: []byte("s"), Mode: 0o400, UID: 1000, GID: 2000},
		"a/everyone":   {Mode: 0o777, GID: 5},
		"..data/ä b c": {Content: []byte("odd")},
	})
	m, path := makeVolume(t, v, "")
	require.True(t, m.Dir)
	tests := []struct {
		name, content string
		mode          fs.FileMode
		uid, gid      uint32
	}{
		{"plain", "x", 0o644, 0, 0},
		{"empty", "", 0o644, 0, 0},
		{"big", big, 0o644, 0, 0},
		{"a/b/script", "#!/bin/sh\n", 0o755, 0, 0},
		{"a/secret", "s", 0o400, 1000, 2000},
		{"a/everyone", "", 0o777, 0, 5},
		{"..data/ä b c", "odd", 0o644, 0, 0},
		{".", "", fs.ModeDir | 0o755, 0, 0},
		{"a", "", fs.ModeDir | 0o755, 0, 0},
		{"a/b", "", fs.ModeDir | 0o755, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			info, err := os.Stat(filepath.Join(path, tt.name) + strings.Repeat("/.", 1-min(len(tt.content)+1, 1)))
			require.NoError(t, err)
			require.Equal(t, tt.mode, info.Mode())
			st := info.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // always on Linux
			require.Equal(t, [2]uint32{tt.uid, tt.gid}, [2]uint32{st.Uid, st.Gid})
			if !info.IsDir() {
				content, err := os.ReadFile(filepath.Join(path, tt.name))
				require.NoError(t, err)
				require.Equal(t, tt.content, string(content))
			}
		})
	}
	require.EqualValues(t, unix.ST_NODEV|unix.ST_NOSUID|unix.ST_RDONLY, statfs(t, path).Flags&(unix.ST_NODEV|unix.ST_NOSUID|unix.ST_RDONLY))
	require.ErrorIs(t, os.WriteFile(path+"/plain", nil, 0o600), syscall.EROFS)
	require.ErrorIs(t, os.WriteFile(path+"/new", nil, 0o600), syscall.EROFS)
	require.ErrorIs(t, os.Remove(path+"/plain"), syscall.EROFS)
}

// TestFilesFit: the tmpfs has room for all there is, and never no limit.
func TestFilesFit(t *testing.T) {
	many := map[string]volume.File{}
	for i := range 1000 {
		many[fmt.Sprintf("%d/%d/%d", i%7, i, i)] = volume.File{Content: make([]byte, i*13)}
	}
	for name, items := range map[string]map[string]volume.File{"none": nil, "empty": {"a": {}}, "many": many} {
		t.Run(name, func(t *testing.T) {
			_, path := makeVolume(t, files(items), "")
			st := statfs(t, path)
			require.Positive(t, st.Blocks)
			require.Positive(t, st.Files)
			require.LessOrEqual(t, st.Blocks, uint64(1+4*len(items)))
		})
	}
}
