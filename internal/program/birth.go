//go:build linux

package program

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// Birth is what the start of a container and of a further command have in
// common: who watches over the process, and what it is when it executes.
type Birth struct {
	// Record is the directory in which the keeper leaves the exit record.
	Record *os.File
	// OOM is the file whose first 256 bytes the keeper copies into the record
	// when the process has ended; nil where there is none.
	OOM *os.File
	// KillRest is cgroup.kill of the container's cgroup, written when its first
	// process has ended; nil for a further command, and where there is none.
	KillRest *os.File
	// KeeperCgroup is the cgroup v2 directory in which the keeper is born; nil
	// where there is none.
	KeeperCgroup *os.File
	// Cgroup is the cgroup v2 directory in which the child is born; nil where
	// there is none.
	Cgroup *os.File
	// Tasks are the cgroup v1 files with which the child joins its cgroups.
	Tasks []string
	// Lifeline is the read end of a pipe; the processes die when its last
	// write end is closed. Nil: they live on.
	Lifeline *os.File
	// Hold has the launcher wait for a byte before it does anything.
	Hold bool

	// Argv is what is executed. A program without a slash is looked for in
	// Search.
	Argv   []string
	Search []string
	Env    []string
	Dir    string

	UID, GID   uint32
	Groups     []uint32
	Caps       uint64 // effective and permitted if UID is 0, and bounding
	LastCap    int    // the highest capability of the kernel
	NewPrivs   bool   // leave no_new_privs unset
	Rlimits    []Rlimit
	NewSession bool // a session keyring of its own
}

// Rlimit is one resource limit.
type Rlimit struct {
	Resource   int
	Name       string
	Soft, Hard uint64
}

// Sizes of the keeper's messages and files.
const (
	ReportSize = 16  // {0xffffffff, keeper's pid, child's pid, 0}, with two pidfds
	RecordSize = 448 // see ParseRecord
	recordOOM  = 192
	oomSize    = RecordSize - recordOOM
)

// RecordName is the exit record's name in its directory.
const RecordName = "exit"

// How the notes of two calls begin whose failure is the caller's mistake.
const (
	NoteDir  = "change to the working directory "
	NoteExec = "execute "
)

// Go is the message on which a child executes its program.
const Go = "g"

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

// finish is the child from inside its root to execve.
func (b *Birth) finish(p *launch.Program) {
	p.Note("reset the signals")
	p.Call("setsid")
	sig := p.Var()
	next := p.Here("signal")
	p.Sum(sig, sig, launch.Int(1))
	// EINVAL: SIGKILL and SIGSTOP.
	p.Call("rt_sigaction", sig, p.Sigaction(0), launch.Null, launch.Int(8)).Ignore(unix.EINVAL)
	p.IfNot(sig, ^uint64(0), 64, next)
	p.Call("rt_sigprocmask", launch.Named(unix.SIG_SETMASK, "SIG_SETMASK"), p.Sigset(0), launch.Null, launch.Int(8))
	if b.NewSession {
		// Not the host's session keyring. ENOSYS: a kernel without keys.
		p.Call("keyctl", launch.Named(unix.KEYCTL_JOIN_SESSION_KEYRING, "KEYCTL_JOIN_SESSION_KEYRING"), launch.Null).Ignore(unix.ENOSYS)
	}
	for _, r := range b.Rlimits {
		p.Note("set %s", r.Name)
		p.Call("prlimit64", launch.Int(0), launch.Named(int64(r.Resource), r.Name), p.Rlimit(r.Soft, r.Hard), launch.Null)
	}
	b.credentials(p)

	p.Note("close what is not the program's")
	p.Call("umask", launch.Octal(0o022))
	p.Call("fcntl", launch.Status, launch.Named(unix.F_SETFD, "F_SETFD"), launch.Named(unix.FD_CLOEXEC, "FD_CLOEXEC"))
	p.Call("close_range", launch.Int(launch.StatusFD+1), maxFD, launch.Int(0))
	// Only now: no descriptor of the host is left that the path could lead
	// through (CVE-2024-21626).
	p.Note(NoteDir+"%s", b.Dir)
	p.Call("chdir", p.Str(b.Dir))
	p.Note("wait for the starter")
	byte1 := p.Buffer(8, "byte")
	orphan := p.NewLabel("orphan")
	p.IfZero(p.Call("read", launch.Status, byte1, launch.Int(1)).Result(), orphan)
	b.exec(p)
	p.Place(orphan)
	p.Call("exit_group", launch.Int(126))
}

func (b *Birth) credentials(p *launch.Program) {
	prctl := func(op int, name string, args ...launch.Arg) *launch.Call {
		return p.Call("prctl", append([]launch.Arg{launch.Named(int64(op), name)}, args...)...)
	}
	p.Note("drop capabilities")
	prctl(unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT", launch.Named(unix.PR_CAP_AMBIENT_CLEAR_ALL, "PR_CAP_AMBIENT_CLEAR_ALL"), launch.NoArg, launch.NoArg, launch.NoArg)
	for c := range b.LastCap + 1 {
		if b.Caps&(1<<c) == 0 {
			prctl(unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP", launch.Int(c))
		}
	}
	p.Note("become user %d, group %d", b.UID, b.GID)
	p.Call("setgroups", launch.Int(len(b.Groups)), p.Groups(b.Groups))
	p.Call("setresgid", launch.Int(b.GID), launch.Int(b.GID), launch.Int(b.GID))
	p.Call("setresuid", launch.Int(b.UID), launch.Int(b.UID), launch.Int(b.UID))
	p.Note("set capabilities")
	caps := b.Caps
	if b.UID != 0 {
		caps = 0
	}
	header, data := p.Capabilities(caps)
	p.Call("capset", header, data)
	if b.Lifeline != nil {
		// After setresuid, which clears it.
		prctl(unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG", launch.Named(int64(unix.SIGKILL), "SIGKILL"))
	}
	if !b.NewPrivs {
		p.Note("set no_new_privs")
		prctl(unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS", launch.Int(1), launch.NoArg, launch.NoArg, launch.NoArg)
	}
}

// exec executes the program, trying the directories of Search as execvp(3)
// does.
func (b *Birth) exec(p *launch.Program) {
	p.Note(NoteExec+"%s", b.Argv[0])
	argv, env := p.Strings(b.Argv), p.Strings(b.Env)
	paths := b.Search
	if len(paths) == 0 {
		paths = []string{b.Argv[0]}
	}
	for i, path := range paths {
		call := p.Call("execve", p.Str(path), argv, env)
		if i < len(paths)-1 {
			call.Ignore(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
		}
	}
}
