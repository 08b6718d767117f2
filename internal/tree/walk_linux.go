package tree

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/barepod/barepod/internal/sys"
)

// visitor is told of what walk finds. Names are single components in dir.
type visitor interface {
	// visit is told of each entry, and says whether to go down into it.
	visit(dir *os.File, name string, isDir bool) (descend bool, err error)
	// cannotDescend decides on the error of opening a directory: nil skips it.
	cannotDescend(dir *os.File, name string, err error) error
	// leave is told that a directory was read to its end, and says whether to
	// do so again.
	leave(dir *os.File, name string) (again bool, err error)
}

// level is a directory between the root of a walk and where it is. Its
// descriptor is not kept open, so that no depth exhausts them.
type level struct {
	name     string // in the level above
	dev, ino uint64
	offset   int64 // where to continue reading
}

type walker struct {
	visitor
	root   *os.File // borrowed
	dir    *os.File // of the last level; root itself if there is but one
	levels []level
	// buf is small on purpose: after a directory below was visited, the rest
	// of what was read is read again.
	buf [4096]byte
}

// walk visits all that is below root, an open directory, which is borrowed.
func walk(ctx context.Context, root *os.File, v visitor) (err error) {
	w := &walker{visitor: v, root: root, dir: root, levels: make([]level, 1)}
	defer func() { err = errors.Join(err, w.move(root)) }()
	if err := w.levels[0].identify(root); err != nil {
		return err
	}
	if _, err := root.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, more, err := sys.ReadDirents(w.dir, w.buf[:])
		switch {
		case err != nil:
			return err
		case more:
			err = w.batch(entries)
		case len(w.levels) == 1:
			return nil
		default:
			err = w.ascend()
		}
		if err != nil {
			return err
		}
	}
}

// batch visits entries up to the first directory that it goes down into.
func (w *walker) batch(entries []sys.Dirent) error {
	for _, e := range entries {
		w.levels[len(w.levels)-1].offset = e.Offset
		isDir := e.Type == syscall.DT_DIR
		if e.Type == syscall.DT_UNKNOWN {
			st, err := sys.StatAt(w.dir, e.Name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			isDir = st.IsDir()
		}
		descend, err := w.visit(w.dir, e.Name, isDir)
		if err != nil {
			return err
		}
		if !descend {
			continue
		}
		if down, err := w.descend(e.Name); down || err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) descend(name string) (bool, error) {
	dir, err := sys.OpenBelow(w.dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, w.cannotDescend(w.dir, name, err)
	}
	l := level{name: name}
	if err := l.identify(dir); err != nil {
		return false, errors.Join(err, dir.Close())
	}
	w.levels = append(w.levels, l)
	return true, w.move(dir)
}

// ascend leaves the last level for the one above, wherever that was moved to.
func (w *walker) ascend() error {
	name := w.levels[len(w.levels)-1].name
	w.levels = w.levels[:len(w.levels)-1]
	lost, err := w.moveUp()
	if err != nil || lost {
		return err
	}
	again, err := w.leave(w.dir, name)
	if err != nil || !again {
		return err
	}
	_, err = w.descend(name)
	return err
}

// moveUp goes to the directory of the last level and to the place in it where
// reading continues. If somebody moved directories meanwhile, that level is
// lost, and the walk goes on where the way from the root still holds.
func (w *walker) moveUp() (lost bool, err error) {
	last := w.levels[len(w.levels)-1]
	parent := w.root
	if len(w.levels) > 1 {
		if parent, err = sys.OpenParent(w.dir); err != nil && !changed(err) {
			return false, err
		}
		if err != nil || !last.is(parent) {
			if parent != nil {
				err = parent.Close()
			}
			return true, errors.Join(ignoreChanged(err), w.restart())
		}
	}
	if err := w.move(parent); err != nil {
		return false, err
	}
	_, err = parent.Seek(last.offset, io.SeekStart)
	return false, err
}

// restart goes down from the root again, as far as the levels still are where
// they were.
func (w *walker) restart() error {
	if err := w.move(w.root); err != nil {
		return err
	}
	for i := 1; i < len(w.levels); i++ {
		dir, err := sys.OpenBelow(w.dir, w.levels[i].name)
		if err == nil && !w.levels[i].is(dir) {
			err = errors.Join(fs.ErrNotExist, dir.Close())
		}
		if changed(err) {
			w.levels = w.levels[:i]
			break
		}
		if err != nil {
			return err
		}
		if err := w.move(dir); err != nil {
			return err
		}
	}
	_, err := w.dir.Seek(w.levels[len(w.levels)-1].offset, io.SeekStart)
	return err
}

// move makes dir the directory where the walk is and closes the one before.
func (w *walker) move(dir *os.File) error {
	old := w.dir
	w.dir = dir
	if old == w.root || old == dir {
		return nil
	}
	return old.Close()
}

func (l *level) identify(dir *os.File) error {
	st, err := sys.StatAt(dir, "")
	l.dev, l.ino = st.Dev, st.Ino
	return err
}

func (l *level) is(dir *os.File) bool {
	st, err := sys.StatAt(dir, "")
	return err == nil && st.Dev == l.dev && st.Ino == l.ino
}

// changed reports whether err says that a directory is not, or no longer, where
// it was seen.
func changed(err error) bool {
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.EXDEV} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func ignoreChanged(err error) error {
	if changed(err) {
		return nil
	}
	return err
}
