package namespace

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/barepod/barepod/internal/feature"
	"github.com/barepod/barepod/internal/sys"
)

var errUnlocked = errors.New("function called runtime.UnlockOSThread once too often: a thread of the program is left in the namespace")

// do runs fn in the namespaces of the ordered set.
func do(set Set, fn func() error) error {
	kinds := set.Kind()
	if err := enterable(kinds); err != nil {
		return wrap("enter", kinds, "", err)
	}
	var home *home
	return visit{
		enter: func() (err error) {
			if home, err = leaveHome(kinds); err != nil {
				return wrap("enter", kinds, "", err)
			}
			for _, h := range set {
				if err := sys.Setns(h.file, int(h.kind)); err != nil {
					return wrap("enter", h.kind, "", err)
				}
			}
			return nil
		},
		work:  fn,
		leave: func() bool { return home != nil && home.comeBack() },
	}.run()
}

// enterable returns the reason why Go code cannot be run in kinds.
func enterable(kinds Kind) error {
	const oneThread = "a process with a single thread, which no Go program is"
	switch {
	case kinds.Has(User):
		return &feature.Error{Feature: "running Go code in a user namespace", Needs: oneThread}
	case kinds.Has(Time):
		return &feature.Error{Feature: "running Go code in a time namespace", Needs: oneThread}
	case kinds.Has(PID):
		return &feature.Error{
			Feature: "running Go code in a PID namespace",
			Needs:   "a new process: a running one never changes its PID namespace",
		}
	}
	return nil
}

// changeable are the entries of /proc/thread-self/ns that a thread of a Go
// program can change, by whatever call.
var changeable = [...]string{"net", "ipc", "uts", "cgroup", "mnt", "pid_for_children", "time_for_children"}

// home is where the calling thread was before it went into other namespaces.
type home struct {
	dir   *os.File                // the thread's /proc/thread-self/ns
	names [len(changeable)]string // of all namespaces, with their inodes
	back  []*os.File              // those to return to, in the order of leaving
	mount bool                    // whether the mount namespace is among them
}

// leaveHome notes the calling thread's namespaces before those of kinds are
// exchanged.
func leaveHome(kinds Kind) (*home, error) {
	dir, err := sys.ThreadNamespaces()
	if err != nil {
		return nil, err
	}
	h := &home{dir: dir, mount: kinds.Has(Mount)}
	if !h.mount { // else the thread ends, whatever it comes back to
		h.names, err = namesIn(dir)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	for kind := range kinds.Kinds() {
		f, err := sys.OpenAt(dir, kind.String())
		if err != nil {
			h.close()
			return nil, err
		}
		h.back = append([]*os.File{f}, h.back...)
	}
	if h.mount {
		// A thread that shares its working directory with others cannot change
		// the mount namespace (EINVAL in mntns_install).
		if err := sys.UnshareFS(); err != nil {
			h.close()
			return nil, err
		}
	}
	return h, nil
}

// comeBack returns the thread to its namespaces and reports whether it may be
// used for anything else again: it is certain to be in the very namespaces that
// leaveHome found, all of them, and it still shares its working directory.
func (h *home) comeBack() bool {
	defer h.close()
	for _, f := range h.back {
		if err := sys.Setns(f, 0); err != nil {
			return false
		}
	}
	if h.mount {
		return false
	}
	names, err := namesIn(h.dir)
	return err == nil && names == h.names
}

func (h *home) close() {
	for _, f := range h.back {
		_ = f.Close() // opened for reading: nothing can be lost
	}
	_ = h.dir.Close()
}

// namesIn reads which namespaces the thread of dir is in. A kind that the kernel
// does not have stays empty.
func namesIn(dir *os.File) (names [len(changeable)]string, err error) {
	for i, entry := range changeable {
		names[i], err = sys.NamespaceNameAt(dir, entry)
		if err != nil && !missing(err) {
			return names, err
		}
	}
	return names, nil
}

// missing reports whether err says that a file under /proc/<pid>/ns is not there.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
