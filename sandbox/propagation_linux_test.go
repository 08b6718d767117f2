package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// sharedDir is a mount of the host's that is shared with others, as the root of
// most systems is.
func sharedDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	mountTmpfs(t, dir)
	require.NoError(t, unix.Mount("", dir, "", unix.MS_SHARED, ""))
	for _, name := range []string{"before", "host", "inside"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	mountTmpfs(t, filepath.Join(dir, "before"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "before/file"), nil, 0o644))
	return dir
}

// privileged is a container that may mount.
func privileged(t testing.TB, sb *sandbox.Sandbox, root string, name string, mounts ...volume.Mount) *sandbox.Process {
	t.Helper()
	cmd := sb.Command("/bin/sleep", "1000")
	cmd.Name, cmd.Rootfs, cmd.Mounts = name, sandbox.Dir{Path: root}, mounts
	cmd.Capabilities.Add = []string{"SYS_ADMIN"}
	return start(t, cmd)
}

func mountpoints(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && !strings.Contains(f[4], "/state") {
			b.WriteString(f[4] + "\n")
		}
	}
	return b.String()
}

// TestPropagation: who sees what is mounted while the container runs.
func TestPropagation(t *testing.T) {
	root := busyboxRoot(t)
	tests := []struct {
		propagation       volume.Propagation
		seesHost, reaches bool
	}{
		{"", false, false},
		{volume.Private, false, false},
		{volume.Slave, true, false},
		{volume.Shared, true, true},
	}
	for _, tt := range tests {
		t.Run(string(tt.propagation), func(t *testing.T) {
			dir := sharedDir(t)
			sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{hostPath("host", dir)}})
			p := privileged(t, sb, root, "main", volume.Mount{Volume: "host", Path: "/m", Propagation: tt.propagation})
			require.Equal(t, "file", inside(t, p, "ls /m/before"))
			mountTmpfs(t, filepath.Join(dir, "host"))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "host/file"), nil, 0o644))
			require.Equal(t, tt.seesHost, inside(t, p, "ls /m/host") == "file")
			inside(t, p, "mount -t tmpfs x /m/inside && touch /m/inside/file")
			_, err := os.Stat(filepath.Join(dir, "inside/file"))
			require.Equal(t, tt.reaches, err == nil)
			if tt.reaches {
				require.NoError(t, unix.Unmount(filepath.Join(dir, "inside"), unix.MNT_DETACH))
				require.Empty(t, inside(t, p, "ls /m/inside"))
			}
		})
	}
}

// TestPropagationEnd: the end of a container, however it ends, unmounts nothing
// on the host.
func TestPropagationEnd(t *testing.T) {
	root := busyboxRoot(t)
	dir := sharedDir(t)
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{hostPath("host", dir)}})
	before := mountpoints(t)
	shared := volume.Mount{Volume: "host", Path: "/m", Propagation: volume.Shared}
	killed := privileged(t, sb, root, "killed", shared)
	require.Equal(t, before, mountpoints(t), "its start")
	require.NoError(t, killed.Kill(t.Context()))
	require.Equal(t, before, mountpoints(t), "killed")
	output(t, shell(sb, sandbox.Dir{Path: root}, "ls /m", shared))
	require.Equal(t, before, mountpoints(t), "exited")
	cmd := shell(sb, sandbox.Dir{Path: root}, "true", shared)
	cmd.Dir = "/none"
	_, err := cmd.Start(t.Context())
	require.Error(t, err)
	require.Equal(t, before, mountpoints(t), "not even started")
	privileged(t, sb, root, "running", shared, volume.Mount{Volume: "host", Path: "/s", Propagation: volume.Slave})
	require.NoError(t, sb.Remove(t.Context()))
	require.Equal(t, before, mountpoints(t), "removed")
	require.FileExists(t, filepath.Join(dir, "before/file"))
}

// TestPropagationInPod: a volume of the pod's own carries mounts from one
// container to the other, if both ask for it.
func TestPropagationInPod(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{memory("mem", 0)}})
	from := privileged(t, sb, root, "from", volume.Mount{Volume: "mem", Path: "/m", Propagation: volume.Shared})
	slave := idle(t, sb, sandbox.Dir{Path: root}, "slave", volume.Mount{Volume: "mem", Path: "/m", Propagation: volume.Slave})
	private := idle(t, sb, sandbox.Dir{Path: root}, "private", mount("mem", "/m"))
	inside(t, from, "mkdir /m/x && mount -t tmpfs x /m/x && touch /m/x/file")
	require.Equal(t, "file", inside(t, slave, "ls /m/x"))
	require.Empty(t, inside(t, private, "ls /m/x"))
	require.NoError(t, from.Kill(t.Context()))
	require.Equal(t, "file", inside(t, slave, "ls /m/x"), "it is the volume's now")
}

// TestUnprivilegedMount: the usual capabilities mount nothing, in no namespace.
func TestUnprivilegedMount(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	p := idle(t, sb, sandbox.Dir{Path: root}, "main")
	for _, try := range []string{"mount -t tmpfs x /tmp", "mount -t proc x /tmp", "umount /proc/sys", "umount /dev/shm", "mount -o remount,rw /sys", "mount --bind / /tmp", "unshare -m true"} {
		out, exit := run(t, p.Exec("/bin/sh", "-c", try))
		require.NotZero(t, exit.Code, "%s: %s", try, out)
	}
}
