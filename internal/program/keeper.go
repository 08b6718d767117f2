//go:build linux

package program

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// begin is the launcher and the keeper up to the child's fork; the program goes
// on in the child. pidns puts the child into its PID namespace.
func (b *Birth) begin(p *launch.Program, pidns func()) {
	record := p.File(b.Record, "record")
	oom := p.File(b.OOM, "oom")
	kill := p.File(b.KillRest, "cgroup.kill")
	line := p.File(nil, "lifeline")
	keep := p.FirstFree() // the keeper closes the descriptors from here on

	p.Note("prepare the launcher")
	p.Call("prctl", launch.Named(unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), launch.Int(0))
	p.Call("close", launch.Image)
	p.Call("prctl", launch.Named(unix.PR_SET_NAME, "PR_SET_NAME"), p.Str("barepod-keeper"))
	p.Call("chdir", p.Str("/"))
	if b.Hold {
		p.Note("wait to be adopted")
		adopted := p.NewLabel("adopted")
		p.IfNot(p.Call("read", launch.Status, p.Buffer(8, "byte"), launch.Int(1)).Result(), ^uint64(0), 0, adopted)
		p.Call("exit_group", launch.Int(126))
		p.Place(adopted)
	}
	p.Note("fork the keeper")
	keeper := p.NewLabel("keeper")
	p.IfZero(fork(p, 0, launch.Null, b.KeeperCgroup, "keepers"), keeper)
	p.Call("exit_group", launch.Int(0))

	p.Place(keeper)
	p.Note("prepare the keeper")
	p.Call("setsid")
	p.Call("rt_sigprocmask", launch.Named(unix.SIG_SETMASK, "SIG_SETMASK"), p.Sigset(^uint64(0)), launch.Null, launch.Int(8))
	self := p.Call("getpid").Result()
	b.lifeline(p, self, line)
	rec := p.Bytes(append([]byte(recordMagic), make([]byte, RecordSize-len(recordMagic))...), "record")
	report := p.Bytes([]byte{0xff, 0xff, 0xff, 0xff, 15: 0}, "report")
	msg, fds := p.FDMessage(report, ReportSize, 2)
	selffd := p.Call("pidfd_open", self, launch.Int(0)).Result()
	pidns()
	p.Note("fork the child")
	p.Call("clock_gettime", realtime, rec.Plus(16))
	child := p.NewLabel("child")
	pid := fork(p, unix.CLONE_PIDFD, fds.Plus(4), b.Cgroup, "cgroup")
	p.IfZero(pid, child)

	p.Note("report the pids")
	p.Store32(report.Plus(4), self)
	p.Store32(report.Plus(8), pid)
	p.Store32(fds, selffd)
	p.Call("sendmsg", launch.Status, msg, launch.Named(unix.MSG_NOSIGNAL, "MSG_NOSIGNAL")).Ignore(unix.EPIPE, unix.ECONNRESET)
	p.Note("wait for the child")
	p.Call("close_range", launch.Int(0), launch.Int(launch.StatusFD), launch.Int(0))
	p.Call("close_range", launch.Int(keep), maxFD, launch.Int(0))
	wait := p.Here("wait")
	p.Call("wait4", pid, rec.Plus(8), launch.Int(0), rec.Plus(48)).On(unix.EINTR, wait)
	p.Note("write the exit record")
	p.Call("clock_gettime", realtime, rec.Plus(32))
	if b.KillRest != nil {
		p.Call("write", kill, p.Str("1"), launch.Int(1)).Ignore(unix.ENODEV, unix.ENOENT)
	}
	if b.OOM != nil {
		p.Call("pread64", oom, rec.Plus(recordOOM), launch.Int(oomSize), launch.Int(0)).Ignore(unix.ENODEV)
	}
	out := p.Call("openat", record, p.Str(".exit"),
		launch.OpenFlags(unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW), launch.Octal(0o600)).Result()
	p.Call("write", out, rec, launch.Int(RecordSize))
	p.Call("renameat2", record, p.Str(".exit"), record, p.Str(RecordName), launch.Int(0))
	p.Call("exit_group", launch.Int(0))

	p.Place(child)
	p.Note("join the cgroup")
	for _, path := range b.Tasks {
		// "0" to tasks moves the calling thread alone and so does without the
		// kernel's global thread group lock: a tenth of what cgroup.procs
		// costs (cgroup_procs_write_start in kernel/cgroup/cgroup.c).
		fd := p.Call("openat", launch.AtFDCWD, p.Str(path), launch.OpenFlags(unix.O_WRONLY)).Result()
		p.Call("write", fd, p.Str("0"), launch.Int(1))
		p.Call("close", fd)
	}
}

var (
	realtime = launch.Named(unix.CLOCK_REALTIME, "CLOCK_REALTIME")
	maxFD    = launch.Named(0xffffffff, "~0")
)

// fork forks, into the cgroup v2 directory dir unless nil, and returns the
// result: 0 in the child.
func fork(p *launch.Program, flags int, pidfd launch.Arg, dir *os.File, name string) launch.Arg {
	cgroup := launch.Null
	if dir != nil {
		flags |= unix.CLONE_INTO_CGROUP
		cgroup = p.File(dir, name)
	}
	args, size := p.CloneArgs(flags, pidfd, cgroup)
	return p.Call("clone3", args, size).Result()
}

// lifeline has the kernel kill the calling process when the last write end of
// the pipe is closed. The owner of such a signal belongs to the open file, so
// the process opens the pipe again.
func (b *Birth) lifeline(p *launch.Program, self, line launch.Arg) {
	if b.Lifeline == nil {
		return
	}
	p.Note("hold the lifeline")
	file := p.File(b.Lifeline, "pipe")
	fd := p.Call("openat", launch.AtFDCWD, p.Str("/proc/self/fd/"+file.Number()), launch.OpenFlags(unix.O_RDONLY|unix.O_NONBLOCK)).Result()
	p.Call("dup3", fd, line, launch.Int(0))
	p.Call("fcntl", line, launch.Named(unix.F_SETOWN, "F_SETOWN"), self)
	p.Call("fcntl", line, launch.Named(unix.F_SETSIG, "F_SETSIG"), launch.Named(int64(unix.SIGKILL), "SIGKILL"))
	p.Call("fcntl", line, launch.Named(unix.F_SETFL, "F_SETFL"), launch.OpenFlags(unix.O_ASYNC|unix.O_NONBLOCK))
	armed := p.NewLabel("armed")
	// Closed before it was armed? Then there is something to read: the end.
	p.Call("read", line, p.Buffer(8, "byte"), launch.Int(1)).On(unix.EAGAIN, armed)
	p.Call("exit_group", launch.Int(1))
	p.Place(armed)
}
