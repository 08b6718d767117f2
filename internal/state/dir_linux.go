package state

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"syscall"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/sys"
)

// lockName is the state directory's own lock, for Prepare and Release.
const lockName = ".lock"

// Prepare makes the state directory, and makes it a mount of its own with
// private propagation: a mount namespace can be pinned only where no other
// namespace would see the pin. It is cheap if all is done already.
func Prepare(dir string) error {
	done, err := isPrepared(dir)
	if err != nil || done {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer unlock()
	// Somebody may have been faster.
	if done, err := isPrepared(dir); err != nil || done {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	mount, err := sys.CloneMount(f, false)
	if err != nil {
		return err
	}
	defer mount.Close()
	if err := sys.SetMountAttr(mount, 0, 0, syscall.MS_PRIVATE, false); err != nil {
		return err
	}
	return sys.MoveMount(mount, f, "")
}

// isPrepared reports whether dir is the root of a mount. It refuses one that
// others could write to.
func isPrepared(dir string) (bool, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	if sysst, ok := st.Sys().(*syscall.Stat_t); !ok || int(sysst.Uid) != os.Geteuid() || st.Mode().Perm()&0o022 != 0 {
		return false, &invalid.Error{Field: "StateDir", Value: dir, Reason: "must belong to the calling user and be writable by nobody else"}
	}
	return sys.IsMountRoot(f)
}

// lockDir takes the state directory's own lock. It is taken in the directory
// below the mount, if there is one: the same file either way.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return func() { _ = f.Close() }, nil
}

// Release undoes Prepare if no entry is left; drop is called first, for what
// entries shared. It does nothing if there is an entry, or no directory.
func Release(dir string, drop func() error) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer unlock()
	for range List(dir) {
		return nil
	}
	if err := drop(); err != nil {
		return err
	}
	if done, err := isPrepared(dir); err != nil || !done {
		return err
	}
	return sys.Unmount(dir, syscall.MNT_DETACH)
}

// List returns the IDs in a state directory, sorted. One that does not exist
// has none.
func List(dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield("", err)
			return
		}
		for _, e := range entries {
			if e.IsDir() && invalid.ID("ID", e.Name()) == nil && !yield(e.Name(), nil) {
				return
			}
		}
	}
}

// Create makes the entry id: mkdir(2) is the lock on the name, so it is
// fs.ErrExist if there is one. The caller must close it.
func Create(dir, id string) (*Entry, error) {
	if err := invalid.ID("ID", id); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, id), 0o700); err != nil {
		return nil, err
	}
	return OpenEntry(dir, id)
}

// OpenEntry opens the entry id. It is fs.ErrNotExist if there is none. The
// caller must close it.
func OpenEntry(dir, id string) (*Entry, error) {
	if err := invalid.ID("ID", id); err != nil {
		return nil, err
	}
	parent, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	e, err := openEntry(parent, id)
	if err != nil {
		return nil, fmt.Errorf("entry %s: %w", id, err)
	}
	return e, nil
}
