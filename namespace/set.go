package namespace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Set is several namespaces, at most one of a kind, in any order.
type Set []*Handle

var _ io.Closer = Set(nil)

// Kind returns the kinds of the namespaces in the set.
func (s Set) Kind() Kind {
	var all Kind
	for _, h := range s {
		all |= h.kind
	}
	return all
}

// Of returns the namespace of one kind, nil if the set has none. The set keeps
// the ownership of the handle.
func (s Set) Of(kind Kind) *Handle {
	for _, h := range s {
		if h.kind == kind {
			return h
		}
	}
	return nil
}

// Do runs fn in all namespaces of the set at once, as [Handle.Do] does in one.
// An empty set runs it in the program's own.
func (s Set) Do(fn func() error) error {
	ordered, err := s.ordered()
	if err != nil {
		return wrap("enter", 0, "", err)
	}
	return do(ordered, fn)
}

// Close closes all handles.
func (s Set) Close() error {
	var errs []error
	for _, h := range s {
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}

// ordered returns a copy of the set in the order in which to enter.
func (s Set) ordered() (Set, error) {
	var all Kind
	for _, h := range s {
		switch {
		case h == nil:
			return nil, fmt.Errorf("nil handle in set: %w", fs.ErrInvalid)
		case all.Has(h.kind):
			return nil, fmt.Errorf("two %v namespaces in set: %w", h.kind, fs.ErrInvalid)
		}
		all |= h.kind
	}
	ordered := make(Set, 0, len(s))
	for kind := range all.Kinds() {
		ordered = append(ordered, s.Of(kind))
	}
	return ordered, nil
}
