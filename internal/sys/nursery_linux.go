package sys

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// MknodAt makes a device node (mode with S_IFCHR or S_IFBLK) in dir.
func MknodAt(dir *os.File, name string, mode uint32, major, minor uint32) error {
	err := withFD(dir, "mknodat", func(fd int) error {
		return unix.Mknodat(fd, name, mode, int(unix.Mkdev(major, minor)))
	})
	return err
}

// MkfileAt makes an empty file in dir without opening it.
func MkfileAt(dir *os.File, name string, mode uint32) error {
	return withFD(dir, "mknodat", func(fd int) error { return unix.Mknodat(fd, name, unix.S_IFREG|mode, 0) })
}

// Umask sets the file mode creation mask of the calling thread, which must have a
// file system context of its own (UnshareFS).
func Umask(mask int) { unix.Umask(mask) }

// CreateAt makes a new file in dir and opens it for writing.
func CreateAt(dir *os.File, name string, mode uint32) (*os.File, error) {
	return Openat2(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, mode, Beneath)
}

// PivotInto makes the mount at dir the root of the calling thread's mount
// namespace and detaches all others. The thread must have a file system context
// of its own (UnshareFS).
func PivotInto(dir *os.File) error {
	if err := withFD(dir, "fchdir", unix.Fchdir); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount2", err)
	}
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}

// RemountRoot makes the file system at "/" of the calling thread read-only, for
// all mounts of it.
func RemountRoot() error {
	return os.NewSyscallError("mount", unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NOEXEC, ""))
}

// Sethostname sets the host name of the calling thread's UTS namespace.
func Sethostname(name string) error {
	return os.NewSyscallError("sethostname", unix.Sethostname([]byte(name)))
}

// LoopbackUp sets the loopback device of the calling thread's network namespace
// up; the kernel gives it 127.0.0.1/8 and ::1/128.
func LoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("ioctl SIOCSIFFLAGS lo", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req))
}

// LoopbackLacksIPv6 reports whether the kernel has IPv6, but the loopback device of
// the calling thread's network namespace no address of it, although it is up.
func LoopbackLacksIPv6() (bool, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == unix.EAFNOSUPPORT {
		return false, nil
	}
	if err != nil {
		return false, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	err = unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()})
	if err == unix.EADDRNOTAVAIL {
		return true, nil
	}
	return false, os.NewSyscallError("bind ::1", err)
}

// OpenSysctl opens a kernel parameter below /proc/sys of the calling thread's
// namespaces; that it is one, and no other file, is verified (CVE-2025-52881).
func OpenSysctl(path string, flags int) (*os.File, error) {
	root, err := Openat2(nil, "/proc", unix.O_PATH|unix.O_DIRECTORY, 0, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := requireProcfs(root); err != nil {
		return nil, err
	}
	return Openat2(root, "sys/"+path, flags, 0, Beneath|unix.RESOLVE_NO_XDEV)
}
