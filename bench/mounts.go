package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// mountMany mounts n times something that is no pod's, wherever programs are
// started, and returns what takes it away.
func (r *room) mountMany(n int) (remove func() error, err error) {
	dir, err := r.path("foreign")
	if err != nil {
		return nil, err
	}
	mount := func() error { return mountBelow(dir, n) }
	unmount := func() error { return os.NewSyscallError("umount", unix.Unmount(dir, unix.MNT_DETACH)) }
	if err := errors.Join(mount(), r.legacy.do(mount)); err != nil {
		return nil, err
	}
	return func() error { return errors.Join(unmount(), r.legacy.do(unmount)) }, nil
}

// mountBelow mounts a tmpfs on dir and one of its directories n-1 times on
// another one, so that one call takes all away.
func mountBelow(dir string, n int) error {
	if err := unix.Mount("foreign", dir, "tmpfs", 0, "size=16m"); err != nil {
		return os.NewSyscallError("mount", err)
	}
	for i := range n - 1 {
		at := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(at, at, "", unix.MS_BIND, ""); err != nil {
			return os.NewSyscallError("mount", err)
		}
	}
	return nil
}
