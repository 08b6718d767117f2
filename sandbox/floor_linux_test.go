package sandbox_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// floor is a static program that gives another one the PID and mount namespaces
// and the mounts of a container, and waits for it: bare system calls in a row,
// with no keeper, no cgroup, no credentials, no record, and nothing that is
// resolved safely.
type floor struct{ *launch.Program }

func floorImage(b *testing.B, root string) string {
	b.Helper()
	p := floor{launch.New("floor")}
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWPID|unix.CLONE_NEWNS|unix.CLONE_NEWIPC))
	child := p.NewLabel("child")
	pid := p.Call("clone", launch.CloneFlags(int(unix.SIGCHLD)), launch.Null, launch.Null, launch.Null, launch.Null).Result()
	p.IfZero(pid, child)
	status, bad := p.Buffer(8, "status"), p.NewLabel("bad")
	p.Call("wait4", pid, status, launch.Int(0), launch.Null)
	p.IfNot(status.Load(), 0xffffffff, 0, bad)
	p.Call("exit_group", launch.Int(0))
	p.Place(bad)
	p.Call("exit_group", launch.Int(1))

	p.Place(child)
	p.mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE)
	p.mount(root, root, "", unix.MS_BIND)
	p.Call("chdir", p.Str(root))
	p.kernel()
	p.dev()
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		p.bind("/dev/null", "etc/"+name)
	}
	p.Call("pivot_root", p.Str("."), p.Str("."))
	p.Call("umount2", p.Str("."), launch.Int(unix.MNT_DETACH))
	p.Call("execve", p.Str("/true"), p.Strings([]string{"/true"}), p.Strings(nil))
	p.Call("exit_group", launch.Int(1))

	for _, dir := range []string{"proc", "sys", "dev", "etc"} {
		require.NoError(b, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		require.NoError(b, os.WriteFile(filepath.Join(root, "etc", name), nil, 0o600))
	}
	image, err := p.Image(runtime.GOARCH)
	require.NoError(b, err)
	path := filepath.Join(b.TempDir(), "floor")
	require.NoError(b, os.WriteFile(path, image, 0o755))
	return path
}

func (p floor) mount(source, target, fstype string, flags int) {
	p.Call("mount", p.Str(source), p.Str(target), p.Str(fstype), launch.MountFlags(flags), launch.Null)
}

func (p floor) bind(source, target string) { p.mount(source, target, "", unix.MS_BIND) }

// kernel mounts proc and sysfs, and what is masked and read-only there.
func (p floor) kernel() {
	const flags = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	p.mount("proc", "proc", "proc", flags)
	for _, name := range []string{"keys", "timer_list", "interrupts"} {
		p.bind("/dev/null", "proc/"+name)
	}
	p.mount("tmpfs", "proc/acpi", "tmpfs", unix.MS_RDONLY)
	for _, name := range []string{"bus", "fs", "irq", "sys"} {
		p.bind("proc/"+name, "proc/"+name)
		p.mount("", "proc/"+name, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|flags)
	}
	p.mount("sysfs", "sys", "sysfs", flags|unix.MS_RDONLY)
	p.mount("tmpfs", "sys/firmware", "tmpfs", unix.MS_RDONLY)
	p.mount("tmpfs", "sys/fs/cgroup", "tmpfs", flags)
	for _, name := range []string{"cpu", "cpuacct", "memory", "pids", "unified"} {
		p.Call("mkdirat", launch.AtFDCWD, p.Str("sys/fs/cgroup/"+name), launch.Octal(0o755))
		p.Call("mount", p.Str("/sys/fs/cgroup/"+name), p.Str("sys/fs/cgroup/"+name), launch.Null, launch.MountFlags(unix.MS_BIND), launch.Null).
			Ignore(unix.ENOENT) // cgroup v2 has none of these
	}
}

// dev makes /dev with its nodes, links and mounts.
func (p floor) dev() {
	p.mount("tmpfs", "dev", "tmpfs", unix.MS_NOSUID)
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		p.Call("openat", launch.AtFDCWD, p.Str("dev/"+name), launch.OpenFlags(unix.O_WRONLY|unix.O_CREAT), launch.Octal(0o666))
		p.bind("/dev/"+name, "dev/"+name)
	}
	for _, name := range []string{"fd", "stdin", "stdout", "stderr", "core", "ptmx"} {
		p.Call("symlinkat", p.Str("/proc/self/"+name), launch.AtFDCWD, p.Str("dev/"+name))
	}
	for _, m := range [][2]string{{"devpts", "pts"}, {"tmpfs", "shm"}, {"mqueue", "mqueue"}} {
		p.Call("mkdirat", launch.AtFDCWD, p.Str("dev/"+m[1]), launch.Octal(0o755))
		p.mount(m[0], "dev/"+m[1], m[0], unix.MS_NOSUID|unix.MS_NOEXEC)
	}
}
