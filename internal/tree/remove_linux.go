package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/barepod/barepod/internal/sys"
)

// ErrMounted says that something is mounted where a removal would have to go.
var ErrMounted = errors.New("something is mounted there")

// maxAgain is how often a removal goes through directories again that were not
// empty after all that was in them had been removed. Then somebody adds to them.
const maxAgain = 64

// Remove removes what is at path, which is relative to the directory base. The
// caller vouches for base, but not for path: no symbolic link in it is followed.
// Otherwise it is as RemoveAt; that base does not exist is no error either.
func Remove(ctx context.Context, base, path string) (err error) {
	dir, err := os.Open(base)
	for _, name := range strings.Split(filepath.Dir(path), "/") {
		if err != nil || name == "." {
			break
		}
		var below *os.File
		below, err = sys.OpenBelow(dir, name)
		err = errors.Join(err, dir.Close())
		dir = below
	}
	if err != nil {
		return explain(err)
	}
	return errors.Join(RemoveAt(ctx, dir, filepath.Base(path)), dir.Close())
}

// RemoveAt removes the file or directory name, a single component, in dir, with
// all that is below. That it does not exist is no error. If something is mounted
// on it or below, RemoveAt stops there with an error that matches ErrMounted;
// then, and when ctx ends, it can be repeated.
func RemoveAt(ctx context.Context, dir *os.File, name string) error {
	r := &remover{}
	isDir, err := r.visit(dir, name, false)
	if err != nil || !isDir {
		return err
	}
	for {
		root, err := sys.OpenBelow(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return r.cannotDescend(dir, name, err)
		}
		if err := errors.Join(walk(ctx, root, r), root.Close()); err != nil {
			return err
		}
		if again, err := r.leave(dir, name); err != nil || !again {
			return err
		}
	}
}

type remover struct{ again int }

func (r *remover) visit(dir *os.File, name string, isDir bool) (descend bool, err error) {
	if !isDir {
		err = sys.UnlinkAt(dir, name)
		if !errors.Is(err, syscall.EISDIR) {
			return false, explain(err)
		}
	}
	err = sys.RmdirAt(dir, name)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return true, nil
	}
	return false, explain(err)
}

func (r *remover) cannotDescend(_ *os.File, _ string, err error) error { return explain(err) }

func (r *remover) leave(dir *os.File, name string) (again bool, err error) {
	again, err = r.visit(dir, name, true)
	if again {
		r.again++
	}
	if r.again > maxAgain {
		return false, &os.PathError{Op: "rmdir " + name, Path: dir.Name(), Err: syscall.ENOTEMPTY}
	}
	return again, err
}

// explain says what the kernel means, and takes "gone already" as success.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EXDEV):
		return fmt.Errorf("%w: %w", err, ErrMounted)
	}
	return err
}
