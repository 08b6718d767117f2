package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/program"
	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/undo"
	"github.com/barepod/barepod/namespace"
)

// startInit starts PID 1 of a shared PID namespace. It waits for the commit;
// if we die before, it reads the end of its status socket and exits.
func (s *Sandbox) startInit(ctx context.Context, nursery *namespace.Handle, lock *state.Lock, u *undo.Stack) error {
	if !s.cfg.ShareProcessNamespace {
		return nil
	}
	group, err := s.initGroup(u)
	if err != nil {
		return err
	}
	dir, err := keepersDir(group)
	if err != nil {
		return err
	}
	if dir != nil {
		defer dir.Close()
	}
	prog := (&program.Init{
		Name:    "barepod-init: " + s.cfg.ID,
		Nursery: nursery.File(),
		Net:     s.sharedFile(namespace.Net), IPC: s.sharedFile(namespace.IPC), UTS: s.sharedFile(namespace.UTS),
		Cgroup: dir, DieWithStarter: s.cfg.DieWithCreator, Hold: s.cfg.Cgroup.Driver == cgroup.Systemd,
	}).Program()
	// The lock goes along until the commit, and with it the wait of a Remove
	// that comes after our death.
	prog.File(lock.File(), "lock")
	run, err := prog.Start([3]*os.File{}, s.cfg.StateDir)
	if err != nil {
		return err
	}
	s.init = run
	u.Push("end launcher of PID 1", func(context.Context) error { return run.Kill() })
	if err := fault.Point("new.init.launched"); err != nil {
		return err
	}
	if s.cfg.Cgroup.Driver == cgroup.Systemd {
		if err := errors.Join(group.Adopt(run.PID()), run.Send([]byte(program.Go))); err != nil {
			return err
		}
	}
	pid, pidfd, err := receiveInit(ctx, run)
	s.pid1 = pidfd
	if pidfd != nil {
		u.Push("end PID 1", func(ctx context.Context) error { return killProcess(ctx, pidfd) })
	}
	if err != nil {
		return err
	}
	if err := fault.Point("new.init.reported"); err != nil {
		return err
	}
	id, err := state.Identify(pid)
	if err != nil {
		return err
	}
	s.res.Init = &id
	ns, err := namespace.OfProcess(pidfd, namespace.PID)
	if err != nil {
		return err
	}
	s.shared = append(s.shared, ns)
	s.res.Namespaces[namespace.PID] = ns.ID()
	return (&anchor{mnt: s.anchor}).pinPID(ns)
}

// initName is the name of PID 1's group with systemd; no container can have it.
const initName = "pid.1"

// initGroup is the group whose keepers PID 1 is one of: the pod's, or with
// systemd, where a slice cannot hold a process, one of its own.
func (s *Sandbox) initGroup(u *undo.Stack) (*cgroup.Group, error) {
	if s.cfg.Cgroup.Driver != cgroup.Systemd {
		return s.cgroup, nil
	}
	g, err := cgroup.Create(s.cfg.Cgroup, s.cfg.ID, initName)
	if err == nil {
		u.Push("remove cgroup of PID 1", g.Remove)
	}
	return g, err
}

// receiveInit reads the launcher's report and reaps the launcher.
func receiveInit(ctx context.Context, run *launch.Run) (int, *os.File, error) {
	msg, files, err := run.Receive(ctx, program.ReportSize, 1)
	if err != nil {
		return 0, nil, fmt.Errorf("start PID 1: %w", err)
	}
	if len(msg) != program.ReportSize || len(files) != 1 {
		closeAll(files...)
		return 0, nil, errors.New("start PID 1: BUG: malformed report")
	}
	return int(binary.LittleEndian.Uint32(msg[8:])), files[0], run.Reap()
}

// commitInit tells PID 1 that the sandbox is made.
func (s *Sandbox) commitInit() error {
	if s.init == nil {
		return nil
	}
	if err := s.init.Send([]byte(program.Go)); err != nil {
		return err
	}
	if s.cfg.DieWithCreator {
		return nil // it goes on reading; our end is closed by Close, or our death
	}
	err := s.init.Close()
	s.init = nil
	return err
}

// sharedFile is the descriptor of a namespace that a process has to join, nil
// if it is the host's.
func (s *Sandbox) sharedFile(kind namespace.Kind) *os.File {
	if s.cfg.fromHost().Has(kind) {
		return nil
	}
	if h := s.shared.Of(kind); h != nil {
		return h.File()
	}
	return nil
}

// killProcess kills a process and waits until it has ended.
func killProcess(ctx context.Context, pidfd *os.File) error {
	if err := sys.PidfdSendSignal(pidfd, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return state.WaitPidfd(ctx, pidfd)
}

// lifeline is the pipe that keepers of a DieWithCreator sandbox watch.
type lifeline struct{ r, w *os.File }

func (s *Sandbox) openLifeline() error {
	if !s.cfg.DieWithCreator {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	s.lifeline = &lifeline{r, w}
	return nil
}

// reader is the end for the keepers; nil without a lifeline.
func (l *lifeline) reader() *os.File {
	if l == nil {
		return nil
	}
	return l.r
}

// Close ends what holds on to the lifeline.
func (l *lifeline) Close() error {
	if l == nil {
		return nil
	}
	return errors.Join(l.r.Close(), l.w.Close())
}
