package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/barepod/barepod/internal/sys"
)

func makeHostPath(s HostPath) (m *Mounted, err error) {
	made, err := create(s)
	defer func() {
		for i := len(made) - 1; err != nil && i >= 0; i-- {
			// Somebody else may use it by now: then it stays.
			if e := os.Remove(made[i]); e != nil && !errors.Is(e, syscall.ENOTEMPTY) {
				err = errors.Join(err, e)
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	// The path is resolved once, here. What it leads to is checked, and cloned.
	f, err := sys.OpenPath(nil, s.Path, true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := sys.StatAt(f, "")
	if err != nil {
		return nil, err
	}
	if err := s.check(&st); err != nil {
		return nil, &os.PathError{Op: "check", Path: s.Path, Err: err}
	}
	// The clone keeps the peer group of what it was cloned from, so that a Mount
	// may ask for propagation.
	return clone(f, st.IsDir(), st.IsDir(), sys.AttrNodev, 0)
}

// check reports whether what is at Path is of Type.
func (s HostPath) check(st *sys.Stat) error {
	format := st.Mode & syscall.S_IFMT
	switch s.Type {
	case HostPathDirectory, HostPathDirectoryOrCreate:
		if format != syscall.S_IFDIR {
			return syscall.ENOTDIR
		}
	case HostPathFile, HostPathFileOrCreate:
		switch format {
		case syscall.S_IFREG:
		case syscall.S_IFDIR:
			return syscall.EISDIR
		default:
			return fmt.Errorf("not a regular file: %w", fs.ErrInvalid)
		}
	default:
		if format == syscall.S_IFBLK || format == syscall.S_IFCHR {
			return &UnsupportedError{Feature: "device node as a HostPath", Needs: "a device of the container instead: volumes are mounted nodev"}
		}
	}
	return nil
}

// create makes what Type says, unless something is there, and returns what was
// made, also with an error.
func create(s HostPath) (made []string, err error) {
	switch s.Type {
	case HostPathDirectoryOrCreate:
		return makeDirs(s.Path)
	case HostPathFileOrCreate:
		// O_EXCL: a link that leads nowhere is not followed.
		f, err := os.OpenFile(s.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []string{s.Path}, errors.Join(f.Chmod(0o644), f.Close())
	}
	return nil, nil
}

// makeDirs is os.MkdirAll that returns what it made, with mode 0755 whatever the
// umask is.
func makeDirs(path string) (made []string, err error) {
	err = os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrNotExist) && path != "/" {
		if made, err = makeDirs(filepath.Dir(path)); err != nil {
			return made, err
		}
		err = os.Mkdir(path, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		return made, nil
	}
	if err != nil {
		return made, err
	}
	made = append(made, path)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return made, err
	}
	return made, errors.Join(f.Chmod(0o755), f.Close())
}
