package pod

import (
	"context"
	"errors"

	"github.com/barepod/barepod/internal/undo"
	"github.com/barepod/barepod/sandbox"
)

// Start starts the containers in the order of the Spec, each when the program of
// the one before is executed. Containers that run already are left alone, those
// that have ended are started again. If one cannot be started, those that this
// call has started are killed, and the cause is returned.
//
// The context bounds the call, never the containers.
func (p *Pod) Start(ctx context.Context) error {
	return wrap("start", p.ID(), p.start(ctx))
}

func (p *Pod) start(ctx context.Context) (err error) {
	var u undo.Stack
	defer func() {
		if err != nil {
			err = u.Unwind(ctx, err)
		}
	}()
	for _, c := range p.containers {
		err := c.start(ctx)
		if errors.Is(err, sandbox.ErrExist) {
			continue // runs already, or somebody else is starting it
		}
		if err != nil {
			return c.wrap("start", err)
		}
		u.Push("kill container "+c.spec.Name, c.kill)
	}
	u.Release()
	return nil
}

// Wait waits until no container runs any more, and returns the status then. That
// a container has failed is no error. If none was ever started, the error is
// ErrNotStarted. Any number of goroutines and processes may wait.
//
// A container that is started again while Wait waits for another one is waited
// for, too. If the pod is removed meanwhile, Wait returns how its containers were
// killed, or an error that matches sandbox.ErrNotExist if that is gone already.
func (p *Pod) Wait(ctx context.Context) (Status, error) {
	s, err := p.wait(ctx)
	return s, wrap("wait", p.ID(), err)
}

func (p *Pod) wait(ctx context.Context) (Status, error) {
	for seen := false; ; {
		s, err := p.status(ctx)
		if err != nil {
			return s, err
		}
		running, started := false, false
		for i, c := range s.Containers {
			started = started || c.State.Waiting == nil
			if c.State.Running == nil {
				continue
			}
			running, seen = true, true
			// How it ended is read with the next status.
			if _, err := p.containers[i].wait(ctx); err != nil && !errors.Is(err, sandbox.ErrExitUnknown) {
				return s, p.containers[i].wrap("wait", err)
			}
		}
		switch {
		case !started && seen: // a Remove is under way
			s.Phase = PhaseUnknown
			return s, sandbox.ErrNotExist
		case !started:
			return s, ErrNotStarted
		case !running:
			return s, nil
		}
	}
}

// Stop ends all containers, at the same time: each gets its stop signal, and
// whatever is left of it after the TerminationGracePeriod is killed. That
// containers do not run is no error.
//
// If ctx ends before, Stop kills nothing and returns its error: containers have
// had their signal and may run or not. Stop may be called again; Remove, and Kill of
// the containers, do without a grace period.
func (p *Pod) Stop(ctx context.Context) error {
	return wrap("stop", p.ID(), p.stop(ctx))
}

func (p *Pod) stop(ctx context.Context) error {
	errs := make([]error, len(p.containers))
	done := make(chan struct{})
	for i, c := range p.containers {
		go func() {
			defer func() { done <- struct{}{} }()
			errs[i] = c.wrap("stop", c.stop(ctx))
		}()
	}
	for range p.containers {
		<-done
	}
	return errors.Join(errs...)
}
