//go:build linux

package program

import (
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

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
	// Not the host's session keyring. ENOSYS: a kernel without keys.
	p.Call("keyctl", launch.Named(unix.KEYCTL_JOIN_SESSION_KEYRING, "KEYCTL_JOIN_SESSION_KEYRING"), launch.Null).Ignore(unix.ENOSYS)
	for _, r := range b.Rlimits {
		p.Note("set %s", r.Name)
		p.Call("prlimit64", launch.Int(0), launch.Named(int64(r.Resource), r.Name), p.Rlimit(r.Soft, r.Hard), launch.Null)
	}
	p.Note("close what is not the program's")
	p.Call("umask", launch.Octal(0o022))
	p.Call("fcntl", launch.Status, launch.Named(unix.F_SETFD, "F_SETFD"), launch.Named(unix.FD_CLOEXEC, "FD_CLOEXEC"))
	// Before the credentials change: that may make the process dumpable again
	// (fs.suid_dumpable=1), and so its descriptors a prey to processes of the
	// same user in a shared PID namespace (CVE-2016-9962).
	p.Call("close_range", launch.Int(launch.StatusFD+1), maxFD, launch.Int(0))
	b.credentials(p)
	// Only now: no descriptor of the host is left that the path could lead
	// through (CVE-2024-21626).
	p.Note(NoteDir+"%s", b.Dir)
	p.Call("chdir", p.Str(b.Dir))
	p.Note("wait for the starter")
	orphan := p.NewLabel("orphan")
	p.IfZero(readByte(p, orphan), orphan)
	if b.Lifeline == nil {
		// It is on record now, and outlives even the keeper.
		parentDeath(p, launch.Int(0))
	}
	b.exec(p)
	p.Place(orphan)
	p.Call("exit_group", launch.Int(126))
}

// readByte reads a byte of the starter's and returns 0 if there is none. It
// jumps to gone if the starter ended with a message of ours unread.
func readByte(p *launch.Program, gone *launch.Label) launch.Arg {
	return p.Call("read", launch.Status, p.Buffer(8, "byte"), launch.Int(1)).On(unix.ECONNRESET, gone).Result()
}

func (b *Birth) credentials(p *launch.Program) {
	prctl := func(op int, name string, args ...launch.Arg) {
		p.Call("prctl", append([]launch.Arg{launch.Named(int64(op), name)}, args...)...)
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
	// Again: setresuid clears it.
	parentDeath(p, launch.Named(int64(unix.SIGKILL), "SIGKILL"))
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
