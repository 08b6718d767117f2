package sandbox_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// cgroupsOf returns the cgroups of a process.
func cgroupsOf(t testing.TB, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	require.NoError(t, err)
	return string(text)
}

// TestExec: a further command is in all namespaces and the cgroup of its
// container, and has its settings.
func TestExec(t *testing.T) {
	root := busyboxRoot(t)
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			sb := newSandbox(t, sandbox.Config{ShareProcessNamespace: shared, Volumes: []volume.Volume{memory("mem", 0)}})
			main := sb.Command("/bin/sleep", "1000")
			main.Name, main.Rootfs, main.Mounts = "main", sandbox.Dir{Path: root}, []volume.Mount{mount("mem", "/mem")}
			main.Env, main.Dir, main.User = []string{"PATH=/bin", "A=1"}, "/tmp", sandbox.User{UID: 1000, GID: 1001, Groups: []uint32{7}}
			main.Capabilities.Drop, main.Rlimits = []string{"MKNOD"}, []sandbox.Rlimit{{Type: "RLIMIT_NOFILE", Soft: 99, Hard: 99}}
			p := start(t, main)
			again, err := sb.Process(t.Context(), "main")
			require.NoError(t, err)
			defer again.Close()
			for name, of := range map[string]*sandbox.Process{"of the starter": p, "of another handle": again} {
				t.Run(name, func(t *testing.T) {
					cmd := of.Exec("sleep", "1000")
					more := start(t, cmd)
					require.Equal(t, nsOf(t, fmt.Sprint(p.PID())), nsOf(t, fmt.Sprint(more.PID())))
					require.Equal(t, cgroupsOf(t, p.PID()), cgroupsOf(t, more.PID()))
					for _, file := range []string{"environ", "limits", "mountinfo"} {
						want, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID(), file))
						require.NoError(t, err)
						got, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", more.PID(), file))
						require.NoError(t, err)
						require.Equal(t, string(want), string(got), file)
					}
					a, b := statusOf(t, p.PID()), statusOf(t, more.PID())
					for _, key := range []string{"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Umask", "SigIgn"} {
						require.Equal(t, a[key], b[key], key)
					}
					require.Equal(t, "/tmp", inside(t, of, "pwd; touch /mem/x"))
					require.NoError(t, more.Kill(t.Context()))
					require.Equal(t, syscall.SIGKILL, wait(t, more).Signal)
					require.NoError(t, p.Signal(0), "the container runs on")
				})
			}
		})
	}
}

func statusOf(t testing.TB, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	return fields(string(text))
}

// TestExecChanged: what a further command may have of its own.
func TestExecChanged(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	p := idle(t, sb, sandbox.Dir{Path: root}, "main")
	cmd := p.Exec("sh", "-c", "echo $A; pwd; id -u; grep CapEff /proc/self/status; cat; exit 7")
	cmd.Name, cmd.Env, cmd.Dir, cmd.User.UID = "more", []string{"PATH=/bin", "A=b"}, "/etc", 5
	cmd.Stdin = strings.NewReader("in")
	out, exit := run(t, cmd)
	require.Equal(t, []string{"b", "/etc", "5", "CapEff:\t0000000000000000", "in"}, lines(out))
	require.Equal(t, 7, exit.Code)
	more, err := sb.Process(t.Context(), "more")
	require.NoError(t, err)
	defer more.Close()
	require.Equal(t, 7, wait(t, more).Code)
	status, err := more.Status()
	require.NoError(t, err)
	require.Equal(t, "main", status.Target)
	for field, change := range map[string]func(*sandbox.Cmd){
		"Rootfs":    func(c *sandbox.Cmd) { c.Rootfs = sandbox.Scratch{} },
		"Mounts":    func(c *sandbox.Cmd) { c.Mounts = []volume.Mount{mount("a", "/a")} },
		"Resources": func(c *sandbox.Cmd) { c.Resources.Memory = 1 << 20 },
	} {
		cmd := p.Exec("true")
		change(cmd)
		_, err := cmd.Start(t.Context())
		requireField(t, err, field)
	}
	_, err = p.Exec("/bin/none").Start(t.Context())
	requireField(t, err, "Path")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestExecEnded: there is no container to be in any more.
func TestExecEnded(t *testing.T) {
	root := busyboxRoot(t)
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			sb := newSandbox(t, sandbox.Config{ShareProcessNamespace: shared})
			cmd := shell(sb, sandbox.Dir{Path: root}, "true")
			cmd.Name = "main"
			p := start(t, cmd)
			wait(t, p)
			again, err := sb.Process(t.Context(), "main")
			require.NoError(t, err)
			defer again.Close()
			for _, of := range []*sandbox.Process{p, again} {
				_, err := of.Exec("/bin/true").Start(t.Context())
				require.ErrorIs(t, err, sandbox.ErrProcessDone)
				require.ErrorIs(t, err, os.ErrProcessDone)
			}
			status, err := sb.Status(t.Context())
			require.NoError(t, err)
			require.Len(t, status.Processes, 1, "nothing left of the attempts")
		})
	}
}

// TestExecOfExec: a command started beside a further command is in the same
// container.
func TestExecOfExec(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	main := idle(t, sb, sandbox.Dir{Path: root}, "main")
	cmd := main.Exec("/bin/sleep", "1000")
	cmd.Name = "second"
	second := start(t, cmd)
	cmd = second.Exec("/bin/sleep", "1000")
	cmd.Name = "third"
	third := start(t, cmd)
	require.Equal(t, cgroupsOf(t, main.PID()), cgroupsOf(t, third.PID()))
	again, err := sb.Process(t.Context(), "third")
	require.NoError(t, err)
	defer again.Close()
	for _, p := range []*sandbox.Process{third, again} {
		stats, err := p.Stats(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(3), stats.PIDs)
		status, err := p.Status()
		require.NoError(t, err)
		require.Equal(t, "main", status.Target)
	}
	fourth := start(t, again.Exec("/bin/sleep", "1000"))
	require.Equal(t, cgroupsOf(t, main.PID()), cgroupsOf(t, fourth.PID()))
	require.NoError(t, again.Kill(t.Context()))
	require.NoError(t, main.Signal(0))
	require.NoError(t, main.Kill(t.Context()))
	for _, p := range []*sandbox.Process{main, second, third, fourth} {
		require.Equal(t, syscall.SIGKILL, wait(t, p).Signal)
		require.ErrorIs(t, p.Signal(0), os.ErrProcessDone)
	}
}
