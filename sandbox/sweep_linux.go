package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// Sweep removes the sandboxes of a state directory (empty: DefaultStateDir) that
// their creators left unfinished when they died, those from before the last
// boot, and those with DieWithCreator whose creator is gone. If no sandbox is
// left, it also removes what all of them shared: the nursery, the state
// directory and its mount, bridges, empty cgroup parents.
//
// It may run at any time, also while sandboxes are made and removed. One that
// somebody is at work on is left alone.
func Sweep(ctx context.Context, stateDir string) error {
	return wrap("sweep", "", sweep(ctx, orDefault(stateDir)))
}

func sweep(ctx context.Context, stateDir string) error {
	var errs []error
	for id, err := range state.List(stateDir) {
		if err == nil {
			err = sweepOne(ctx, stateDir, id)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := sweepNetworks(ctx, stateDir); err != nil {
		return err
	}
	return state.Release(stateDir, func() error {
		return errors.Join(network.Release(ctx, stateDir), dropParents(stateDir), namespace.Unpin(filepath.Join(stateDir, nurseryName)))
	})
}

// sweepOne removes a sandbox if it can only be removed. It holds the lock from
// the question to the end: a New that goes on in between would make the answer
// wrong.
func sweepOne(ctx context.Context, stateDir, id string) error {
	entry, err := openEntry(stateDir, id)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer entry.Close()
	// New holds it for as long as it works, and so does Remove.
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	lock, err := entry.Lock(short, true)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return ctx.Err()
	case err != nil:
		return err
	}
	defer lock.Unlock()
	dead, err := isDead(ctx, stateDir, id, entry)
	if err != nil || !dead {
		return err
	}
	return wrap("remove", id, destroy(ctx, stateDir, id, entry))
}

// isDead reports whether a sandbox that nobody is at work on can only be
// removed.
func isDead(ctx context.Context, stateDir, id string, entry *state.Entry) (bool, error) {
	var in record
	if err := entry.Read(stateFile, &in); err != nil {
		return errors.Is(err, fs.ErrNotExist), ignore(err, fs.ErrNotExist)
	}
	s, err := open(ctx, stateDir, id)
	if err != nil { // incomplete, or of another boot
		return errors.Is(err, ErrIncomplete), ignore(err, ErrIncomplete)
	}
	alive, err := creatorAlive(in.Creator)
	return s.cfg.DieWithCreator && !alive, errors.Join(err, s.Close())
}

// ignore returns err unless it is the one that says nothing.
func ignore(err, is error) error {
	if errors.Is(err, is) {
		return nil
	}
	return err
}

// parentPrefix begins the names of the links that say which cgroup parents the
// sandboxes of a state directory have had, beside the default one. A link is
// made in one step, and nobody follows it.
const parentPrefix = ".parent-"

// keepParent writes down where a sandbox's cgroups are: when the last one is
// gone nobody else knows.
func keepParent(stateDir string, c Cgroup) error {
	if c.Parent == "" || c.Driver == cgroup.Systemd {
		return nil
	}
	sum := sha256.Sum256([]byte(c.Parent))
	link := filepath.Join(stateDir, parentPrefix+hex.EncodeToString(sum[:8]))
	if _, err := os.Lstat(link); err == nil {
		return nil
	}
	return ignore(os.Symlink(c.Parent, link), fs.ErrExist)
}

// dropParents removes the empty cgroup parents, when there is no sandbox.
func dropParents(stateDir string) error {
	errs := []error{cgroup.RemoveParent(Cgroup{})}
	links, err := filepath.Glob(filepath.Join(stateDir, parentPrefix+"*"))
	errs = append(errs, err)
	for _, link := range links {
		parent, err := os.Readlink(link)
		if err == nil {
			err = cgroup.RemoveParent(Cgroup{Parent: parent})
		}
		if err == nil {
			err = os.Remove(link)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
