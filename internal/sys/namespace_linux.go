package sys

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Setns moves the calling thread into the namespace f, which must be of one of
// the kinds kinds (CLONE_NEW*, 0 for any).
func Setns(f *os.File, kinds int) error {
	return withFD(f, "setns", func(fd int) error { return unix.Setns(fd, kinds) })
}

// Unshare gives the calling thread new namespaces (CLONE_NEW*).
func Unshare(kinds int) error {
	_, err := retry(func() (int, error) { return 0, unix.Unshare(kinds) })
	return os.NewSyscallError("unshare", err)
}

// UnshareFS gives the calling thread a working directory, root and umask of its
// own. There is no way back: the thread must not return to the scheduler.
func UnshareFS() error { return Unshare(unix.CLONE_FS) }

// Gettid returns the ID of the calling thread.
func Gettid() int { return unix.Gettid() }

// IsNamespace reports whether f is a file of nsfs. Only fstatfs(2) is called, so
// f may be any file, also one opened with O_PATH.
func IsNamespace(f *os.File) (bool, error) {
	magic, err := fsMagic(f)
	return magic == unix.NSFS_MAGIC, err
}

// NamespaceKind returns the kind (CLONE_NEW*) of the namespace f, a file for
// which IsNamespace is true.
func NamespaceKind(f *os.File) (int, error) {
	var kind int
	err := withFD(f, "ioctl NS_GET_NSTYPE", func(fd int) error {
		var err error
		kind, err = retry(func() (int, error) { return unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE) })
		return err
	})
	return kind, err
}

// NamespaceOwner opens the user namespace that owns the namespace f. The caller
// must close it. It is EPERM if that is not the caller's or one below it.
func NamespaceOwner(f *os.File) (*os.File, error) {
	var owner *os.File
	err := withFD(f, "ioctl NS_GET_USERNS", func(fd int) error {
		user, err := retry(func() (int, error) { return unix.IoctlRetInt(fd, unix.NS_GET_USERNS) })
		if err == nil {
			owner = os.NewFile(uintptr(user), "owner of "+f.Name()) // O_CLOEXEC: nsfs sets it
		}
		return err
	})
	return owner, err
}

// FileID returns device and inode of f.
func FileID(f *os.File) (dev, ino uint64, err error) {
	var st unix.Stat_t
	err = withFD(f, "fstat", func(fd int) error { return unix.Fstat(fd, &st) })
	return uint64(st.Dev), st.Ino, err //nolint:unconvert // 32 bits wide elsewhere
}

// NamespaceNameAt returns what the link name in dir, a directory as
// ThreadNamespaces opens it, says: "net:[4026531840]", kind and inode. It is the
// cheapest way to see which namespace a thread is in, half the price of a stat.
func NamespaceNameAt(dir *os.File, name string) (string, error) {
	var buf [64]byte
	n := 0
	err := withFD(dir, "readlinkat "+name, func(fd int) error {
		var err error
		n, err = unix.Readlinkat(fd, name, buf[:])
		return err
	})
	return string(buf[:max(n, 0)]), err
}

// ThreadNamespaces opens the directory that shows the namespaces of the calling
// thread, for OpenAt and NamespaceNameAt. It keeps showing those of this thread,
// whichever mount namespace it enters, and is certain to be procfs.
// The caller must close it.
func ThreadNamespaces() (*os.File, error) {
	const path = "/proc/thread-self/ns"
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	dir := os.NewFile(uintptr(fd), path)
	if err := requireProcfs(dir); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// OpenAt opens the file name in dir for reading, links followed. It is for
// directories whose entries cannot be something unexpected.
func OpenAt(dir *os.File, name string) (*os.File, error) {
	var f *os.File
	err := withFD(dir, "openat "+name, func(at int) error {
		fd, err := retry(func() (int, error) { return unix.Openat(at, name, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
		if err == nil {
			f = os.NewFile(uintptr(fd), nameIn(dir, name))
		}
		return err
	})
	return f, err
}

// OpenPath opens path (relative to dir, nil for the working directory) with
// O_PATH: nothing is read, no driver runs and no FIFO blocks. Without follow, a
// symbolic link as the last component is opened itself. The caller must close it.
func OpenPath(dir *os.File, path string, follow bool) (*os.File, error) {
	flags := unix.O_PATH | unix.O_CLOEXEC
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	at := unix.AT_FDCWD
	open := func() (int, error) { return unix.Openat(at, path, flags, 0) }
	if dir == nil {
		fd, err := retry(open)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return os.NewFile(uintptr(fd), path), nil
	}
	var f *os.File
	err := withFD(dir, "openat "+path, func(fd int) error {
		at = fd
		fd, err := retry(open)
		if err == nil {
			f = os.NewFile(uintptr(fd), nameIn(dir, path))
		}
		return err
	})
	return f, err
}

// Reopen opens the very file f, which may be an O_PATH handle, for reading. The
// caller must close it.
func Reopen(f *os.File) (*os.File, error) {
	var again *os.File
	err := withFD(f, "reopen", func(old int) error {
		path := fmt.Sprintf("/proc/self/fd/%d", old)
		fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
		if err == nil {
			again = os.NewFile(uintptr(fd), f.Name())
		}
		return err
	})
	return again, err
}

// UnlinkAt removes the file name in dir, which is no directory.
func UnlinkAt(dir *os.File, name string) error {
	return withFD(dir, "unlinkat "+name, func(fd int) error { return unix.Unlinkat(fd, name, 0) })
}

// Dup duplicates the descriptor of f. It is an error that matches os.ErrClosed
// if f was closed; the copy stays open when f is. The caller must close it.
func Dup(f *os.File) (*os.File, error) {
	var dup *os.File
	err := withFD(f, "dup", func(old int) error {
		fd, err := unix.FcntlInt(uintptr(old), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			dup = os.NewFile(uintptr(fd), f.Name())
		}
		return err
	})
	return dup, err
}

// IsMountRoot reports whether f, which may be an O_PATH handle, is the root of a
// mount.
func IsMountRoot(f *os.File) (bool, error) {
	var st unix.Statx_t
	err := withFD(f, "statx", func(fd int) error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st)
	})
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, err
}

// TryLock takes the exclusive flock(2) of f, which goes with its last
// descriptor. It is EWOULDBLOCK if another one has it.
func TryLock(f *os.File) error {
	return withFD(f, "flock", func(fd int) error {
		_, err := retry(func() (int, error) { return 0, unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
		return err
	})
}

func requireProcfs(f *os.File) error {
	magic, err := fsMagic(f)
	if err == nil && magic != unix.PROC_SUPER_MAGIC {
		err = &os.PathError{Op: "check", Path: f.Name(), Err: errors.New("/proc is not procfs")}
	}
	return err
}

func fsMagic(f *os.File) (int64, error) {
	var st unix.Statfs_t
	err := withFD(f, "fstatfs", func(fd int) error {
		_, err := retry(func() (int, error) { return 0, unix.Fstatfs(fd, &st) })
		return err
	})
	return int64(st.Type), err //nolint:unconvert // 32 bits wide elsewhere
}

// withFD runs call with the descriptor of f, which cannot be closed by another
// goroutine meanwhile, and names the operation and the file in its error.
func withFD(f *os.File, op string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return &os.PathError{Op: op, Path: "", Err: err} // f is nil
	}
	var callErr error
	if err := conn.Control(func(fd uintptr) { callErr = call(int(fd)) }); err != nil {
		callErr = os.ErrClosed // the only way for Control to fail
	}
	if callErr != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: callErr}
	}
	return nil
}
