package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/sys"
)

// writeProgram makes an executable of a launch program.
func writeProgram(path string, p *launch.Program) error {
	image, err := p.Image(runtime.GOARCH)
	if err != nil {
		return err
	}
	return os.WriteFile(path, image, 0o755)
}

// floorProgram is a launch program with the descriptors that floorPodState.begin
// gives it: a pipe to report on, what files says, and the container's cgroups.
type floorProgram struct {
	*launch.Program
	floor  *floor
	groups int // the descriptor of the first cgroup
}

func (f *floor) program(files int) floorProgram {
	return floorProgram{launch.New("floor"), f, launch.StatusFD + 1 + files}
}

// startProgram starts a container: a process that waits for it forks its first
// one, which makes itself what a container of barepod is by default. Its files
// are the pod's namespaces net, ipc, uts, mnt.
func (f *floor) startProgram(root, program string) *launch.Program {
	p := f.program(4)
	rootfs := p.Call("open_tree", launch.AtFDCWD, p.Str(root), launch.TreeFlags(unix.OPEN_TREE_CLONE)).Result()
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWPID))
	p.fork()
	p.joinGroups()
	groups := make([]launch.Arg, len(f.hierarchies))
	for i := range groups {
		groups[i] = p.Call("open_tree", launch.Int(p.groups+i), p.Str(""), launch.TreeFlags(unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH)).Result()
	}
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWCGROUP))
	for i, kind := range []int{unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWNS} {
		p.Call("setns", launch.Int(launch.StatusFD+1+i), launch.CloneFlags(kind))
	}
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWNS))
	p.attach(rootfs, floorRoot)
	p.Call("chdir", p.Str(floorRoot))
	p.dev()
	p.kernel(groups) // masks with /dev/null
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		p.bind(floorPod+"/"+name, "etc/"+name)
	}
	p.Call("pivot_root", p.Str("."), p.Str("."))
	p.Call("umount2", p.Str("."), launch.Int(unix.MNT_DETACH))
	p.execute(program)
	return p.Program
}

// execProgram starts a further command. Its file is the container's pidfd.
func (f *floor) execProgram(program string) *launch.Program {
	p := f.program(1)
	target := launch.Int(launch.StatusFD + 1)
	p.Call("setns", target, launch.CloneFlags(unix.CLONE_NEWPID))
	p.fork()
	p.joinGroups()
	p.Call("setns", target, launch.CloneFlags(unix.CLONE_NEWNS|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC|unix.CLONE_NEWNET|unix.CLONE_NEWCGROUP))
	p.execute(program)
	return p.Program
}

// fork leaves behind the process that waits for the child and ends as it did;
// the program goes on in the child.
func (p floorProgram) fork() {
	child, bad := p.NewLabel("child"), p.NewLabel("bad")
	report, status := p.Buffer(8, "report"), p.Buffer(8, "status")
	pid := p.Call("clone", launch.CloneFlags(int(unix.SIGCHLD)), launch.Null, launch.Null, launch.Null, launch.Null).To(report).Result()
	p.IfZero(pid, child)
	p.Call("write", launch.Status, report, launch.Int(8))
	p.Call("close", launch.Status)
	p.Call("wait4", pid, status, launch.Int(0), launch.Null)
	p.IfNot(status.Load(), 0xffffffff, 0, bad)
	p.Call("exit_group", launch.Int(0))
	p.Place(bad)
	p.Call("exit_group", launch.Int(1))
	p.Place(child)
}

// readStatus returns the container's process once its program is executed:
// what forked it writes its number, whoever fails writes the failed call and
// the error, and the end of the pipe is the execution.
func readStatus(pipe int) (pid int, err error) {
	data := make([]byte, 0, 64)
	for {
		n, err := unix.Read(pipe, data[len(data):cap(data)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("read", err)
		}
		if n == 0 {
			break
		}
		data = data[:len(data)+n]
	}
	if len(data) < 8 {
		return 0, io.ErrUnexpectedEOF
	}
	for msg := range len(data) / 8 {
		if errno := binary.LittleEndian.Uint32(data[msg*8+4:]); errno != 0 {
			return 0, fmt.Errorf("the floor's call %d: %w", binary.LittleEndian.Uint32(data[msg*8:]), syscall.Errno(errno))
		}
	}
	return int(binary.LittleEndian.Uint32(data)), nil
}

// joinGroups puts the calling process into the v1 cgroups; in the unified one
// it was born.
func (p floorProgram) joinGroups() {
	for i, h := range p.floor.hierarchies {
		if h.Unified {
			continue
		}
		fd := p.Call("openat", launch.Int(p.groups+i), p.Str("tasks"), launch.OpenFlags(unix.O_WRONLY)).Result()
		p.Call("write", fd, p.Str("0"), launch.Int(1))
		p.Call("close", fd)
	}
}

func (p floorProgram) mount(source, target, fstype string, flags int, options string) {
	p.Call("mount", p.Str(source), p.Str(target), p.Str(fstype), launch.MountFlags(flags), p.Str(options))
}

func (p floorProgram) bind(source, target string) { p.mount(source, target, "", unix.MS_BIND, "") }

// attach mounts a detached mount.
func (p floorProgram) attach(mount launch.Arg, on string) {
	p.Call("move_mount", mount, p.Str(""), launch.AtFDCWD, p.Str(on), launch.MoveFlags(unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// kernel mounts proc, the pod's sysfs and the cgroups, and what is masked and
// read-only there.
func (p floorProgram) kernel(groups []launch.Arg) {
	const flags = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	p.mount("proc", "proc", "proc", flags, "")
	for _, name := range existing("kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "interrupts") {
		p.bind("dev/null", "proc/"+name)
	}
	for _, name := range existing("acpi", "asound", "scsi") {
		p.mount("tmpfs", "proc/"+name, "tmpfs", unix.MS_RDONLY, "size=4k")
	}
	for _, name := range existing("bus", "fs", "irq", "sys", "sysrq-trigger") {
		p.bind("proc/"+name, "proc/"+name)
		p.mount("", "proc/"+name, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|flags, "")
	}
	p.mount(floorPod+"/sys", "sys", "", unix.MS_BIND|unix.MS_REC, "")
	if len(groups) == 1 {
		p.attach(groups[0], "sys/fs/cgroup")
	} else {
		p.mount("tmpfs", "sys/fs/cgroup", "tmpfs", flags, "size=4k,mode=755")
		for i, g := range groups {
			at := fmt.Sprintf("sys/fs/cgroup/%d", i)
			p.Call("mkdirat", launch.AtFDCWD, p.Str(at), launch.Octal(0o755))
			p.attach(g, at)
		}
	}
	p.Call("mount_setattr", launch.AtFDCWD, p.Str("sys/fs/cgroup"), launch.TreeFlags(unix.AT_RECURSIVE), p.MountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0), launch.MountAttrSize)
}

// existing are those of names that /proc has on this machine.
func existing(names ...string) []string {
	var have []string
	for _, name := range names {
		if _, err := os.Stat("/proc/" + name); err == nil {
			have = append(have, name)
		}
	}
	return have
}

// dev makes /dev with its nodes, links and mounts.
func (p floorProgram) dev() {
	p.mount("tmpfs", "dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "size=64k,mode=755")
	for i, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		major, minor := 1, []int{3, 5, 7, 8, 9, 0}[i]
		if name == "tty" {
			major = 5
		}
		p.Call("mknodat", launch.AtFDCWD, p.Str("dev/"+name), launch.Octal(unix.S_IFCHR|0o666), launch.Int(unix.Mkdev(uint32(major), uint32(minor))))
	}
	for _, l := range [][2]string{
		{"/proc/self/fd", "fd"},
		{"/proc/self/fd/0", "stdin"},
		{"/proc/self/fd/1", "stdout"},
		{"/proc/self/fd/2", "stderr"},
		{"/proc/kcore", "core"},
		{"pts/ptmx", "ptmx"},
	} {
		p.Call("symlinkat", p.Str(l[0]), launch.AtFDCWD, p.Str("dev/"+l[1]))
	}
	for _, name := range []string{"pts", "shm", "mqueue"} {
		p.Call("mkdirat", launch.AtFDCWD, p.Str("dev/"+name), launch.Octal(0o755))
	}
	p.mount("devpts", "dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
	p.bind(floorPod+"/shm", "dev/shm")
	p.bind(floorPod+"/mqueue", "dev/mqueue")
}

// execute gives the process the credentials of a container, and its program.
func (p floorProgram) execute(program string) {
	const caps = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FSETID | 1<<unix.CAP_FOWNER |
		1<<unix.CAP_MKNOD | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETFCAP |
		1<<unix.CAP_SETPCAP | 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_KILL | 1<<unix.CAP_AUDIT_WRITE
	p.Call("setsid")
	p.Call("keyctl", launch.Int(unix.KEYCTL_JOIN_SESSION_KEYRING), launch.Null).Ignore(unix.ENOSYS)
	for c := range sys.LastCap() + 1 {
		if caps&(1<<c) == 0 {
			p.Call("prctl", launch.Int(unix.PR_CAPBSET_DROP), launch.Int(c))
		}
	}
	p.Call("setgroups", launch.Int(0), launch.Null)
	header, data := p.Capabilities(caps)
	p.Call("capset", header, data)
	p.Call("prctl", launch.Int(unix.PR_SET_NO_NEW_PRIVS), launch.Int(1), launch.NoArg, launch.NoArg, launch.NoArg)
	p.Call("fcntl", launch.Status, launch.Int(unix.F_SETFD), launch.Int(unix.FD_CLOEXEC))
	p.Call("close_range", launch.Int(launch.StatusFD+1), launch.Hex(0xffffffff), launch.Int(0))
	p.Call("execve", p.Str(program), p.Strings([]string{program}), p.Strings(nil))
	p.Call("exit_group", launch.Int(1)) // not reached: a failure ends the program
}
