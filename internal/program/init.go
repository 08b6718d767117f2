//go:build linux

package program

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// Init is the PID 1 of a PID namespace that containers share: it reaps by
// ignoring SIGCHLD and does nothing else. It is committed by one byte on its
// status socket; its starter's death before that ends it, and with
// DieWithStarter also after it.
type Init struct {
	Name string
	// Nursery is the mount namespace whose copy it lives in, so that its root
	// directory is empty; Net, IPC and UTS are the pod's, nil means the host's.
	Nursery, Net, IPC, UTS *os.File
	// Cgroup is the cgroup v2 directory in which it is born; nil where there
	// is none.
	Cgroup         *os.File
	DieWithStarter bool
	// Hold has the launcher wait for a byte before it does anything.
	Hold bool
}

// Program compiles the launcher and PID 1.
func (i *Init) Program() *launch.Program {
	p := launch.New(i.Name)
	p.Note("prepare the launcher")
	p.Call("prctl", launch.Named(unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), launch.Int(0))
	p.Call("close", launch.Image)
	p.Call("prctl", launch.Named(unix.PR_SET_NAME, "PR_SET_NAME"), p.Str("barepod-init"))
	if i.Hold {
		hold(p)
	}
	p.Note("make the PID namespace")
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWPID))
	report := p.Bytes([]byte{0xff, 0xff, 0xff, 0xff, 15: 0}, "report")
	msg, fds := p.FDMessage(report, ReportSize, 1)
	pid1 := p.NewLabel("pid1")
	pid := fork(p, unix.CLONE_PIDFD, fds, i.Cgroup, "keepers")
	p.IfZero(pid, pid1)
	p.Store32(report.Plus(8), pid)
	p.Call("sendmsg", launch.Status, msg, launch.Named(unix.MSG_NOSIGNAL, "MSG_NOSIGNAL"))
	p.Call("exit_group", launch.Int(0))

	p.Place(pid1)
	p.Note("enter the pod")
	p.Call("setsid")
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWCGROUP))
	enter(p, namespaces{i.Net, i.IPC, i.UTS, i.Nursery}, "nursery")
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWNS))
	p.Note("reap")
	p.Call("rt_sigaction", launch.Named(int64(unix.SIGCHLD), "SIGCHLD"), p.Sigaction(1), launch.Null, launch.Int(8))
	p.Call("close_range", launch.Int(0), launch.Int(launch.StatusFD-1), launch.Int(0))
	p.Note("wait for the commit")
	gone := p.NewLabel("gone")
	p.IfZero(readByte(p, gone), gone)
	// Not before: the starter's lock is among them.
	p.Call("close_range", launch.Int(launch.StatusFD+1), maxFD, launch.Int(0))
	if i.DieWithStarter {
		more := p.Here("more")
		p.IfNot(readByte(p, gone), ^uint64(0), 0, more)
	} else {
		p.Call("close", launch.Status)
		pause := p.Here("pause")
		p.Call("ppoll", launch.Null, launch.Int(0), launch.Null, launch.Null).Ignore(unix.EINTR)
		p.Goto(pause)
	}
	p.Place(gone)
	p.Call("exit_group", launch.Int(0))
	return p
}
