package namespace

import (
	"errors"

	"github.com/barepod/barepod/internal/feature"
	"github.com/barepod/barepod/internal/sys"
)

func unshare(kinds Kind, setup func() error) (Set, error) {
	if err := makeable(kinds); err != nil {
		return nil, wrap("unshare", kinds, "", err)
	}
	var set Set
	err := visit{
		enter: func() error {
			if err := unshareThread(kinds); err != nil {
				return wrap("unshare", kinds, "", err)
			}
			// Opened before setup, which may leave the mount table without /proc.
			var err error
			set, err = ofThisThread(kinds)
			return wrap("unshare", kinds, "", err)
		},
		work: func() error {
			if setup == nil {
				return nil
			}
			return setup()
		},
		leave: func() bool { return false },
	}.run()
	if err == nil {
		return set, nil
	}
	if closeErr := set.Close(); closeErr != nil {
		err = errors.Join(err, closeErr)
	}
	return nil, err // setup's very own, as a rule
}

// unshareThread gives the calling thread new namespaces.
func unshareThread(kinds Kind) error {
	if err := sys.Unshare(int(kinds &^ Mount)); err != nil || !kinds.Has(Mount) {
		return err
	}
	self, err := sys.ThreadNamespaces()
	if err != nil {
		return err
	}
	defer self.Close()
	outer, err := sys.OpenAt(self, Mount.String())
	if err != nil {
		return err
	}
	defer outer.Close()
	made, err := sys.UnshareMount(self, outer)
	if err != nil {
		return err
	}
	return made.Close()
}

// makeable returns the reason why a Go program cannot make kinds by itself.
func makeable(kinds Kind) error {
	switch {
	case kinds.Has(User):
		return &feature.Error{
			Feature: "making a user namespace",
			Needs:   "a process with a single thread, which no Go program is",
		}
	case kinds.Has(PID):
		return &feature.Error{
			Feature: "making a PID namespace",
			Needs:   "a new process: the namespace begins with its PID 1 and ends with it",
		}
	case kinds.Has(Time):
		return &feature.Error{
			Feature: "making a time namespace",
			Needs:   "a new process: its clocks can be set only until the first one is in it",
		}
	}
	return nil
}

// ofThisThread opens the calling thread's namespaces of the kinds.
func ofThisThread(kinds Kind) (Set, error) {
	dir, err := sys.ThreadNamespaces()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var set Set
	for kind := range kinds.Kinds() {
		f, err := sys.OpenAt(dir, kind.String())
		if err != nil {
			return nil, errors.Join(err, set.Close())
		}
		h, err := adopt(f)
		if err != nil {
			return nil, errors.Join(err, set.Close())
		}
		set = append(set, h)
	}
	return set, nil
}
