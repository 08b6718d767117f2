package program_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

// newSandbox makes a sandbox that goes with the test.
func newSandbox(t *testing.T, cfg sandbox.Config) *sandbox.Sandbox {
	t.Helper()
	testutil.RequireRoot(t)
	dir := t.TempDir()
	cfg.Name, cfg.StateDir, cfg.DataDir = "real", filepath.Join(dir, "state"), filepath.Join(dir, "data")
	cfg.Cgroup = sandbox.Cgroup{Parent: fmt.Sprintf("/barepod-program-%d", os.Getpid())}
	sb, err := sandbox.New(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, sb.Remove(ctx))
		require.NoError(t, sb.Close())
		require.NoError(t, sandbox.Sweep(ctx, cfg.StateDir))
	})
	return sb
}

// rootfs has a shell, and what else a test wants.
func rootfs(t *testing.T, more testutil.Tree) sandbox.Dir {
	t.Helper()
	tree := testutil.Tree{"bin": testutil.Applets("cat", "ls", "readlink", "sleep", "stat", "true")}
	for name, node := range more {
		tree[name] = node
	}
	return sandbox.Dir{Path: testutil.Rootfs(t, tree)}
}

// output runs a command and returns what it prints.
func output(t *testing.T, cmd *sandbox.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	exit, err := cmd.Run(t.Context())
	require.NoError(t, err)
	require.Zero(t, exit.Code, out.String())
	return out.String()
}

// status returns fields of /proc/<pid>/status.
func status(text string, names ...string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if ok && slices.Contains(names, key) {
			found[key] = strings.TrimSpace(value)
		}
	}
	return found
}

// A container and a further command in it have the standard streams, nothing
// else of the host, and the credentials asked for.
func TestCVE_2024_21626_NothingOfTheHostIsOpen(t *testing.T) {
	signal.Ignore(syscall.SIGUSR1) // which children inherit
	defer signal.Reset(syscall.SIGUSR1)
	sb := newSandbox(t, sandbox.Config{ShareProcessNamespace: true, DieWithCreator: true})
	root := rootfs(t, nil)
	idle := sb.Command("/bin/sleep", "1000")
	idle.Rootfs = root
	main, err := idle.Start(t.Context())
	require.NoError(t, err)
	defer main.Close()
	container := func(path string, args ...string) *sandbox.Cmd {
		cmd := sb.Command(path, args...)
		cmd.Rootfs = root
		return cmd
	}
	for name, command := range map[string]func(path string, args ...string) *sandbox.Cmd{"container": container, "exec": main.Exec} {
		t.Run(name, func(t *testing.T) {
			run := func(path string, args ...string) string {
				cmd := command(path, args...)
				cmd.User = sandbox.User{UID: 1000, GID: 1001, Groups: []uint32{7}}
				return output(t, cmd)
			}
			require.Equal(t, "0\n1\n2\n3\n", run("/bin/ls", "/proc/self/fd"), "3 is the directory's own")
			require.Equal(t, "/\n", run("/bin/readlink", "/proc/self/cwd"))
			require.Equal(t, "/\n", run("/bin/readlink", "/proc/self/root"))
			text := run("/bin/cat", "/proc/self/status")
			require.Equal(t, map[string]string{
				"Uid": "1000\t1000\t1000\t1000", "Gid": "1001\t1001\t1001\t1001", "Groups": "7", "Umask": "0022",
				"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
				"CapBnd": "00000000a80425fb", "CapAmb": "0000000000000000", "NoNewPrivs": "1",
				"SigBlk": "0000000000000000", "SigIgn": "0000000000000000",
			}, status(text, "Uid", "Gid", "Groups", "Umask", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "SigBlk", "SigIgn"))
		})
	}
	require.NoError(t, main.Kill(t.Context()))
}

// parent returns the parent of a process.
func parent(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	var ppid int
	_, err = fmt.Sscan(status(string(text), "PPid")["PPid"], &ppid)
	require.NoError(t, err)
	return ppid
}

// The keeper stays in the host's namespaces and holds on to nothing but what the
// exit record needs.
func TestKeeper(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	cmd := sb.Command("/bin/sleep", "1000")
	cmd.Rootfs, cmd.Name = rootfs(t, nil), "main"
	p, err := cmd.Start(t.Context())
	require.NoError(t, err)
	defer p.Close()
	proc := fmt.Sprintf("/proc/%d", parent(t, p.PID()))
	name, err := os.ReadFile(proc + "/comm")
	require.NoError(t, err)
	require.Equal(t, "barepod-keeper\n", string(name))

	var open []string
	require.Eventually(t, func() bool { // it closes them after its report
		open = nil
		fds, err := os.ReadDir(proc + "/fd")
		require.NoError(t, err)
		for _, fd := range fds {
			to, err := os.Readlink(proc + "/fd/" + fd.Name())
			if err == nil {
				open = append(open, filepath.Base(to))
			}
		}
		return len(open) <= 3
	}, 5*time.Second, 5*time.Millisecond, "%s", &open)
	require.Contains(t, open, "main")
	for _, name := range open {
		require.Contains(t, []string{"main", "cgroup.kill", "memory.events", "memory.oom_control"}, name)
	}
	for _, ns := range []string{"mnt", "net", "ipc", "uts", "pid", "user"} {
		own, err := os.Readlink("/proc/self/ns/" + ns)
		require.NoError(t, err)
		keepers, err := os.Readlink(proc + "/ns/" + ns)
		require.NoError(t, err)
		require.Equal(t, own, keepers)
	}
	wd, err := os.Readlink(proc + "/cwd")
	require.NoError(t, err)
	require.Equal(t, "/", wd)
	require.NoError(t, p.Kill(t.Context()))
	exit, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
}

// Mount points that are symbolic links are looked up as if the container's root
// were the root directory; one that leads nowhere is a mount point itself, and
// what is missing is made.
func TestTree(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	outside := t.TempDir()
	root := rootfs(t, testutil.Tree{
		"etc":                 testutil.Symlink("/usr/etc"),
		"usr/etc/hosts":       testutil.Symlink("../../../../../run/hosts"),
		"run/hosts":           testutil.File("the image's\n"),
		"usr/etc/resolv.conf": testutil.Symlink(outside + "/resolv.conf"),
		"proc":                testutil.Symlink("usr/../data/proc"),
		"data/proc":           testutil.Dir(),
		"dev":                 testutil.Symlink("/data/dev"),
		"data/dev":            testutil.Dir(),
	})
	cmd := sb.Command("/bin/sh", "-c", `
		cat /run/hosts; echo; cat /usr/etc/resolv.conf >/dev/null && echo resolv
		cat /etc/hostname; readlink /data/proc/self/exe; stat -c %t:%T /data/dev/null; readlink /dev`)
	cmd.Rootfs = root
	out := output(t, cmd)
	require.Contains(t, out, "localhost")
	require.NotContains(t, out, "the image's")
	require.Contains(t, out, "resolv\nreal\n/bin/busybox\n1:3\n/data/dev\n")

	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, left)
	image, err := os.ReadFile(root.Path + "/run/hosts")
	require.NoError(t, err)
	require.Equal(t, "the image's\n", string(image))
}

// openat2 says EAGAIN for a ".." in a link whenever something on the machine is
// renamed at the same time; that is no reason to fail.
func TestStartWhileOthersRename(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	link := testutil.Symlink(strings.Repeat("../run/", 12) + "file")
	root := rootfs(t, testutil.Tree{
		"run/file":  testutil.File(""),
		"etc/hosts": link, "etc/hostname": link, "etc/resolv.conf": link,
	})
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/a", nil, 0o600))
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = unix.Rename(dir+"/a", dir+"/b"), unix.Rename(dir+"/b", dir+"/a")
			}
		}
	})
	defer work.Wait()
	defer close(stop)
	for range 40 {
		cmd := sb.Command("/bin/true")
		cmd.Rootfs = root
		output(t, cmd)
	}
}
