package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// secretDir is a directory of the host that no container may reach.
func secretDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o600))
	return dir
}

// requireUntouched asserts that nothing was made in it.
func requireUntouched(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// TestCVE_2017_1002101_SubPathLinks: links that a container has laid in a volume
// do not lead a subpath out of it.
func TestCVE_2017_1002101_SubPathLinks(t *testing.T) {
	root, secret, host := busyboxRoot(t), secretDir(t), t.TempDir()
	up := strings.Repeat("../", 40)
	links := map[string]string{
		"absolute": secret, "relative": up + secret[1:], "root": "/", "up": "..", "proc": "/proc/1/root", "self": "/proc/self/fd/7", "magic": "/proc/self/cwd",
		"middle": up, "file": filepath.Join(secret, "secret"), "etc": "/etc",
	}
	for name, to := range links {
		require.NoError(t, os.Symlink(to, filepath.Join(host, name)))
	}
	links["middle"+secret] = ""
	links["up"+secret] = ""
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{hostPath("host", host)}})
	for sub := range links {
		t.Run(sub, func(t *testing.T) {
			cmd := shell(sb, sandbox.Dir{Path: root}, "ls -R /m; cat /m /m/secret /m/passwd; touch /m/x", volume.Mount{Volume: "host", Path: "/m", SubPath: sub})
			var out strings.Builder
			cmd.Stdout = &out
			_, err := cmd.Run(t.Context()) // refused, or something of the volume
			require.NotContains(t, out.String(), "secret\n", "%v", err)
			require.NotContains(t, out.String(), "root:", "%v", err)
			requireUntouched(t, secret)
		})
	}
}

// exchange swaps two files without end, as an attacker would.
func exchange(t testing.TB, a, b string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// raceRounds is how often a start is attempted during an exchange.
const raceRounds = 60

// TestCVE_2021_25741_SubPathRace: nor does one that is exchanged for a directory
// while the container starts.
func TestCVE_2021_25741_SubPathRace(t *testing.T) {
	root, secret, host := busyboxRoot(t), secretDir(t), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(host, "dir/sub"), 0o755))
	require.NoError(t, os.Symlink(strings.Repeat("../", 40)+filepath.Dir(secret)[1:], filepath.Join(host, "link")))
	require.NoError(t, os.WriteFile(filepath.Join(host, "dir/sub/mine"), nil, 0o644))
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{hostPath("host", host)}})
	stop := exchange(t, filepath.Join(host, "dir"), filepath.Join(host, "link"))
	defer stop()
	started := 0
	for i := range raceRounds {
		sub := []string{"dir/sub", "dir/" + filepath.Base(secret), "link/sub"}[i%3]
		cmd := shell(sb, sandbox.Dir{Path: root}, "ls /m; touch /m/x", volume.Mount{Volume: "host", Path: "/m", SubPath: sub})
		var out strings.Builder
		cmd.Stdout = &out
		if _, err := cmd.Run(t.Context()); err == nil {
			started++
		}
		require.NotContains(t, out.String(), "secret")
		requireUntouched(t, secret)
	}
	require.Positive(t, started)
}

// TestCVE_2021_30465_MountTargets: a root file system whose directories are
// links has its volumes mounted in itself, and nothing outside changes.
func TestCVE_2021_30465_MountTargets(t *testing.T) {
	root, secret := busyboxRoot(t), secretDir(t)
	up := strings.Repeat("../", 40)
	for name, to := range map[string]string{"abs": secret, "rel": up + secret[1:], "rootlink": "/", "uplink": up, "tmp/deep": secret} {
		require.NoError(t, os.Symlink(to, filepath.Join(root, name)))
	}
	// Where the absolute ones lead to inside.
	require.NoError(t, os.MkdirAll(filepath.Join(root, secret), 0o755))
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{memory("mem", 0)}})
	for _, at := range []string{"/abs", "/rel", "/abs/new", "/tmp/deep", "/uplink" + secret, "/rootlink/new"} {
		t.Run(at, func(t *testing.T) {
			require.Equal(t, "tmpfs", output(t, shell(sb, sandbox.Dir{Path: root}, "stat -f -c %T "+at+"; test ! -e /abs/secret; touch "+at+"/x", mount("mem", at))))
			requireUntouched(t, secret)
		})
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), secret)
}

// TestCVE_2021_30465_Race: nor if the link comes and goes while the container
// starts.
func TestCVE_2021_30465_Race(t *testing.T) {
	root, secret := busyboxRoot(t), secretDir(t)
	require.NoError(t, os.Mkdir(filepath.Join(root, "dir"), 0o755))
	require.NoError(t, os.Symlink(strings.Repeat("../", 40)+secret[1:], filepath.Join(root, "link")))
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{memory("mem", 0)}})
	stop := exchange(t, filepath.Join(root, "dir"), filepath.Join(root, "link"))
	defer stop()
	for range raceRounds {
		cmd := shell(sb, sandbox.Dir{Path: root}, "ls /dir /link /dir/m /link/m; touch /dir/m/x", mount("mem", "/dir/m"))
		var out strings.Builder
		cmd.Stdout = &out
		_, _ = cmd.Run(t.Context())
		require.NotContains(t, out.String(), "secret")
		requireUntouched(t, secret)
	}
}

// TestCVE_2019_19921_KernelLinks: /proc, /sys and /dev of a root file system may
// be links, or anything else. What is masked stays masked, wherever it lands.
func TestCVE_2019_19921_KernelLinks(t *testing.T) {
	secret := secretDir(t)
	for _, name := range []string{"proc", "sys", "dev", "etc"} {
		t.Run(name, func(t *testing.T) {
			root := busyboxRoot(t)
			require.NoError(t, os.RemoveAll(filepath.Join(root, name)))
			require.NoError(t, os.Symlink(strings.Repeat("../", 40)+secret[1:], filepath.Join(root, name)))
			require.NoError(t, os.MkdirAll(filepath.Join(root, secret), 0o755))
			sb := newSandbox(t, sandbox.Config{})
			cmd := shell(sb, sandbox.Dir{Path: root}, "ls /"+name+"/; echo x >/proc/sys/kernel/hostname; test ! -s /proc/keys; echo x >/sys/kernel/x; cat /"+name+"/secret")
			var out strings.Builder
			cmd.Stdout = &out
			exit, err := cmd.Run(t.Context())
			if err == nil {
				require.NotZero(t, exit.Code)
			}
			require.NotContains(t, out.String(), "secret")
			requireUntouched(t, secret)
		})
	}
	t.Run("file", func(t *testing.T) {
		root := busyboxRoot(t)
		require.NoError(t, os.WriteFile(filepath.Join(root, "proc"), nil, 0o644))
		_, err := shell(newSandbox(t, sandbox.Config{}), sandbox.Dir{Path: root}, "true").Start(t.Context())
		require.ErrorIs(t, err, unix.ENOTDIR)
		require.ErrorContains(t, err, "mount proc on /proc")
	})
}

// TestLookFollowsInside: the search for the program before the start does not
// leave the root file system either.
func TestLookFollowsInside(t *testing.T) {
	root := busyboxRoot(t)
	require.NoError(t, os.Symlink("/bin/busybox", filepath.Join(root, "absolute")))
	require.NoError(t, os.Symlink("../../../../bin/sh", filepath.Join(root, "up")))
	require.NoError(t, os.Symlink("/work", filepath.Join(root, "hosts-only")))
	sb := newSandbox(t, sandbox.Config{})
	for _, path := range []string{"/absolute", "/up"} {
		cmd := sb.Command(path)
		cmd.Args, cmd.Rootfs = []string{"true"}, sandbox.Dir{Path: root}
		require.Empty(t, output(t, cmd))
	}
	cmd := sb.Command("/hosts-only")
	cmd.Rootfs = sandbox.Dir{Path: root}
	_, err := cmd.Start(t.Context())
	requireField(t, err, "Path")
}
