package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/program"
	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/internal/undo"
	"github.com/barepod/barepod/namespace"
)

// Start starts the command and returns when its program is executed. If it
// fails, nothing of the process is left.
//
// The context bounds the call, never the process: once Start has returned, the
// end of ctx does not affect it. The caller must Close the Process.
func (c *Cmd) Start(ctx context.Context) (*Process, error) {
	if c.sb == nil {
		return nil, wrap("start", "", errors.New("the command is not of Sandbox.Command or Process.Exec"))
	}
	if c.started {
		return nil, wrap("start", c.sb.cfg.ID, errors.New("the command was started already"))
	}
	full := c.complete()
	id := c.sb.cfg.ID + "/" + full.Name
	if err := full.validate(c.sb.cfg.Volumes); err != nil {
		return nil, wrap("start", id, err)
	}
	s := &start{cmd: &full, sb: c.sb, unnamed: c.Name == ""}
	p, err := s.run(ctx)
	if err == nil {
		c.started = true
	}
	return p, wrap("start", id, err)
}

// start is a Start under way.
type start struct {
	sb  *Sandbox
	cmd *Cmd
	// unnamed processes are forgotten with the handle of their starter.
	unnamed bool
	undo    undo.Stack
	files   fileSet // closed when it is over
	entry   *state.Entry
	group   *cgroup.Group
	birth   program.Birth
	prog    *launch.Program
	stdio   stdio
	lock    *state.Lock
	oom     int64
	report  report
}

// report is what the keeper says of itself and its child.
type report struct {
	keeper, child     int
	keeperFD, childFD *os.File
}

func (s *start) run(ctx context.Context) (_ *Process, err error) {
	defer s.files.close()
	if err := s.takeLock(ctx, false); err != nil {
		return nil, err
	}
	defer func() { s.lock.Unlock() }() // when all is undone, if it has to be
	defer func() {
		if s.prog != nil {
			s.prog.Free()
		}
	}()
	defer func() {
		if err != nil {
			s.stdio.abort()
			err = s.undo.Unwind(ctx, err)
		}
	}()
	if t := s.cmd.target; t != nil && t.main == nil {
		return nil, ErrProcessDone
	}
	root, err := s.openRoot()
	if err != nil {
		return nil, err
	}
	var run *launch.Run
	err = runSteps(ctx, "start", []step{
		{"claim", func() error { return s.claim(ctx) }},
		{"intent", s.intent},
		{"layer", func() error { return s.openLayer(root) }},
		{"cgroup", s.join},
		{"stdio", func() error { return s.stdio.open(s.cmd, &s.files) }},
		{"launch", func() (err error) {
			run, err = s.launch(ctx, root)
			return err
		}},
		{"report", func() error { return s.receive(ctx, run) }},
		{"record", func() error { return s.record(ctx, run) }},
		{"go", func() error { return s.execute(ctx, run) }},
	})
	if err != nil {
		return nil, err
	}
	s.undo.Release()
	p := &Process{sb: s.sb, cmd: *s.cmd, entry: s.entry, keeper: s.report.keeperFD, main: s.report.childFD, pid: s.report.child}
	p.copies, p.unnamed = s.stdio.begin(), s.unnamed
	if t := s.cmd.target; t != nil {
		p.target = t.container()
	}
	_ = run.Close() // it runs whatever becomes of our descriptors
	return p, nil
}

// takeLock takes the sandbox's lock: shared, so that nobody removes what is
// being started, or exclusive.
func (s *start) takeLock(ctx context.Context, exclusive bool) (err error) {
	s.lock, err = s.sb.entry.Lock(ctx, exclusive)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotExist
	}
	return err
}

// claim takes the process's name: by mkdir, or, if a process of that name was
// there and has ended, by clearing it away while nobody else is starting.
func (s *start) claim(ctx context.Context) (err error) {
	s.entry, err = s.sb.entry.Create(procsDir, s.cmd.Name)
	if errors.Is(err, fs.ErrExist) {
		s.lock.Unlock()
		if err := s.takeLock(ctx, true); err != nil {
			return err
		}
		old, err := openProcess(s.sb, s.cmd.Name)
		if err != nil {
			return err
		}
		if err := errors.Join(old.clear(ctx), old.Close()); err != nil {
			return err
		}
		s.entry, err = s.sb.entry.Create(procsDir, s.cmd.Name)
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	s.undo.Push("close", func(context.Context) error { return s.entry.Close() })
	s.undo.Push("remove record", s.entry.Remove)
	return nil
}

func (s *start) intent() error {
	rec := cmdRecord{Cmd: *s.cmd, Rootfs: tagged(s.cmd.Rootfs)}
	if s.cmd.target != nil {
		rec.Target = s.cmd.target.container()
	}
	return s.entry.Write(cmdFile, rec)
}

// join makes the container's cgroup, or finds it for a further command.
func (s *start) join() (err error) {
	b := &s.birth
	if s.cmd.target != nil {
		s.group, err = s.cmd.target.group()
	} else if s.group, err = cgroup.Create(s.sb.cfg.Cgroup, s.sb.cfg.ID, s.cmd.Name); err == nil {
		s.undo.Push("remove cgroup", func(ctx context.Context) error {
			return errors.Join(s.group.Kill(ctx), s.group.Remove(ctx))
		})
	}
	if err != nil {
		return err
	}
	// With systemd there is no group before a process is adopted.
	b.Hold = s.sb.cfg.Cgroup.Driver == cgroup.Systemd
	if !b.Hold {
		if err := s.limit(); err != nil {
			return err
		}
	}
	j, err := s.group.Join()
	if err != nil {
		return err
	}
	b.Cgroup, b.Tasks = j.Dir, j.Tasks
	s.files.keep(j.Dir)
	if j.Dir == nil && j.Procs != "" {
		b.Tasks = append(b.Tasks, j.Procs)
	}
	if b.KeeperCgroup, err = keepersDir(s.group); err != nil {
		return err
	}
	s.files.keep(b.KeeperCgroup)
	b.OOM = s.group.OOMFile()
	if s.cmd.target != nil {
		s.oom, err = s.group.OOMKills()
		return err
	}
	if s.sb.cfg.ShareProcessNamespace || s.sb.cfg.HostNamespaces.Has(namespace.PID) {
		b.KillRest = s.group.KillFile() // a PID namespace ends with its PID 1 anyway
	}
	return nil
}

// limit sets the container's limits.
func (s *start) limit() error {
	if s.cmd.Resources == (Resources{}) {
		return nil
	}
	return s.group.Set(s.cmd.Resources)
}

// adopt has systemd begin the container's scope with the launcher, which waits.
// What the launcher forks then is in the scope, too.
func (s *start) adopt(run *launch.Run) error {
	if err := s.group.Adopt(run.PID()); err != nil {
		return err
	}
	if s.cmd.target == nil {
		if err := s.limit(); err != nil {
			return err
		}
	}
	return run.Send([]byte(program.Go))
}

// keepersDir opens the cgroup v2 directory for helper processes; nil if there
// is none.
func keepersDir(g *cgroup.Group) (*os.File, error) {
	k, err := g.Keepers()
	if err != nil {
		return nil, err
	}
	j, err := k.Join()
	return j.Dir, err
}

// launch compiles the launch program and starts it.
func (s *start) launch(ctx context.Context, root *openedRoot) (*launch.Run, error) {
	b := &s.birth
	// The record's lock is the keeper's for as long as it lives.
	record, err := s.entry.Lock(ctx, true)
	if err != nil {
		return nil, err
	}
	defer record.Unlock()
	b.Record, b.Lifeline = record.File(), s.sb.lifeline.reader()
	s.cmd.fill(b)
	name := "barepod: " + s.sb.cfg.ID + "/" + s.cmd.Name
	if t := s.cmd.target; t != nil {
		s.prog = (&program.Exec{Birth: *b, Name: name, Target: t.main}).Program()
	} else {
		c := s.container(name, root)
		nursery, err := openNursery(s.sb.cfg.StateDir)
		if err != nil {
			return nil, err
		}
		defer nursery.Close()
		c.Nursery = nursery.File()
		s.prog = c.Program()
	}
	// The lock goes along, and with it the wait of a Remove that finds the
	// program between two of its steps.
	s.prog.File(s.lock.File(), "lock")
	run, err := s.prog.Start(s.stdio.child, s.sb.cfg.StateDir)
	if err != nil {
		return nil, err
	}
	s.undo.Push("end launcher", func(context.Context) error {
		// The end of the status socket has the child exit, too.
		return errors.Join(run.Kill(), run.Close())
	})
	if b.Hold {
		return run, s.adopt(run)
	}
	return run, nil
}

// receive takes the keeper's report and reaps the launcher.
func (s *start) receive(ctx context.Context, run *launch.Run) error {
	msg, files, err := run.Receive(ctx, program.ReportSize, 2)
	if errors.Is(err, io.EOF) {
		return errors.New("the launcher was killed")
	}
	if err != nil {
		return s.explain(err)
	}
	if len(msg) != program.ReportSize || len(files) != 2 {
		closeAll(files...)
		return errors.New("BUG: malformed report of the keeper")
	}
	s.report = report{
		keeper: int(binary.LittleEndian.Uint32(msg[4:])), child: int(binary.LittleEndian.Uint32(msg[8:])),
		keeperFD: files[0], childFD: files[1],
	}
	s.undo.Push("end process", func(ctx context.Context) error {
		defer closeAll(files...)
		return errors.Join(killProcess(ctx, files[1]), killProcess(ctx, files[0]))
	})
	return run.Reap()
}

// record writes down who runs; the child waits for that.
func (s *start) record(ctx context.Context, run *launch.Run) error {
	keeper, kerr := state.Identify(s.report.keeper)
	child, cerr := state.Identify(s.report.child)
	if err := errors.Join(kerr, cerr); err != nil {
		// One of them has ended already: then it says why.
		if _, _, rerr := run.Receive(ctx, program.ReportSize, 0); rerr != nil && !errors.Is(rerr, io.EOF) {
			return s.explain(rerr)
		}
		return fmt.Errorf("the process ended before its program was executed: %w", err)
	}
	return s.entry.Write(startedFile, started{Keeper: keeper, Process: child, At: time.Now(), OOM: s.oom})
}

// execute lets the child go on to its program and waits until it has.
func (s *start) execute(ctx context.Context, run *launch.Run) error {
	sent := run.Send([]byte(program.Go))
	if _, _, err := run.Receive(ctx, program.ReportSize, 0); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("BUG: a second report")
		}
		return s.explain(err)
	}
	if sent != nil {
		return fmt.Errorf("the process ended before its program was executed: %w", sent)
	}
	return nil
}

// explain turns the failure of a call into the error for a field of the
// command, where it is one.
func (s *start) explain(err error) error {
	var e *launch.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case strings.HasPrefix(e.Note, program.NoteExec):
		return &invalid.Error{Field: "Path", Value: s.cmd.Path, Reason: "cannot be executed", Err: e.Errno}
	case s.cmd.target != nil && e.Errno == syscall.ESRCH:
		return ErrProcessDone // it ended while we tried to join it
	case strings.HasPrefix(e.Note, program.NoteDir):
		return &invalid.Error{Field: "Dir", Value: s.cmd.Dir, Reason: "cannot be entered", Err: e.Errno}
	}
	return err
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close() // of nil, too
	}
}
