package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/program"
	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/tree"
)

// Process is a handle of a process in a sandbox, running or ended. Any process
// may have one ([Sandbox.Process]), and its methods may be called from several
// goroutines.
type Process struct {
	sb     *Sandbox
	cmd    Cmd
	target string // of a further command: the container's name
	entry  *state.Entry
	keeper *os.File // pidfd; nil if it has ended
	main   *os.File // pidfd; nil if it has ended
	pid    int
	copies *copies
	// unnamed: Close forgets the process if it has ended.
	unnamed bool
	close   sync.Once
}

// Process returns a handle of the process that was started with the name, also
// after it has ended. The error matches ErrNotExist if there is none. The
// caller must Close it.
func (s *Sandbox) Process(ctx context.Context, name string) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, wrap("open", s.cfg.ID+"/"+name, err)
	}
	if err := invalid.Label("name", name); err != nil {
		return nil, wrap("open", s.cfg.ID, err)
	}
	p, err := openProcess(s, name)
	return p, wrap("open", s.cfg.ID+"/"+name, err)
}

func openProcess(s *Sandbox, name string) (_ *Process, err error) {
	entry, err := s.entry.Open(procsDir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	p := &Process{sb: s, entry: entry, copies: noCopies}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	var rec cmdRecord
	if err := entry.Read(cmdFile, &rec); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	p.cmd, p.target = rec.Cmd, rec.Target
	p.cmd.Name = name
	if rec.Rootfs != nil {
		p.cmd.Rootfs = rec.Rootfs.Rootfs
	}
	var st started
	if err := entry.Read(startedFile, &st); errors.Is(err, fs.ErrNotExist) {
		return p, nil
	} else if err != nil {
		return nil, err
	}
	p.pid = st.Process.PID
	if p.keeper, err = openRunning(st.Keeper); err != nil {
		return nil, err
	}
	p.main, err = openRunning(st.Process)
	return p, err
}

// noCopies is for a process whose streams we do not copy.
var noCopies = (&stdio{}).begin()

// openRunning opens a recorded process; nil if it has ended.
func openRunning(p state.Proc) (*os.File, error) {
	f, err := p.Open()
	if errors.Is(err, os.ErrProcessDone) {
		return nil, nil
	}
	return f, err
}

// Name returns the process's name in its sandbox.
func (p *Process) Name() string { return p.cmd.Name }

// PID returns the process's number as the host has it. It may belong to another
// process when this one has ended; use Signal and not the number.
func (p *Process) PID() int { return p.pid }

// Wait waits until the process has ended and, if its streams are copied by this
// handle, for the copying, and returns how it ended. A code that is not 0 is no
// error. Any number of goroutines and processes may wait, also after the end.
// The error matches ErrExitUnknown if nobody knows any more.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	exit, err := p.wait(ctx)
	return exit, wrap("wait", p.id(), err)
}

func (p *Process) wait(ctx context.Context) (Exit, error) {
	if p.keeper != nil {
		if err := state.WaitPidfd(ctx, p.keeper); err != nil {
			return Exit{}, err
		}
	}
	exit, err := readExit(p.entry)
	if errors.Is(err, ErrExitUnknown) && p.main != nil {
		// The keeper was killed: the process may run on.
		if err := state.WaitPidfd(ctx, p.main); err != nil {
			return Exit{}, err
		}
	}
	if err != nil {
		return Exit{}, err
	}
	select {
	case <-p.copies.done:
		return exit, p.copies.err
	case <-ctx.Done():
		return exit, ctx.Err()
	}
}

// readExit reads the keeper's record.
func readExit(entry *state.Entry) (Exit, error) {
	b, err := entry.ReadFile(program.RecordName)
	if errors.Is(err, fs.ErrNotExist) {
		return Exit{}, ErrExitUnknown
	}
	if err != nil {
		return Exit{}, err
	}
	r, err := program.ParseRecord(b)
	if err != nil {
		return Exit{}, err
	}
	exit := Exit{
		StartedAt: r.StartedAt, FinishedAt: r.FinishedAt,
		UserTime: r.UserTime, SystemTime: r.SystemTime, MaxRSS: r.MaxRSS,
	}
	status := syscall.WaitStatus(r.Status)
	if status.Signaled() {
		exit.Signal = status.Signal()
		exit.Code = 128 + int(exit.Signal)
	} else {
		exit.Code = status.ExitStatus()
	}
	var st started
	if err := entry.Read(startedFile, &st); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Exit{}, err
	}
	if len(r.OOM) > 0 {
		kills, err := cgroup.ParseOOMKills(r.OOM)
		if err != nil {
			return Exit{}, err
		}
		exit.OOMKilled = kills > st.OOM
	}
	return exit, nil
}

// Signal sends a signal to the process alone. The error matches ErrProcessDone
// if it has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	return wrap("signal", p.id(), p.signal(sig))
}

func (p *Process) signal(sig syscall.Signal) error {
	if p.main == nil {
		return ErrProcessDone
	}
	err := sys.PidfdSendSignal(p.main, sig)
	if errors.Is(err, syscall.ESRCH) {
		return ErrProcessDone
	}
	return err
}

// Kill kills every process of the container, or for a further command that
// process alone, and waits until its exit record is written. That it has ended
// already is no error.
func (p *Process) Kill(ctx context.Context) error {
	return wrap("kill", p.id(), p.kill(ctx))
}

func (p *Process) kill(ctx context.Context) error {
	if err := fault.Point("kill.processes"); err != nil {
		return err
	}
	if p.target == "" {
		g, err := p.group()
		if err != nil {
			return err
		}
		if err := g.Kill(ctx); err != nil {
			return err
		}
	} else if err := p.signal(syscall.SIGKILL); err != nil && !errors.Is(err, ErrProcessDone) {
		return err
	}
	if err := fault.Point("kill.keeper"); err != nil {
		return err
	}
	for _, pidfd := range []*os.File{p.main, p.keeper} {
		if pidfd == nil {
			continue
		}
		if err := state.WaitPidfd(ctx, pidfd); err != nil {
			return err
		}
	}
	return fault.Point("kill.done")
}

// group is the cgroup that the process is in.
func (p *Process) group() (*cgroup.Group, error) {
	return cgroup.Open(p.sb.cfg.Cgroup, p.sb.cfg.ID, p.container())
}

// container is the name of the container that the process is in.
func (p *Process) container() string {
	if p.target != "" {
		return p.target
	}
	return p.cmd.Name
}

// Stats returns what the process's container uses.
func (p *Process) Stats(ctx context.Context) (Stats, error) {
	if err := ctx.Err(); err != nil {
		return Stats{}, wrap("stats", p.id(), err)
	}
	g, err := p.group()
	if err != nil {
		return Stats{}, wrap("stats", p.id(), err)
	}
	stats, err := g.Stats()
	return stats, wrap("stats", p.id(), err)
}

// Status returns the process as it is now.
func (p *Process) Status() (ProcessStatus, error) {
	st, err := readStatus(p.entry, p.cmd.Name)
	return st, wrap("status", p.id(), err)
}

func readStatus(entry *state.Entry, name string) (ProcessStatus, error) {
	status := ProcessStatus{Name: name, State: Starting}
	var rec cmdRecord
	if err := entry.Read(cmdFile, &rec); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return status, err
	}
	status.Target = rec.Target
	var st started
	if err := entry.Read(startedFile, &st); errors.Is(err, fs.ErrNotExist) {
		return status, exists(entry)
	} else if err != nil {
		return status, err
	}
	status.PID, status.StartedAt = st.Process.PID, st.At
	running, err := openRunning(st.Keeper) // before the record is read: it is written first
	if err == nil && running == nil {
		running, err = openRunning(st.Process) // the keeper was killed
	}
	if err != nil {
		return status, err
	}
	exit, err := readExit(entry)
	switch {
	case err == nil:
		status.State, status.Exit, status.StartedAt = Exited, &exit, exit.StartedAt
	case !errors.Is(err, ErrExitUnknown):
	case running != nil:
		status.State, err = Running, nil
	default:
		status.State, err = Unknown, nil
	}
	closeAll(running)
	return status, err
}

// clear removes what an ended process has left, so that its name is free.
func (p *Process) clear(ctx context.Context) error {
	if ended, err := p.ended(); err != nil {
		return err
	} else if !ended {
		return fmt.Errorf("process %s: %w", p.cmd.Name, ErrExist)
	}
	if p.target == "" {
		g, err := p.group()
		if err != nil {
			return err
		}
		// In a shared PID namespace others of the container may live on.
		populated, err := g.Populated()
		if err == nil && populated {
			err = g.Kill(ctx)
		}
		if err != nil {
			return err
		}
		if err := g.Remove(ctx); err != nil {
			return err
		}
	}
	return p.entry.Remove(ctx)
}

// forget removes the record of an unnamed process that has ended: nobody could
// ask for it by name, and they would pile up with every command.
func (p *Process) forget() error {
	if !p.unnamed {
		return nil
	}
	if ended, err := p.ended(); err != nil || !ended {
		return err
	}
	ctx := context.Background()
	if err := p.clear(ctx); err != nil {
		return err
	}
	if _, ok := p.cmd.Rootfs.(Overlay); !ok {
		return nil
	}
	return tree.Remove(ctx, dataDir(&p.sb.cfg), filepath.Join(layersDir, p.cmd.Name))
}

// ended reports whether the process and its keeper have ended: usually they do
// in this order.
func (p *Process) ended() (bool, error) {
	for _, pidfd := range []*os.File{p.keeper, p.main} {
		if pidfd == nil {
			continue
		}
		if ended, err := sys.PidfdExited(pidfd); err != nil || !ended {
			return false, err
		}
	}
	return true, nil
}

func (p *Process) id() string { return p.sb.cfg.ID + "/" + p.cmd.Name }

// Close drops the handle; a running process stays. It is idempotent. Closing
// the handle that started a process without a name also forgets that process,
// if it has ended.
func (p *Process) Close() error {
	var err error
	p.close.Do(func() {
		err = p.forget()
		if p.keeper != nil {
			err = errors.Join(err, p.keeper.Close())
		}
		if p.main != nil {
			err = errors.Join(err, p.main.Close())
		}
		err = errors.Join(err, p.entry.Close())
	})
	return wrap("close", p.id(), err)
}
