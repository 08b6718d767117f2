package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/barepod/barepod/internal/sys"
)

// errBusy says that another one is at work at the same path: try again.
var errBusy = &sentinel{"pin is busy", syscall.EBUSY}

func (h *Handle) pin(path string) error {
	// A copy, so that a Close meanwhile cannot make another file of the number.
	ns, err := sys.Dup(h.file)
	if err != nil {
		return err
	}
	defer ns.Close()
	place, err := openPlace(path)
	if err != nil {
		return err
	}
	defer place.dir.Close()
	return patiently(func() error { return place.pin(ns) })
}

func unpin(path string) error {
	place, err := openPlace(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer place.dir.Close()
	return patiently(place.unpin)
}

// patiently calls f until it is not busy, for about a second.
func patiently(f func() error) error {
	pause := time.Millisecond
	for range 24 {
		err := f()
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		time.Sleep(pause)
		pause = min(2*pause, 50*time.Millisecond)
	}
	return f()
}

// place is where a pin is or will be: the name in a directory that is resolved
// once.
type place struct {
	dir   *os.File
	name  string
	given string // the path it was resolved from
}

func openPlace(path string) (place, error) {
	dir, name := filepath.Split(path)
	if name == "" || name == "." || name == ".." {
		return place{}, &os.PathError{Op: "pin", Path: path, Err: fs.ErrInvalid}
	}
	switch {
	case dir == "":
		dir = "."
	case len(dir) > 1:
		dir = dir[:len(dir)-1] // the slash
	}
	f, err := sys.OpenPath(nil, dir, true)
	return place{f, name, path}, err
}

// look opens what is at the place, with O_PATH and without following links.
func (p place) look() (*os.File, error) { return sys.OpenPath(p.dir, p.name, false) }

// pin mounts ns on an empty file at the place.
func (p place) pin(ns *os.File) error {
	tree, err := sys.CloneMount(ns, false)
	if err != nil {
		return err
	}
	defer tree.Close()
	file, made, err := p.file()
	if err != nil {
		return err
	}
	defer file.Close() // and unlock
	err = p.lock(file)
	if err == nil {
		err = sys.MoveMount(tree, file, "")
		if errors.Is(err, fs.ErrNotExist) {
			err = errBusy // Unpin removed the file under our hands
		}
	}
	if err != nil && made && !errors.Is(err, errBusy) {
		return errors.Join(err, p.remove())
	}
	return err
}

// file opens the empty file that the pin is mounted on and makes it if it is
// missing.
func (p place) file() (file *os.File, made bool, err error) {
	const (
		create = os.O_RDONLY | os.O_CREATE | os.O_EXCL
		reuse  = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY
	)
	found, err := p.look()
	if errors.Is(err, fs.ErrNotExist) {
		file, err = sys.Openat2(p.dir, p.name, create, 0, sys.Beneath)
		if errors.Is(err, fs.ErrExist) {
			return nil, false, errBusy
		}
		return file, err == nil, err
	}
	if err != nil {
		return nil, false, err
	}
	defer found.Close()
	// Checked before it is opened, and the open one again.
	if err := requireEmpty(found, ErrPinned); err != nil {
		return nil, false, err
	}
	file, err = sys.Openat2(p.dir, p.name, reuse, 0, sys.Beneath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, errBusy
	}
	if err != nil {
		return nil, false, err
	}
	if err := requireEmpty(file, ErrPinned); err != nil {
		return nil, false, errors.Join(err, file.Close())
	}
	return file, false, nil
}

// lock locks file if it is still what is at the place. It keeps two pins from
// being mounted on one another: whoever gets the lock looks again and finds the
// other one's.
func (p place) lock(file *os.File) error {
	err := sys.TryLock(file)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errBusy
	}
	if err != nil {
		return err
	}
	now, err := p.look()
	if errors.Is(err, fs.ErrNotExist) {
		return errBusy
	}
	if err != nil {
		return err
	}
	defer now.Close()
	same, err := sameFile(file, now)
	if err == nil && !same {
		err = errBusy // a pin is there now, or another file: the next look tells
	}
	return err
}

// unpin removes mounts of namespaces from the place, and then the file.
func (p place) unpin() error {
	for range 64 { // pins can have been mounted on one another by other programs
		pinned, err := p.pinned()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !pinned {
			return p.remove()
		}
		if err := p.unmount(); err != nil {
			return err
		}
	}
	return errBusy
}

// pinned reports whether a namespace is mounted at the place. It is an error if
// there is something else than that or the empty file of a pin.
func (p place) pinned() (bool, error) {
	found, err := p.look()
	if err != nil {
		return false, err
	}
	defer found.Close()
	if pinned, err := sys.IsNamespace(found); err != nil || pinned {
		return pinned, err
	}
	return false, requireEmpty(found, ErrNotNamespace)
}

// unmount detaches the uppermost mount at the place: a descriptor of it may be
// open somewhere. That it is gone already is no error.
func (p place) unmount() error {
	err := sys.Unmount(sys.ProcPath(p.dir)+"/"+p.name, syscall.MNT_DETACH)
	if errors.Is(err, fs.ErrNotExist) { // of the pin, or of /proc in a mount namespace that has none
		err = sys.Unmount(p.given, syscall.MNT_DETACH)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

// remove removes the file of a pin. It is EBUSY if a pin was mounted on it
// meanwhile. (Mounts on it in other mount namespaces do not count since Linux
// 3.18, the kernel detaches them.)
func (p place) remove() error {
	err := sys.UnlinkAt(p.dir, p.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// requireEmpty returns an error that wraps otherwise if f is not an empty regular
// file with nothing mounted on it: nothing else is ever mounted on or removed.
func requireEmpty(f *os.File, otherwise error) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	mounted, err := sys.IsMountRoot(f)
	switch {
	case err != nil:
		return err
	case mounted:
		return fmt.Errorf("%w: a mount", otherwise)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: not a regular file (%v)", otherwise, info.Mode().Type())
	case info.Size() != 0:
		return fmt.Errorf("%w: a file with content", otherwise)
	}
	return nil
}

func sameFile(a, b *os.File) (bool, error) {
	x, err := a.Stat()
	if err != nil {
		return false, err
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y), err
}
