package sys

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// OpenHow is how Openat2 resolves and opens.
type OpenHow = unix.OpenHow

// Resolution rules for Openat2, named after openat2(2).
const (
	// InRoot resolves as if dir were the root directory: ".." and absolute
	// links stay inside, magic links are refused.
	InRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	// Beneath refuses whatever would leave dir, and every symbolic link.
	Beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
)

// Openat2 opens path inside dir under the resolution rules resolve
// (RESOLVE_*). The caller must close the file.
func Openat2(dir *os.File, path string, flags int, mode uint32, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Mode: uint64(mode), Resolve: resolve}
	// EAGAIN: a rename or mount raced with the resolution; openat2(2) says to
	// try again, and an attacker must not be able to keep us here for ever.
	var fd int
	var err error
	for range 32 {
		fd, err = retry(func() (int, error) { return unix.Openat2(fdOf(dir), path, &how) })
		if err != unix.EAGAIN { //nolint:errorlint // a bare errno
			break
		}
	}
	runtime.KeepAlive(dir)
	if err != nil {
		return nil, &os.PathError{Op: "openat2", Path: nameIn(dir, path), Err: err}
	}
	return os.NewFile(uintptr(fd), nameIn(dir, path)), nil
}

// OPath is O_PATH, which package os does not have.
const OPath = unix.O_PATH

// RenameAt renames a file in dir, replacing what is at to.
func RenameAt(dir *os.File, from, to string) error {
	return withFD(dir, "renameat", func(fd int) error { return unix.Renameat(fd, from, fd, to) })
}
