package sys

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// OpenTree opens path (relative to dir, which may be nil for the working
// directory) as open_tree(2) does. With OPEN_TREE_CLONE in flags the result is
// a detached copy of the mount, which the kernel frees with the last descriptor
// unless it was attached. The caller must close the file.
func OpenTree(dir *os.File, path string, flags uint) (*os.File, error) {
	fd, err := retry(func() (int, error) {
		return unix.OpenTree(fdOf(dir), path, flags|unix.OPEN_TREE_CLOEXEC)
	})
	runtime.KeepAlive(dir)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: nameIn(dir, path), Err: err}
	}
	return os.NewFile(uintptr(fd), nameIn(dir, path)), nil
}

// CloneMount returns a detached copy of the mount that holds the file f: of the
// directory or file itself, with the mounts below it if recursive.
// For a namespace's descriptor it is a mount of that namespace's file: a pin.
func CloneMount(f *os.File, recursive bool) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return OpenTree(f, "", flags)
}

// MoveMount attaches the detached mount from at path to (relative to dir, nil
// for the working directory; "" for dir itself).
func MoveMount(from, dir *os.File, to string) error {
	flags := unix.MOVE_MOUNT_F_EMPTY_PATH
	if to == "" {
		flags |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	_, err := retry(func() (int, error) {
		return 0, unix.MoveMount(fdOf(from), "", fdOf(dir), to, flags)
	})
	runtime.KeepAlive(from)
	runtime.KeepAlive(dir)
	if err != nil {
		return &os.PathError{Op: "move_mount", Path: nameIn(dir, to), Err: err}
	}
	return nil
}

// SetMountAttr changes the attributes (MOUNT_ATTR_*) and, unless 0, the
// propagation (MS_PRIVATE, MS_SLAVE, MS_SHARED) of the mount f, and of those
// below it if recursive.
func SetMountAttr(f *os.File, set, clear uint64, propagation uint64, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	attr := unix.MountAttr{Attr_set: set, Attr_clr: clear, Propagation: propagation}
	_, err := retry(func() (int, error) {
		return 0, unix.MountSetattr(fdOf(f), "", flags, &attr)
	})
	runtime.KeepAlive(f)
	if err != nil {
		return &os.PathError{Op: "mount_setattr", Path: f.Name(), Err: err}
	}
	return nil
}

// Option is one parameter of a file system: Key=Value, or the flag Key alone if
// Value is empty.
type Option struct{ Key, Value string }

// NewFS makes a new instance of a file system and returns it as a detached
// mount with the attributes attrs (MOUNT_ATTR_*). The caller must close it.
func NewFS(fstype string, attrs int, options ...Option) (*os.File, error) {
	fsfd, err := retry(func() (int, error) { return unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC) })
	if err != nil {
		return nil, &os.PathError{Op: "fsopen", Path: fstype, Err: err}
	}
	defer unix.Close(fsfd)
	for _, o := range options {
		if err := fsconfig(fsfd, o); err != nil {
			return nil, &os.PathError{Op: "fsconfig " + o.Key, Path: fstype, Err: err}
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return nil, &os.PathError{Op: "fsconfig create", Path: fstype, Err: err}
	}
	fd, err := retry(func() (int, error) { return unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, attrs) })
	if err != nil {
		return nil, &os.PathError{Op: "fsmount", Path: fstype, Err: err}
	}
	return os.NewFile(uintptr(fd), fstype), nil
}

func fsconfig(fsfd int, o Option) error {
	if o.Value == "" {
		return unix.FsconfigSetFlag(fsfd, o.Key)
	}
	return unix.FsconfigSetString(fsfd, o.Key, o.Value)
}

// Unmount detaches the mount at path as umount2(2) does; it never follows a
// symbolic link in the last component.
func Unmount(path string, flags int) error {
	if err := unix.Unmount(path, flags|unix.UMOUNT_NOFOLLOW); err != nil {
		return &os.PathError{Op: "umount2", Path: path, Err: err}
	}
	return nil
}

// fdOf returns the descriptor of f, AT_FDCWD for nil. Unlike File.Fd it does not
// make the file blocking; the caller keeps f alive.
func fdOf(f *os.File) int {
	if f == nil {
		return unix.AT_FDCWD
	}
	number := -1
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { number = int(fd) })
	}
	return number
}

func nameIn(dir *os.File, path string) string {
	switch {
	case dir == nil:
		return path
	case path == "":
		return dir.Name()
	case path[0] == '/':
		return path
	default:
		return dir.Name() + "/" + path
	}
}

// ProcPath returns the path under which this process can name the open file f
// to a call that takes paths only. It needs /proc and f must stay open.
func ProcPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(fdOf(f)) }

// retry calls f until it is not interrupted by a signal.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR { //nolint:errorlint // a bare errno
			return n, err
		}
	}
}

// TreeClone has OpenTree make a detached copy.
const TreeClone = unix.OPEN_TREE_CLONE

// Mount attributes for NewFS and SetMountAttr.
const (
	AttrReadOnly = unix.MOUNT_ATTR_RDONLY
	AttrNosuid   = unix.MOUNT_ATTR_NOSUID
	AttrNodev    = unix.MOUNT_ATTR_NODEV
	AttrNoexec   = unix.MOUNT_ATTR_NOEXEC
)
