package sandbox_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

func hostPath(name, path string) volume.Volume {
	return volume.Volume{Name: name, Source: volume.HostPath{Path: path}}
}

func memory(name string, size int64) volume.Volume {
	return volume.Volume{Name: name, Source: volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: size}}
}

// TestVolumesShared: containers of a pod see the same files, which outlive them,
// and go with the pod.
func TestVolumesShared(t *testing.T) {
	root := busyboxRoot(t)
	cfg := testConfig(t)
	cfg.Volumes = []volume.Volume{emptyDir("disk"), memory("mem", 0)}
	sb := newSandbox(t, cfg)
	mounts := []volume.Mount{mount("disk", "/disk"), mount("mem", "/made/for/it")}
	writer := shell(sb, sandbox.Dir{Path: root}, "stat -c '%a %u' /disk /made/for/it; echo a >/disk/f; echo b >/made/for/it/f", mounts...)
	writer.Name = "writer"
	require.Equal(t, "777 0\n777 0", output(t, writer))
	reader := func() string {
		return output(t, shell(sb, sandbox.Dir{Path: root}, "cat /disk/f /made/for/it/f", mounts...))
	}
	require.Equal(t, "a\nb", reader())
	writer = shell(sb, sandbox.Dir{Path: root}, "echo c >>/disk/f", mounts...)
	writer.Name, writer.User.UID = "writer", 1000
	_, exit := run(t, writer)
	require.Equal(t, 1, exit.Code, "root's file")
	again, err := sandbox.Open(t.Context(), cfg.StateDir, sb.ID())
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.Equal(t, "a\nb", reader())
	require.NoError(t, sb.Remove(t.Context()))
	require.NoDirExists(t, filepath.Join(cfg.DataDir, "pods", sb.ID()))
}

// TestReadOnlyMount: with what is mounted on the host below.
func TestReadOnlyMount(t *testing.T) {
	root, host := busyboxRoot(t), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(host, "below"), 0o755))
	mountTmpfs(t, filepath.Join(host, "below"))
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{hostPath("host", host), emptyDir("disk"), memory("mem", 0)}})
	var mounts []volume.Mount
	for _, name := range []string{"host", "disk", "mem"} {
		mounts = append(mounts, volume.Mount{Volume: name, Path: "/ro/" + name, ReadOnly: true}, mount(name, "/rw/"+name))
	}
	out, _ := run(t, shell(sb, sandbox.Dir{Path: root}, `for d in host host/below disk mem; do echo >/rw/$d/f && echo rw $d; echo >/ro/$d/g && echo ro $d; done`, mounts...))
	require.Equal(t, 4, strings.Count(out, "Read-only file system"), out)
	require.Equal(t, 4, strings.Count(out, "rw "), out)
	require.NotContains(t, out, "\nro ")
	// Nor can it be made writable with the usual capabilities.
	out, exit := run(t, shell(sb, sandbox.Dir{Path: root}, "mount -o remount,rw /ro/disk || umount /ro/disk", mounts...))
	require.NotZero(t, exit.Code, out)
}

// TestMountOrder: what is mounted below another mount is seen, however the
// mounts are listed.
func TestMountOrder(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{memory("a", 0), memory("b", 0), memory("c", 0)}})
	for _, mounts := range [][]volume.Mount{
		{mount("a", "/m"), mount("b", "/m/x"), mount("c", "/m/x/y")},
		{mount("c", "/m/x/y"), mount("b", "/m/x"), mount("a", "/m")},
		{mount("b", "/m/x"), mount("c", "/m/x/y"), mount("a", "/m")},
	} {
		out := output(t, shell(sb, sandbox.Dir{Path: root}, "while read a b c d at rest; do case $at in /m*) echo $at;; esac; done </proc/self/mountinfo; touch /m/a /m/x/b /m/x/y/c; ls /m /m/x", mounts...))
		require.Equal(t, "/m\n/m/x\n/m/x/y\n/m:\na\nx\n\n/m/x:\nb\ny", out)
	}
}

func TestSubPath(t *testing.T) {
	root, host := busyboxRoot(t), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(host, "a/b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(host, "a/b/file"), []byte("content\n"), 0o644))
	require.NoError(t, os.Symlink("a/b", filepath.Join(host, "inside")))
	require.NoError(t, os.Symlink("/a/b", filepath.Join(host, "from-its-root")))
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{hostPath("host", host)}})
	tests := []struct{ name, sub, script, want string }{
		{"directory", "a/b", "cat /m/file; ls /m", "content\nfile"},
		{"file", "a/b/file", "cat /m; echo more >>/m; stat -c %F /m", "content\nregular file"},
		{"link inside", "inside", "ls /m", "file"},
		{"absolute link inside", "from-its-root", "ls /m", "file"},
		{"file behind a link", "inside/file", "cat /m", "content\nmore"},
		{"made", "new/deep/dir", "stat -c '%F %a %u' /m; touch /m/f", "directory 755 0"},
		{"made before", "new/deep", "ls -R /m", "/m:\ndir\n\n/m/dir:\nf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := shell(sb, sandbox.Dir{Path: root}, tt.script, volume.Mount{Volume: "host", Path: "/m", SubPath: tt.sub})
			if strings.Contains(tt.sub, "file") {
				cmd.Mounts[0].Path = "/mounted-file"
				cmd.Args[2] = strings.ReplaceAll(tt.script, "/m", "/mounted-file")
			}
			require.Equal(t, tt.want, output(t, cmd))
		})
	}
	require.FileExists(t, filepath.Join(host, "new/deep/dir/f"))
	_, err := shell(sb, sandbox.Dir{Path: root}, "true", volume.Mount{Volume: "host", Path: "/m", SubPath: "a/b/file/x"}).Start(t.Context())
	require.ErrorIs(t, err, unix.ENOTDIR)
}

func TestFilesVolume(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{{Name: "config", Source: volume.Files{Items: map[string]volume.File{
		"app.conf":   {Content: []byte("a=1\n")},
		"keys/token": {Content: []byte("secret"), Mode: 0o400, UID: 1000, GID: 1001},
	}}}}})
	out := output(t, shell(sb, sandbox.Dir{Path: root}, "cd /c; cat app.conf; stat -c '%n %a %u:%g' app.conf keys keys/token; cat keys/token", mount("config", "/c")))
	require.Equal(t, "a=1\napp.conf 644 0:0\nkeys 755 0:0\nkeys/token 400 1000:1001\nsecret", out)
	out, _ = run(t, shell(sb, sandbox.Dir{Path: root}, "echo >/c/new; echo >/c/app.conf; chmod 777 /c/app.conf; rm /c/app.conf", mount("config", "/c")))
	require.Equal(t, 4, strings.Count(out, "Read-only file system"), out)
	require.Equal(t, "secret", output(t, shell(sb, sandbox.Dir{Path: root}, "cat /token",
		volume.Mount{Volume: "config", Path: "/token", SubPath: "keys/token"})))
}

// TestHostPath: what the host has at a path, whatever it is.
func TestHostPath(t *testing.T) {
	root, host := busyboxRoot(t), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(host, "file"), []byte("host's\n"), 0o644))
	require.NoError(t, unix.Mkfifo(filepath.Join(host, "fifo"), 0o644))
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(host, "sock"))
	require.NoError(t, err)
	defer ln.Close()
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{
		hostPath("dir", host), hostPath("file", filepath.Join(host, "file")), hostPath("sock", filepath.Join(host, "sock")), hostPath("fifo", filepath.Join(host, "fifo")),
		{Name: "made", Source: volume.HostPath{Path: filepath.Join(host, "made/dir"), Type: volume.HostPathDirectoryOrCreate}},
		{Name: "madefile", Source: volume.HostPath{Path: filepath.Join(host, "made/file"), Type: volume.HostPathFileOrCreate}},
	}})
	out := output(t, shell(sb, sandbox.Dir{Path: root}, "cat /dir/file /a/file; echo new >/a/file; stat -c %F /a/sock /a/fifo /a/made /a/madefile; echo x >/a/madefile",
		mount("dir", "/dir"), mount("file", "/a/file"), mount("sock", "/a/sock"), mount("fifo", "/a/fifo"), mount("made", "/a/made"), mount("madefile", "/a/madefile")))
	require.Equal(t, []string{"host's", "host's", "socket", "fifo", "directory", "regular empty file"}, lines(out))
	content, err := os.ReadFile(filepath.Join(host, "file"))
	require.NoError(t, err)
	require.Equal(t, "new\n", string(content))
	require.NoError(t, sb.Remove(t.Context()))
	require.FileExists(t, filepath.Join(host, "made/file"), "the host's from now on")
	for _, v := range []volume.Volume{
		hostPath("a", filepath.Join(host, "none")),
		hostPath("a", "/dev/null"),
		{Name: "a", Source: volume.HostPath{Path: host, Type: volume.HostPathFile}},
		{Name: "a", Source: volume.HostPath{Path: filepath.Join(host, "file"), Type: volume.HostPathDirectory}},
	} {
		cfg := testConfig(t)
		cfg.Volumes = []volume.Volume{emptyDir("disk"), v}
		_, err := sandbox.New(t.Context(), cfg)
		var e *volume.Error
		require.ErrorAs(t, err, &e)
		require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
		left, err := filepath.Glob(filepath.Join(cfg.DataDir, "pods/*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// TestMemoryVolume: a writer gets ENOSPC at the limit, and Usage says so.
func TestMemoryVolume(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{memory("mem", 1<<20), emptyDir("disk"), hostPath("host", t.TempDir())}})
	out, exit := run(t, shell(sb, sandbox.Dir{Path: root}, "dd if=/dev/zero of=/mem/f bs=64k count=100; df -k /mem | tail -n 1", mount("mem", "/mem")))
	require.Contains(t, out, "No space left on device")
	require.Zero(t, exit.Code)
	usage, err := sb.Usage(t.Context(), "mem")
	require.NoError(t, err)
	require.Equal(t, volume.Usage{Bytes: 1 << 20, Inodes: 2, Limit: 1 << 20}, usage)
	output(t, shell(sb, sandbox.Dir{Path: root}, "dd if=/dev/zero of=/disk/f bs=64k count=4", mount("disk", "/disk")))
	usage, err = sb.Usage(t.Context(), "disk")
	require.NoError(t, err)
	require.GreaterOrEqual(t, usage.Bytes, int64(256<<10))
	require.Equal(t, int64(2), usage.Inodes)
	_, err = sb.Usage(t.Context(), "host")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = sb.Usage(t.Context(), "none")
	requireField(t, err, "volume")
}

// TestMountTargets: where there is nothing, something, or a link.
func TestMountTargets(t *testing.T) {
	root := busyboxRoot(t)
	require.NoError(t, os.Symlink("/tmp/nowhere", filepath.Join(root, "dangling")))
	require.NoError(t, os.Symlink("tmp", filepath.Join(root, "link")))
	require.NoError(t, os.Symlink("loop", filepath.Join(root, "loop")))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("volume\n"), 0o644))
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{memory("dir", 0), hostPath("file", file)}})
	tests := []struct {
		name, volume, at, script, want string
		err                            error
	}{
		{"missing file", "file", "/new/deep/file", "cat /new/deep/file; ls -d /new/deep", "volume\n/new/deep", nil},
		{"missing directory", "dir", "/new/deep/dir", "touch /new/deep/dir/x", "", nil},
		{"dangling link and a file", "file", "/dangling", "cat /dangling; test ! -e /tmp/nowhere", "volume", nil},
		{"link to a directory", "dir", "/link", "touch /tmp/x; ls /link", "x", nil},
		{"file over a file", "file", "/etc/passwd", "cat /etc/passwd", "volume", nil},
		{"file of the pod's", "file", "/etc/hosts", "cat /etc/hosts", "volume", nil},
		{"over the programs", "dir", "/usr", "ls /usr", "x", nil},
		{"in /dev", "dir", "/dev/my", "touch /dev/my/x", "", nil},
		{"over /dev/shm", "dir", "/dev/shm", "touch /dev/shm/x", "", nil},
		{"dangling link and a directory", "dir", "/dangling", "", "", fs.ErrNotExist},
		{"loop", "dir", "/loop", "", "", unix.ELOOP},
		{"directory on a file", "dir", "/etc/passwd", "", "", unix.ENOTDIR},
		{"file on a directory", "file", "/tmp", "", "", unix.EINVAL},
		{"below a file", "file", "/etc/passwd/x", "", "", unix.ENOTDIR},
		{"in sysfs", "dir", "/sys/kernel/new", "", "", unix.EROFS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := shell(sb, sandbox.Dir{Path: root}, tt.script, mount(tt.volume, tt.at))
			if tt.err == nil {
				require.Equal(t, tt.want, output(t, cmd))
				return
			}
			_, err := cmd.Start(t.Context())
			require.ErrorIs(t, err, tt.err)
			require.ErrorContains(t, err, tt.at, "the error says which mount it is")
		})
	}
}
