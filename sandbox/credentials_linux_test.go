package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

func TestUser(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	tests := []struct {
		name             string
		user             sandbox.User
		uid, gid, groups string
	}{
		{"root", sandbox.User{}, "0", "0", ""},
		{"user", sandbox.User{UID: 1000, GID: 1001}, "1000", "1001", ""},
		{"groups", sandbox.User{UID: 1000, GID: 1001, Groups: []uint32{7, 5, 1001}}, "1000", "1001", "5 7 1001"},
		{"root with groups", sandbox.User{Groups: []uint32{5}}, "0", "0", "5"},
		{"highest", sandbox.User{UID: 1<<32 - 2, GID: 1<<32 - 2}, "4294967294", "4294967294", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := cat(sb, root, "/proc/self/status")
			cmd.User = tt.user
			status := fields(output(t, cmd))
			require.Equal(t, strings.Repeat(tt.uid+"\t", 3)+tt.uid, status["Uid"])
			require.Equal(t, strings.Repeat(tt.gid+"\t", 3)+tt.gid, status["Gid"])
			require.Equal(t, tt.groups, status["Groups"])
		})
	}
}

// TestCVE_2022_2995_Groups: no supplementary group of the host program's gets in.
func TestCVE_2022_2995_Groups(t *testing.T) {
	root := busyboxRoot(t)
	was, err := syscall.Getgroups()
	require.NoError(t, err)
	require.NoError(t, syscall.Setgroups([]int{6, 27, 999}))
	defer func() { require.NoError(t, syscall.Setgroups(was)) }()
	requireNoGroups(t, root)
}

// TestCVE_2022_36109_Groups: and none that the image has for the user is added.
func TestCVE_2022_36109_Groups(t *testing.T) {
	root := busyboxRoot(t)
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:root\ndisk:x:6:root,user\nuser:x:1000:\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/:\nuser:x:1000:1000::/:\n"), 0o644))
	requireNoGroups(t, root)
}

func requireNoGroups(t testing.TB, root string) {
	t.Helper()
	sb := newSandbox(t, sandbox.Config{})
	for _, uid := range []uint32{0, 1000} {
		cmd := cat(sb, root, "/proc/self/status")
		cmd.User.UID, cmd.User.GID = uid, uid
		require.Empty(t, fields(output(t, cmd))["Groups"], "user %d", uid)
	}
}

// TestCVE_2022_29162_Capabilities: the sets are exact, and the inheritable and
// ambient ones empty.
func TestCVE_2022_29162_Capabilities(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	const none, usual = "0000000000000000", "00000000a80425fb"
	tests := []struct {
		name     string
		uid      uint32
		caps     sandbox.Capabilities
		bnd, eff string
	}{
		{"root", 0, sandbox.Capabilities{}, usual, usual},
		{"user", 1000, sandbox.Capabilities{}, usual, none},
		{"added", 0, sandbox.Capabilities{Add: []string{"SYS_ADMIN"}}, "00000000a82425fb", "00000000a82425fb"},
		{"added for a user", 1000, sandbox.Capabilities{Add: []string{"SYS_ADMIN"}}, "00000000a82425fb", none},
		{"dropped", 0, sandbox.Capabilities{Drop: []string{"ALL"}}, none, none},
		{"dropped for a user", 1000, sandbox.Capabilities{Drop: []string{"ALL"}}, none, none},
		{"one", 0, sandbox.Capabilities{Drop: []string{"ALL"}, Add: []string{"CAP_CHOWN"}}, "0000000000000001", "0000000000000001"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := cat(sb, root, "/proc/self/status")
			cmd.User.UID, cmd.Capabilities = tt.uid, tt.caps
			status := fields(output(t, cmd))
			require.Equal(t, map[string]string{"CapInh": none, "CapAmb": none, "CapBnd": tt.bnd, "CapPrm": tt.eff, "CapEff": tt.eff}, map[string]string{
				"CapInh": status["CapInh"], "CapAmb": status["CapAmb"], "CapBnd": status["CapBnd"], "CapPrm": status["CapPrm"], "CapEff": status["CapEff"],
			})
		})
	}
}

// TestAllCapabilities: as many as the starter has; no more can be had.
func TestAllCapabilities(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	text, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	host := fields(string(text))
	cmd := cat(sb, root, "/proc/self/status")
	cmd.Capabilities.Add = []string{"ALL"}
	if hasCapability(unix.CAP_SYS_RESOURCE) {
		require.Equal(t, host["CapPrm"], fields(output(t, cmd))["CapPrm"])
		return
	}
	_, err = cmd.Start(t.Context())
	require.ErrorIs(t, err, syscall.EPERM)
	require.ErrorContains(t, err, "set capabilities")
}

// hasCapability reports whether the test has a capability.
func hasCapability(number int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[number/32].Permitted&(1<<(number%32)) != 0
}

var _ = testutil.Child("euid", func([]string) { fmt.Println(os.Getuid(), os.Geteuid()) })

// TestNoNewPrivileges: a set-user-ID program gives nothing unless it is allowed.
func TestNoNewPrivileges(t *testing.T) {
	testutil.RequireRoot(t)
	path, err := os.Executable()
	require.NoError(t, err)
	suid := filepath.Join(t.TempDir(), "suid")
	require.NoError(t, copyFile(path, suid))
	require.NoError(t, os.Chmod(suid, 0o755|os.ModeSetuid))
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{{Name: "self", Source: volume.HostPath{Path: suid}}}})
	for allow, want := range map[bool]string{false: "1000 1000", true: "1000 0"} {
		t.Run(fmt.Sprintf("allowed=%v", allow), func(t *testing.T) {
			cmd := selfCommand(sb, "euid")
			cmd.User.UID, cmd.AllowPrivilegeEscalation = 1000, allow
			require.Equal(t, want, output(t, cmd))
			status := sb.Command("/bin/cat", "/proc/self/status")
			status.Rootfs, status.AllowPrivilegeEscalation = sandbox.HostRoot{}, allow
			require.Equal(t, map[bool]string{false: "1", true: "0"}[allow], fields(output(t, status))["NoNewPrivs"])
		})
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

func TestRlimits(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	cmd := cat(sb, root, "/proc/self/limits")
	cmd.Rlimits = []sandbox.Rlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_CORE"}, {Type: "RLIMIT_CPU", Soft: 60, Hard: sandbox.Infinity}}
	out := output(t, cmd)
	require.Regexp(t, `Max open files +100 +200 `, out)
	require.Regexp(t, `Max core file size +0 +0 `, out)
	require.Regexp(t, `Max cpu time +60 +unlimited `, out)
	// The others are those that the host program was started with.
	want, err := exec.Command("cat", "/proc/self/limits").Output()
	require.NoError(t, err)
	got := output(t, cat(sb, root, "/proc/self/limits"))
	require.Equal(t, strings.TrimSuffix(string(want), "\n"), got)
}

// TestRlimitRefused: the error says which limit it is. Where CAP_SYS_RESOURCE
// allows all, the test runs in another process without it.
func TestRlimitRefused(t *testing.T) {
	root := busyboxRoot(t)
	if hasCapability(unix.CAP_SYS_RESOURCE) {
		exe, err := os.Executable()
		require.NoError(t, err)
		out, err := exec.Command("setpriv", "--bounding-set=-sys_resource", exe, "-test.run=^TestRlimitRefused$", "-test.v").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestRlimitRefused")
		return
	}
	sb := newSandbox(t, sandbox.Config{})
	cmd := cat(sb, root)
	cmd.Name, cmd.Rlimits = "main", []sandbox.Rlimit{{Type: "RLIMIT_NOFILE", Soft: 1, Hard: 1 << 30}}
	_, err := cmd.Start(t.Context())
	require.ErrorIs(t, err, syscall.EPERM)
	require.ErrorContains(t, err, "RLIMIT_NOFILE")
	var e *launch.Error
	require.ErrorAs(t, err, &e)
	requireNoTrace(t, sb)
}

// self is the test's own program as a volume, and selfCommand a command that runs
// one of its children among the host's programs.
func self(t testing.TB) volume.Volume {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return volume.Volume{Name: "self", Source: volume.HostPath{Path: path, Type: volume.HostPathFile}}
}

func selfCommand(sb *sandbox.Sandbox, child string, args ...string) *sandbox.Cmd {
	cmd := sb.Command("/run/self", testutil.ChildCommand(child, args...).Args[1:]...)
	cmd.Rootfs, cmd.Mounts = sandbox.HostRoot{}, []volume.Mount{mount("self", "/run/self")}
	return cmd
}

// sessionKeyring is the number of the calling process's session keyring.
func sessionKeyring() (int, error) {
	return unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
}

var _ = testutil.Child("keyring", func([]string) {
	id, err := sessionKeyring()
	fmt.Println(id, err)
})

// TestKeyring: keys of the host's session are not a container's.
func TestKeyring(t *testing.T) {
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, "keyrings")
	host, err := sessionKeyring()
	require.NoError(t, err)
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{self(t)}})
	a, b := output(t, selfCommand(sb, "keyring")), output(t, selfCommand(sb, "keyring"))
	require.Regexp(t, `^\d+ <nil>$`, a)
	require.NotEqual(t, a, b)
	require.NotEqual(t, fmt.Sprint(host, " <nil>"), a)
	require.NotEqual(t, fmt.Sprint(host, " <nil>"), b)
}
