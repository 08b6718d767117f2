package pod

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/sandbox"
)

// open returns the container's process, which the caller must close, or
// ErrNotStarted, or sandbox.ErrNotExist if the pod was removed.
func (c *ContainerHandle) open(ctx context.Context) (*sandbox.Process, error) {
	proc, err := c.pod.sb.Process(ctx, c.spec.Name)
	if !errors.Is(err, sandbox.ErrNotExist) {
		return proc, err
	}
	var r json.RawMessage
	err = c.pod.sb.StoreGet(recordKey, &r)
	switch {
	case err == nil:
		return nil, ErrNotStarted
	case errors.Is(err, fs.ErrNotExist):
		return nil, sandbox.ErrNotExist
	default:
		return nil, err
	}
}

// unlessGone takes away the errors that say that nothing was ever started, or
// is there any more.
func unlessGone(err error) error {
	if errors.Is(err, ErrNotStarted) || errors.Is(err, sandbox.ErrNotExist) {
		return nil
	}
	return err
}

// with calls fn with the container's process.
func (c *ContainerHandle) with(ctx context.Context, fn func(*sandbox.Process) error) error {
	proc, err := c.open(ctx)
	if err != nil {
		return err
	}
	err = fn(proc)
	if closed := proc.Close(); closed != nil {
		err = errors.Join(err, closed)
	}
	return err
}

// process returns the status of the container's process, nil if there is none.
func (c *ContainerHandle) process(ctx context.Context) (*sandbox.ProcessStatus, error) {
	var s sandbox.ProcessStatus
	err := c.with(ctx, func(p *sandbox.Process) (err error) {
		s, err = p.Status()
		return err
	})
	if errors.Is(err, ErrNotStarted) {
		return nil, nil //nolint:nilnil // there may be none
	}
	return &s, err
}

// close drops what Exec keeps.
func (c *ContainerHandle) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.exec == nil {
		return nil
	}
	return c.exec.Close()
}

// running returns the container's process, borrowed: commands made of it need it
// open, so the handle keeps it until the container is started again.
func (c *ContainerHandle) running(ctx context.Context) (*sandbox.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, os.ErrClosed
	}
	if c.exec != nil {
		if s, err := c.exec.Status(); err == nil && s.State == sandbox.Running {
			return c.exec, nil
		}
		old := c.exec
		c.exec = nil
		if err := old.Close(); err != nil {
			return nil, err
		}
	}
	proc, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	s, err := proc.Status()
	if err == nil && s.State != sandbox.Running {
		err = sandbox.ErrProcessDone
	}
	if err != nil {
		return nil, errors.Join(err, proc.Close())
	}
	c.exec = proc
	return proc, nil
}

// remember keeps the run that a start is about to replace, if there is one.
func (c *ContainerHandle) remember(ctx context.Context) error {
	p, err := c.process(ctx)
	if err != nil || p == nil {
		return err
	}
	if p.State != sandbox.Exited && p.State != sandbox.Unknown {
		return nil // the start will fail, or replace one that never was
	}
	h, err := readHistory(c.pod.sb, c.index)
	if err != nil {
		return err
	}
	h, changed := h.replace(instanceOf(*p))
	if !changed {
		return nil
	}
	if err := fault.Point("pod.remember"); err != nil {
		return err
	}
	return c.pod.sb.StorePut(historyKey(c.index), h)
}

// ownPIDs reports whether the container has a PID namespace of its own, which
// ends with its first process.
func (c *ContainerHandle) ownPIDs() bool {
	cfg := c.pod.sb.Config()
	return !cfg.ShareProcessNamespace && !cfg.HostNamespaces.Has(namespace.PID)
}
