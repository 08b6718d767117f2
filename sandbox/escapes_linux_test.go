package sandbox_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// TestCVE_2016_9962_StartingProcess: a container that shares its PID namespace
// gets at nothing that a process on its way into it has open.
func TestCVE_2016_9962_StartingProcess(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{ShareProcessNamespace: true})
	log, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer log.Close()
	attacker := shell(sb, sandbox.Dir{Path: root}, `mkdir -p /tmp/mine; while :; do
		for p in /proc/[0-9]*; do
			for f in $p/fd/* $p/exe $p/root $p/cwd $p/ns/mnt $p/ns/net; do readlink $f; done
			echo 2>/dev/null x >$p/exe && echo WROTE $p; cat $p/environ
		done 2>/dev/null
	done`)
	attacker.Name, attacker.Stdout = "attacker", log
	start(t, attacker)
	victim := idle(t, sb, sandbox.Dir{Path: root}, "victim")
	for range 40 {
		output(t, victim.Exec("/bin/true"))
		output(t, shell(sb, sandbox.Dir{Path: root}, "true"))
	}
	text, err := os.ReadFile(log.Name())
	require.NoError(t, err)
	require.Greater(t, strings.Count(string(text), "\n"), 100, "it did look")
	for _, leak := range []string{"WROTE", "memfd", "pidfd", "/sys/fs/cgroup", sb.Config().StateDir, "keeper", hostNS(t, "mnt"), hostNS(t, "net")} {
		require.NotContains(t, string(text), leak)
	}
}

func hostNS(t testing.TB, name string) string {
	t.Helper()
	to, err := os.Readlink("/proc/self/ns/" + name)
	require.NoError(t, err)
	return to
}

// TestCVE_2019_5736_Exe: a container that executes /proc/self/exe, or has a script
// do it, gets no program of the host's into its hands.
func TestCVE_2019_5736_Exe(t *testing.T) {
	root := busyboxRoot(t)
	require.NoError(t, os.WriteFile(root+"/script", []byte("#!/proc/self/exe\n"), 0o755))
	own, err := os.Executable()
	require.NoError(t, err)
	before, err := os.ReadFile(own)
	require.NoError(t, err)
	sb := newSandbox(t, sandbox.Config{ShareProcessNamespace: true})
	victim := idle(t, sb, sandbox.Dir{Path: root}, "main")
	for _, path := range []string{"/proc/self/exe", "/script", "/proc/1/exe"} {
		first := sb.Command(path)
		first.Rootfs = sandbox.Dir{Path: root}
		for _, cmd := range []*sandbox.Cmd{first, victim.Exec(path)} {
			var out strings.Builder
			cmd.Stdout = &out
			exit, err := cmd.Run(t.Context())
			if err == nil { // the launch program, without anything to work on
				require.NotZero(t, exit.Code)
			}
			require.Empty(t, out.String())
		}
	}
	after, err := os.ReadFile(own)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(before), sha256.Sum256(after))
}

var _ = testutil.Child("shm", func(args []string) {
	const key, size = 0x6261, 4096
	flags := 0
	if args[0] == "write" {
		flags = unix.IPC_CREAT | unix.IPC_EXCL | 0o600
	}
	id, err := unix.SysvShmGet(key, size, flags)
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	if args[0] == "write" {
		copy(b, "through shared memory")
	}
	fmt.Println(strings.TrimRight(string(b[:32]), "\x00"))
})

// TestSystemV: System V shared memory is the pod's, not the host's nor another
// pod's.
func TestSystemV(t *testing.T) {
	testutil.RequireRoot(t)
	cfg := sandbox.Config{Volumes: []volume.Volume{self(t)}}
	sb, other := newSandbox(t, cfg), newSandbox(t, cfg)
	require.Equal(t, "through shared memory", output(t, selfCommand(sb, "shm", "write")))
	require.Equal(t, "through shared memory", output(t, selfCommand(sb, "shm", "read")))
	require.Equal(t, "no such file or directory", output(t, selfCommand(other, "shm", "read")))
	_, err := unix.SysvShmGet(0x6261, 4096, 0)
	require.ErrorIs(t, err, unix.ENOENT)
}

var _ = testutil.Child("uncover", func([]string) {
	runtime.LockOSThread()
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	self, err := os.Open("/proc/thread-self/ns/mnt")
	fail(err)
	fail(unix.Unshare(unix.CLONE_FS))
	fail(unix.Unmount("/", unix.MNT_DETACH))
	fail(unix.Setns(int(self.Fd()), unix.CLONE_NEWNS))
	fail(fs.WalkDir(os.DirFS("/"), ".", func(path string, _ fs.DirEntry, err error) error {
		fmt.Println(path)
		return err
	}))
	fmt.Println(unix.Mkdir("/new", 0o755))
})

// TestUncoveredRoot: under the root directory of a container there is nothing of
// the host or the pod, for one that may unmount it.
func TestUncoveredRoot(t *testing.T) {
	testutil.RequireRoot(t)
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{self(t)}})
	cmd := selfCommand(sb, "uncover")
	cmd.Capabilities.Add = []string{"SYS_ADMIN", "SYS_CHROOT"}
	require.Equal(t, strings.Join([]string{
		".", "dev", "dev/full", "dev/null", "dev/random", "dev/tty", "dev/urandom", "dev/zero",
		"empty", "layers", "pod", "root", "read-only file system",
	}, "\n"), output(t, cmd))
}
