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
	// What the keeper keeps has the first descriptors.
	record := p.File(b.Record, "record")
	line := launch.Null
	if b.Lifeline != nil {
		line = p.File(nil, "lifeline")
	}
	keep := p.FirstFree()

	b.launcher(p)
	p.Note("prepare the keeper")
	p.Call("setsid")
	p.Call("rt_sigprocmask", launch.Named(unix.SIG_SETMASK, "SIG_SETMASK"), p.Sigset(^uint64(0)), launch.Null, launch.Int(8))
	// A host program that ignores SIGCHLD hands that down, and the kernel would
	// reap the child itself.
	p.Call("rt_sigaction", launch.Named(int64(unix.SIGCHLD), "SIGCHLD"), p.Sigaction(0), launch.Null, launch.Int(8))
	self := p.Call("getpid").Result()
	if b.Lifeline != nil {
		b.lifeline(p, self, line)
	}
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
	b.watch(p, pid, rec, record, keep)

	p.Place(child)
	p.Note("die with the keeper")
	parentDeath(p, launch.Named(int64(unix.SIGKILL), "SIGKILL"))
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

// launcher is the process that forks the keeper and exits.
func (b *Birth) launcher(p *launch.Program) {
	p.Note("prepare the launcher")
	p.Call("prctl", launch.Named(unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), launch.Int(0))
	p.Call("close", launch.Image)
	p.Call("prctl", launch.Named(unix.PR_SET_NAME, "PR_SET_NAME"), p.Str("barepod-keeper"))
	p.Call("chdir", p.Str("/"))
	if b.Hold {
		hold(p)
	}
	p.Note("fork the keeper")
	keeper := p.NewLabel("keeper")
	p.IfZero(fork(p, 0, launch.Null, b.KeeperCgroup, "keepers"), keeper)
	p.Call("exit_group", launch.Int(0))
	p.Place(keeper)
}

// hold has the launcher wait until it is adopted by a cgroup.
func hold(p *launch.Program) {
	p.Note("wait to be adopted")
	orphan, adopted := p.NewLabel("orphan launcher"), p.NewLabel("adopted")
	p.IfNot(readByte(p, orphan), ^uint64(0), 0, adopted)
	p.Place(orphan)
	p.Call("exit_group", launch.Int(126))
	p.Place(adopted)
}

// watch is the keeper once it has reported: it waits for the child and leaves
// the exit record rec in the directory dir. From keep on its descriptors are the
// starter's.
func (b *Birth) watch(p *launch.Program, child, rec, dir launch.Arg, keep int) {
	p.Note("wait for the child")
	// Up to the number that was the image's, which is in use again.
	p.Call("close_range", launch.Int(0), launch.Int(launch.StatusFD+1), launch.Int(0))
	p.Call("close_range", launch.Int(keep), maxFD, launch.Int(0))
	// Now, for later a path might lead to a cgroup made anew.
	kill, oom := cgroupFile(p, b.KillRest, unix.O_WRONLY), cgroupFile(p, b.OOM, unix.O_RDONLY)
	p.Call("wait4", child, rec.Plus(8), launch.Int(0), rec.Plus(48)).Retry(unix.EINTR)

	p.Note("write the exit record")
	p.Call("clock_gettime", realtime, rec.Plus(32))
	// EBADF: there is no such file. ENODEV: it has gone with the cgroup.
	if b.KillRest != "" {
		p.Call("write", kill, p.Str("1"), launch.Int(1)).Ignore(unix.EBADF, unix.ENODEV, unix.ENOENT)
	}
	if b.OOM != "" {
		p.Call("pread64", oom, rec.Plus(recordOOM), launch.Int(oomSize), launch.Int(0)).Ignore(unix.EBADF, unix.ENODEV)
	}
	out := p.Call("openat", dir, p.Str(".exit"),
		launch.OpenFlags(unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW), launch.Octal(0o600)).Result()
	p.Call("write", out, rec, launch.Int(RecordSize))
	p.Call("renameat2", dir, p.Str(".exit"), dir, p.Str(RecordName), launch.Int(0))
	p.Call("exit_group", launch.Int(0))
}

// cgroupFile opens a control file, unless path is empty. Its descriptor is no
// valid one if there is no such file.
func cgroupFile(p *launch.Program, path string, flags int) launch.Arg {
	if path == "" {
		return launch.Null
	}
	return p.Call("openat", launch.AtFDCWD, p.Str(path), launch.OpenFlags(flags)).Ignore(unix.ENOENT, unix.ENODEV).Result()
}

var (
	realtime = launch.Named(unix.CLOCK_REALTIME, "CLOCK_REALTIME")
	maxFD    = launch.Named(0xffffffff, "~0")
)

// parentDeath says with which signal the calling process follows the keeper.
func parentDeath(p *launch.Program, sig launch.Arg) {
	p.Call("prctl", launch.Named(unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG"), sig)
}

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
