package namespace

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"github.com/barepod/barepod/internal/feature"
	"github.com/barepod/barepod/internal/sys"
)

func openPath(path string) (*Handle, error) {
	found, err := sys.OpenPath(nil, path, true)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	if err := requireNamespace(found); err != nil {
		return nil, err
	}
	// The very file that was checked, whatever path means by now.
	f, err := sys.Reopen(found)
	if errors.Is(err, fs.ErrNotExist) {
		// No /proc here, as in a pod's own mount namespace: through the path once
		// more. Should it mean a FIFO or a terminal now, that does no harm.
		f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, err
	}
	return adopt(f)
}

func ofThread(kind Kind) (*Handle, error) {
	if err := requireOne(kind); err != nil {
		return nil, err
	}
	// Or the goroutine might move on while it reads, and the thread might end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	set, err := ofThisThread(kind)
	if missing(err) {
		return nil, noSuchKind(kind, err)
	}
	if err != nil {
		return nil, err
	}
	return set[0], nil
}

func ofProcess(pidfd *os.File, kind Kind) (*Handle, error) {
	if err := requireOne(kind); err != nil {
		return nil, err
	}
	f, err := sys.PidfdNamespace(pidfd, kind.String())
	if errors.Is(err, syscall.ENOTTY) {
		f, err = sys.ProcNamespace(pidfd, kind.String())
		// There, a process that nobody has reaped still has its user namespace.
		if exited, pollErr := sys.PidfdExited(pidfd); err == nil && (exited || pollErr != nil) {
			f.Close()
			err = cmp.Or(pollErr, error(syscall.ESRCH))
		}
	}
	if err != nil {
		return nil, explain(err, pidfd, kind)
	}
	return adopt(f)
}

// explain gives an error of opening a process's namespace its meaning.
func explain(err error, pidfd *os.File, kind Kind) error {
	// Whatever was hit, the end of the process is the better reason.
	if exited, pollErr := sys.PidfdExited(pidfd); pollErr == nil && exited && !errors.Is(err, syscall.EBADF) {
		return fmt.Errorf("%w: %w", os.ErrProcessDone, err)
	}
	if missing(err) || errors.Is(err, errors.ErrUnsupported) {
		return noSuchKind(kind, err)
	}
	return err
}

func noSuchKind(kind Kind, err error) error {
	return &feature.Error{Feature: kind.String() + " namespaces", Needs: "a kernel built with them", Err: err}
}

// requireOne returns an error unless kind is exactly one kind.
func requireOne(kind Kind) error {
	for one := range kind.Kinds() {
		if one == kind {
			return nil
		}
	}
	return fmt.Errorf("want one kind, not %q: %w", kind, fs.ErrInvalid)
}

func fromFile(f *os.File) (*Handle, error) {
	if err := requireNamespace(f); err != nil {
		return nil, err
	}
	return identify(f)
}

// adopt makes a handle of a file of ours and closes it if it is no namespace.
func adopt(f *os.File) (*Handle, error) {
	h, err := fromFile(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, nil
}

func requireNamespace(f *os.File) error {
	ok, err := sys.IsNamespace(f)
	if err == nil && !ok {
		err = ErrNotNamespace
	}
	return err
}

// identify asks a namespace file what it is.
func identify(f *os.File) (*Handle, error) {
	number, err := sys.NamespaceKind(f)
	if err != nil {
		return nil, err
	}
	kind := Kind(number) //nolint:gosec // one bit of 32
	if err := requireOne(kind); err != nil {
		return nil, fmt.Errorf("%w of a known kind: %#x", ErrNotNamespace, number)
	}
	h := &Handle{file: f, kind: kind}
	h.id.Dev, h.id.Ino, err = sys.FileID(f)
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (h *Handle) owner() (*Handle, error) {
	f, err := sys.NamespaceOwner(h.file)
	if err != nil {
		return nil, err
	}
	return adopt(f)
}

func dup(f *os.File) (*os.File, error) { return sys.Dup(f) }
