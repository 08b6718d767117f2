// Package undo rolls back what a call has done when a later step of it fails.
package undo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Timeout bounds a whole rollback.
const Timeout = 30 * time.Second

// Stack is a list of steps to be undone in reverse order. The zero value is
// empty. Use:
//
//	var u undo.Stack
//	defer func() {
//		if err != nil {
//			err = u.Unwind(ctx, err)
//		}
//	}()
type Stack struct{ steps []step }

type step struct {
	name string
	undo func(context.Context) error
}

// Push adds what undoes the step just done.
func (s *Stack) Push(name string, undo func(context.Context) error) {
	s.steps = append(s.steps, step{name, undo})
}

// Release keeps what was done: nothing will be undone.
func (s *Stack) Release() { s.steps = nil }

// Unwind undoes everything, and returns cause joined with what failed. The
// context's values are used, but not its end: that may be the cause.
func (s *Stack) Unwind(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Timeout)
	defer cancel()
	errs := []error{cause}
	for _, step := range slices.Backward(s.steps) {
		if err := step.undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("undo: %s: %w", step.name, err))
		}
	}
	s.steps = nil
	if len(errs) == 1 {
		return cause
	}
	return errors.Join(errs...)
}
