package pod

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/sandbox"
)

// ContainerHandle is a container of a pod as something to act on: a [Container]
// is the description of one, as in Kubernetes, and this is the handle, as in
// namespace.Handle. It comes from [Pod.Container], stands for the container
// through all its restarts, and needs no closing: the Pod does it. Its methods
// may be called from several goroutines, and act on what any process has
// started.
type ContainerHandle struct {
	pod   *Pod
	spec  Container
	index int // in the Spec

	mu     sync.Mutex
	exec   *sandbox.Process // what Exec was last asked for; nil if never
	closed bool
}

// Name returns the container's name.
func (c *ContainerHandle) Name() string { return c.spec.Name }

// Start starts the container, for the first time or, if it has ended, again: with
// the same root file system, whose writable layer is kept, and the same volumes.
// It returns when the program is executed. The error matches sandbox.ErrExist if
// the container runs already. If Start fails, no process is left and the
// container is what it was before.
//
// The context bounds the call, never the container.
func (c *ContainerHandle) Start(ctx context.Context) error {
	return c.wrap("start", c.start(ctx))
}

func (c *ContainerHandle) start(ctx context.Context) error {
	if err := c.remember(ctx); err != nil {
		return err
	}
	cmd := c.pod.sb.Command(c.spec.Command[0], c.spec.Command[1:]...)
	c.spec.fill(cmd)
	if c.spec.LogPath != "" {
		log, err := openLog(c.spec.LogPath)
		if err != nil {
			return c.field(err)
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
	}
	proc, err := cmd.Start(ctx)
	if err != nil {
		return c.field(err)
	}
	return proc.Close()
}

// Wait waits until the container has ended, and returns how. An exit code that is
// not 0 is no error. Any number of goroutines and processes may wait, also after
// the end. The error is ErrNotStarted if the container was never started, and
// matches sandbox.ErrExitUnknown if nobody knows how it ended.
func (c *ContainerHandle) Wait(ctx context.Context) (sandbox.Exit, error) {
	exit, err := c.wait(ctx)
	return exit, c.wrap("wait", err)
}

func (c *ContainerHandle) wait(ctx context.Context) (sandbox.Exit, error) {
	proc, err := c.open(ctx)
	if err != nil && !errors.Is(err, ErrNotStarted) {
		return sandbox.Exit{}, err
	}
	pid := 0
	if proc != nil {
		exit, err := proc.Wait(ctx)
		pid = proc.PID()
		if err := errors.Join(err, proc.Close()); !errors.Is(err, sandbox.ErrExitUnknown) {
			return exit, err
		}
	}
	// Somebody has started it again before we could read how it ended, or has
	// failed to do so.
	h, herr := readHistory(c.pod.sb, c.index)
	if herr != nil {
		return sandbox.Exit{}, herr
	}
	if h.Last != nil && (proc == nil || h.Last.PID == pid) {
		return h.Last.exit()
	}
	if proc == nil {
		return sandbox.Exit{}, ErrNotStarted
	}
	return sandbox.Exit{}, sandbox.ErrExitUnknown
}

// Exec returns a further command in the running container: in all its namespaces
// and its cgroup, with its user, capabilities, environment, directory and limits,
// which may be changed until its Start. It reads like os/exec's. The error
// matches os.ErrProcessDone if the container does not run.
//
// The command can be started as long as the Pod is open and the container is
// not started again. What it has started is independent of both.
func (c *ContainerHandle) Exec(path string, args ...string) (*sandbox.Cmd, error) {
	proc, err := c.running(context.Background()) // which reads files only
	if err != nil {
		return nil, c.wrap("exec", err)
	}
	return proc.Exec(path, args...), nil
}

// Signal sends a signal to the container's first process alone. The error matches
// os.ErrProcessDone if the container does not run. Where that process is PID 1 of
// a PID namespace of its own, the kernel drops signals that it has no handler
// for, all but SIGKILL and SIGSTOP (pid_namespaces(7)).
func (c *ContainerHandle) Signal(sig syscall.Signal) error {
	return c.wrap("signal", c.with(context.Background(), func(p *sandbox.Process) error { return p.Signal(sig) }))
}

// Kill kills every process of the container and waits until its end is recorded.
// That it does not run is no error.
func (c *ContainerHandle) Kill(ctx context.Context) error {
	return c.wrap("kill", c.kill(ctx))
}

func (c *ContainerHandle) kill(ctx context.Context) error {
	return unlessGone(c.with(ctx, func(p *sandbox.Process) error { return p.Kill(ctx) }))
}

// Stop ends the container as [Pod.Stop] does: with its stop signal, and after the
// pod's TerminationGracePeriod by killing it. That it does not run is no error.
// If ctx ends before, Stop kills nothing and returns its error.
func (c *ContainerHandle) Stop(ctx context.Context) error {
	return c.wrap("stop", c.stop(ctx))
}

func (c *ContainerHandle) stop(ctx context.Context) error {
	return unlessGone(c.with(ctx, func(p *sandbox.Process) error { return c.stopProcess(ctx, p) }))
}

func (c *ContainerHandle) stopProcess(ctx context.Context, p *sandbox.Process) error {
	sig, err := c.spec.stopSignal()
	if err != nil {
		return err
	}
	if err := fault.Point("pod.stop.signal"); err != nil {
		return err
	}
	if err := p.Signal(sig); err != nil && !errors.Is(err, sandbox.ErrProcessDone) {
		return err
	}
	if err := fault.Point("pod.stop.wait"); err != nil {
		return err
	}
	grace, cancel := context.WithTimeout(ctx, gracePeriod(c.pod.grace))
	defer cancel()
	_, err = p.Wait(grace)
	switch {
	case err == nil || errors.Is(err, sandbox.ErrExitUnknown):
		if c.ownPIDs() {
			return nil // the kernel has ended the others
		}
		return p.Kill(ctx)
	case ctx.Err() != nil:
		return ctx.Err()
	case grace.Err() != nil:
		return p.Kill(ctx)
	default:
		return err
	}
}

// Status returns the container as it is now.
func (c *ContainerHandle) Status(ctx context.Context) (ContainerStatus, error) {
	s, err := c.status(ctx)
	return s, c.wrap("status", err)
}

func (c *ContainerHandle) status(ctx context.Context) (ContainerStatus, error) {
	// The process before the history: what replaces it is remembered first.
	p, err := c.process(ctx)
	if err != nil {
		return ContainerStatus{}, err
	}
	h, err := readHistory(c.pod.sb, c.index)
	if err != nil {
		return ContainerStatus{}, err
	}
	return statusOf(c.spec.Name, p, h), nil
}

// Stats returns what the container uses. The error is ErrNotStarted if it was
// never started.
func (c *ContainerHandle) Stats(ctx context.Context) (sandbox.Stats, error) {
	var stats sandbox.Stats
	err := c.with(ctx, func(p *sandbox.Process) (err error) {
		stats, err = p.Stats(ctx)
		return err
	})
	return stats, c.wrap("stats", err)
}

func (c *ContainerHandle) wrap(op string, err error) error {
	return wrap(op, c.pod.ID()+"/"+c.spec.Name, err)
}
