package sandbox_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

func TestDir(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	require.Equal(t, "marker", output(t, shell(sb, sandbox.Dir{Path: root}, "marker; echo new >/tmp/new")))
	written, err := os.ReadFile(filepath.Join(root, "tmp/new"))
	require.NoError(t, err)
	require.Equal(t, "new\n", string(written))
	require.Equal(t, "new", output(t, shell(sb, sandbox.Dir{Path: root}, "cat /tmp/new")), "another container")
}

// TestDirReadOnly: with what is mounted on the host below the directory.
func TestDirReadOnly(t *testing.T) {
	root := busyboxRoot(t)
	require.NoError(t, os.Mkdir(filepath.Join(root, "below"), 0o755))
	mountTmpfs(t, filepath.Join(root, "below"))
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{emptyDir("data")}})
	const script = "for f in /x /tmp/x /etc/x /below/x; do if echo >$f; then echo wrote $f; fi; done 2>/dev/null; echo >/data/x"
	require.Empty(t, output(t, shell(sb, sandbox.Dir{Path: root, ReadOnly: true}, script, mount("data", "/data"))))
	// Without the mount points in it, too, which are made.
	for _, name := range []string{"proc", "etc/hosts", "data"} {
		require.NoError(t, os.Remove(filepath.Join(root, name)))
	}
	require.Empty(t, output(t, shell(sb, sandbox.Dir{Path: root, ReadOnly: true}, script, mount("data", "/data"))))
	require.Equal(t, "wrote /below/x", output(t, shell(sb, sandbox.Dir{Path: root}, "echo >/below/x && echo wrote /below/x")))
}

// mountTmpfs mounts a tmpfs on the host for as long as the test lasts.
func mountTmpfs(t testing.TB, path string) {
	t.Helper()
	require.NoError(t, unix.Mount("test", path, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(path, unix.MNT_DETACH)) })
}

func TestRootfsMissing(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{emptyDir("data")}})
	require.NoError(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o600))
	other := t.TempDir()
	require.NoError(t, os.Symlink("/", filepath.Join(other, "host")))
	tests := []struct {
		name  string
		root  sandbox.Rootfs
		path  string
		field string
		is    error
	}{
		{"no such directory", sandbox.Dir{Path: root + "/none"}, "/bin/sh", "Rootfs.Path", fs.ErrNotExist},
		{"a file", sandbox.Dir{Path: root + "/file"}, "/bin/sh", "Rootfs.Path", unix.ENOTDIR},
		{"the host's root behind a link", sandbox.Dir{Path: other + "/host"}, "/bin/sh", "Rootfs.Path", fs.ErrInvalid},
		{"no such layer", sandbox.Overlay{Lower: []string{root, root + "/none"}}, "/bin/sh", "Rootfs.Lower[1]", fs.ErrNotExist},
		{"a file as layer", sandbox.Overlay{Lower: []string{root + "/file"}}, "/bin/sh", "Rootfs.Lower[0]", unix.ENOTDIR},
		{"no such program", sandbox.Dir{Path: root}, "/bin/none", "Path", fs.ErrNotExist},
		{"not in PATH", sandbox.Dir{Path: root}, "none", "Path", fs.ErrNotExist},
		{"no such program in layers", sandbox.Overlay{Lower: []string{root, other}}, "/bin/none", "Path", fs.ErrNotExist},
		{"no such program of the host", sandbox.HostRoot{}, "/bin/none", "Path", fs.ErrNotExist},
		{"nothing in Scratch", sandbox.Scratch{}, "/bin/sh", "Path", fs.ErrNotExist},
		{"nothing in the volume", sandbox.Scratch{}, "/data/sh", "Path", fs.ErrNotExist},
		{"not executable", sandbox.Dir{Path: root}, "/etc/passwd", "Path", fs.ErrPermission},
		{"a directory", sandbox.Dir{Path: root}, "/etc", "Path", fs.ErrPermission},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := sb.Command(tt.path)
			cmd.Name, cmd.Rootfs, cmd.Mounts = "main", tt.root, []volume.Mount{mount("data", "/data")}
			_, err := cmd.Start(t.Context())
			requireField(t, err, tt.field)
			require.ErrorIs(t, err, tt.is)
			requireNoTrace(t, sb)
		})
	}
}

// requireNoTrace asserts that a sandbox is as if nothing had been started in it.
func requireNoTrace(t testing.TB, sb *sandbox.Sandbox) {
	t.Helper()
	status, err := sb.Status(t.Context())
	require.NoError(t, err)
	require.Empty(t, status.Processes)
	require.NoDirExists(t, filepath.Join(layersOf(sb), "main"))
	groups, err := filepath.Glob("/sys/fs/cgroup/*" + status.Cgroup + "/*/")
	require.NoError(t, err)
	require.Empty(t, groups)
}

func layersOf(sb *sandbox.Sandbox) string {
	return filepath.Join(sb.Config().DataDir, "pods", sb.ID(), "layers")
}

// TestOverlay: what is written goes to the pod, survives the container, and
// never reaches what is below.
func TestOverlay(t *testing.T) {
	testutil.RequireFeature(t, "overlay")
	root := busyboxRoot(t)
	upper := testutil.Rootfs(t, testutil.Tree{"etc/passwd": testutil.File("upper\n")})
	sb := newSandbox(t, sandbox.Config{})
	overlay := sandbox.Overlay{Lower: []string{upper, root}}
	cmd := shell(sb, overlay, "cat /etc/passwd; echo mine >/etc/passwd; echo new >/new; rm -r /usr; stat -c %a%u%g /")
	cmd.Name = "main"
	require.Equal(t, "upper\n75500", output(t, cmd))
	cmd = shell(sb, overlay, "cat /etc/passwd /new; ls -d /usr")
	cmd.Name = "main"
	out, exit := run(t, cmd)
	require.Equal(t, "mine\nnew\nls: /usr: No such file or directory", out)
	require.Equal(t, 1, exit.Code)
	require.Equal(t, "upper\n/usr", output(t, shell(sb, overlay, "cat /etc/passwd; ls -d /usr; test ! -e /new")), "another container")
	require.NoFileExists(t, filepath.Join(root, "new"))
	require.FileExists(t, filepath.Join(root, "usr/bin/marker"))
	passwd, err := os.ReadFile(filepath.Join(upper, "etc/passwd"))
	require.NoError(t, err)
	require.Equal(t, "upper\n", string(passwd))

	overlay.ReadOnly = true
	out, _ = run(t, shell(sb, overlay, "echo >/x; echo >/etc/x"))
	require.Equal(t, 2, strings.Count(out, "Read-only file system"), out)
}

// TestOverlayForgotten: the layer of a process that nobody can name any more
// does not stay.
func TestOverlayForgotten(t *testing.T) {
	testutil.RequireFeature(t, "overlay")
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	output(t, shell(sb, sandbox.Overlay{Lower: []string{root}}, "echo >/new"))
	entries, err := os.ReadDir(layersOf(sb))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// TestOverlayLayers: images of real life have dozens of layers.
func TestOverlayLayers(t *testing.T) {
	testutil.RequireFeature(t, "overlay")
	root := busyboxRoot(t)
	for _, n := range []int{60, 400} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var lower []string
			for i := range n - 1 {
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), nil, 0o644))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "top"), fmt.Append(nil, i), 0o644))
				lower = append(lower, dir)
			}
			sb := newSandbox(t, sandbox.Config{})
			out := output(t, shell(sb, sandbox.Overlay{Lower: append(lower, root)}, "ls -d /f* | wc -l; cat /top"))
			require.Equal(t, fmt.Sprintf("%d\n0", n-1), out)
		})
	}
}

// TestCVE_2021_41103_LayersClosed: set-user-ID programs that a container makes
// are out of reach of the host's users.
func TestCVE_2021_41103_LayersClosed(t *testing.T) {
	testutil.RequireFeature(t, "overlay")
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	cmd := shell(sb, sandbox.Overlay{Lower: []string{root}}, "cp /bin/busybox /tmp/evil; chmod 4755 /tmp/evil")
	cmd.Name = "main"
	output(t, cmd)
	require.FileExists(t, filepath.Join(layersOf(sb), "main/upper/tmp/evil"))
	info, err := os.Stat(layersOf(sb))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
}

// TestHostRoot: the host's programs, read-only, and nothing of its state.
func TestHostRoot(t *testing.T) {
	testutil.RequireRoot(t)
	marker := filepath.Join("/run", fmt.Sprintf("barepod-test-%d", os.Getpid()))
	require.NoError(t, os.WriteFile(marker, nil, 0o600))
	defer os.Remove(marker)
	dir, err := os.MkdirTemp("/var/lib", "barepod-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	cfg := testConfig(t)
	cfg.DataDir, cfg.Volumes = filepath.Join(dir, "data"), []volume.Volume{emptyDir("data")}
	sb := newSandbox(t, cfg)
	out := output(t, shell(sb, sandbox.HostRoot{}, `
		for d in /usr /etc /var /root /x; do echo 2>/dev/null >$d/x && echo wrote $d; done
		ls /run /tmp `+cfg.DataDir+`
		echo >/run/x; echo >/tmp/x; echo >/data/x
		test ! -e `+marker+` && test ! -e `+cfg.StateDir+` && stat -c %a /tmp /run`, mount("data", "/data")))
	require.ElementsMatch(t, []string{"/run:", "/tmp:", cfg.DataDir + ":", "1777", "755"}, strings.Fields(out))
	require.NoFileExists(t, "/tmp/x")
}

// TestScratch: nothing but what is mounted.
func TestScratch(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{binVolume(root), emptyDir("data")}})
	out := output(t, shell(sb, sandbox.Scratch{}, "ls /; ls /etc; echo 2>/dev/null >/x || echo >/data/x && stat -c '%a %u' /", mount("bin", "/bin"), mount("data", "/data")))
	require.Equal(t, "bin data dev etc proc sys hostname hosts resolv.conf 755 0", strings.Join(strings.Fields(out), " "))
}
