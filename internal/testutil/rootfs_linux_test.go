package testutil_test

import (
	"bufio"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
)

func TestStaticTrue(t *testing.T) {
	require.NoError(t, exec.Command(testutil.StaticTrue(t)).Run())
}

func TestStaticTrueARM64(t *testing.T) {
	testutil.RequireFeature(t, "qemu-aarch64-static")
	path := filepath.Join(t.TempDir(), "true")
	require.NoError(t, os.WriteFile(path, testutil.TrueImage(t, "arm64"), 0o755))
	out, err := exec.Command("qemu-aarch64-static", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestRootfs(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	root := testutil.Rootfs(t, testutil.Tree{
		"bin":        testutil.Applets("cat", "sh", "sleep"),
		"sbin/true":  testutil.True(),
		"etc/motd":   testutil.File("hello\n"),
		"etc/link":   testutil.Symlink("motd"),
		"locked":     testutil.Dir().WithMode(0o500),
		"locked/su":  testutil.File("").WithMode(0o755 | fs.ModeSetuid),
		"copied/cmd": testutil.Copy("/proc/self/exe"),
	})
	for path, want := range map[string]string{
		"bin":         "drwxr-xr-x",
		"bin/busybox": "-rwxr-xr-x",
		"sbin/true":   "-rwxr-xr-x",
		"etc/motd":    "-rw-r--r--",
		"etc/link":    "Lrwxrwxrwx",
		"locked":      "dr-x------",
		"locked/su":   "urwxr-xr-x",
	} {
		info, err := os.Lstat(filepath.Join(root, path))
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().String(), path)
	}
	out, err := exec.Command(filepath.Join(root, "bin/cat"), filepath.Join(root, "etc/link")).Output()
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(out))
	require.NoError(t, exec.Command(filepath.Join(root, "sbin/true")).Run())
	require.NoError(t, os.Chmod(filepath.Join(root, "locked"), 0o700))
}

var _ = testutil.Child("echo", func(args []string) {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		os.Stdout.WriteString(args[0] + in.Text() + "\n")
	}
	os.Exit(3)
})

func TestChild(t *testing.T) {
	c := testutil.StartChild(t, "echo", "got ")
	c.WriteLine("one")
	require.Equal(t, "got one", c.ReadLine())
	require.NoError(t, c.In.Close())
	var exit *exec.ExitError
	require.ErrorAs(t, c.Wait(), &exit)
	require.Equal(t, 3, exit.ExitCode())
	require.ErrorAs(t, c.Wait(), &exit)

	c = testutil.StartChild(t, "echo", "")
	c.Kill()
	require.ErrorAs(t, c.Wait(), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
}
