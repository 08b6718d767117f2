package sys

import (
	"bytes"
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// Stat is what StatAt returns.
type Stat struct {
	Mode      uint32 // type and permissions, S_IF*
	Dev, Ino  uint64
	Links     uint32
	Bytes     int64 // allocated
	UID, GID  uint32
	MountRoot bool // the root of a mount
}

// IsDir reports whether it is a directory.
func (s *Stat) IsDir() bool { return s.Mode&unix.S_IFMT == unix.S_IFDIR }

// StatAt returns the status of name in dir, of the link itself if name is a
// symbolic link; of dir itself if name is "". It triggers no automount.
func StatAt(dir *os.File, name string) (Stat, error) {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	err := withFD(dir, "statx "+name, func(fd int) error {
		_, err := retry(func() (int, error) { return 0, unix.Statx(fd, name, flags, unix.STATX_BASIC_STATS, &st) })
		return err
	})
	return Stat{
		Mode: uint32(st.Mode), Links: st.Nlink, UID: st.Uid, GID: st.Gid,
		Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino,
		Bytes:     int64(st.Blocks) * 512,
		MountRoot: st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
	}, err
}

// RmdirAt removes the directory name from dir. It is ENOTEMPTY if something is
// in it and EBUSY if it is a mount point.
func RmdirAt(dir *os.File, name string) error {
	return withFD(dir, "rmdirat "+name, func(fd int) error {
		_, err := retry(func() (int, error) { return 0, unix.Unlinkat(fd, name, unix.AT_REMOVEDIR) })
		return err
	})
}

// FSUsage is how full a file system is.
type FSUsage struct{ Bytes, MaxBytes, Inodes int64 }

// TmpfsUsage returns how full the tmpfs f is. It is EINVAL if f is on another
// file system.
func TmpfsUsage(f *os.File) (FSUsage, error) {
	var st unix.Statfs_t
	err := withFD(f, "fstatfs", func(fd int) error {
		if _, err := retry(func() (int, error) { return 0, unix.Fstatfs(fd, &st) }); err != nil {
			return err
		}
		if st.Type != unix.TMPFS_MAGIC {
			return unix.EINVAL
		}
		return nil
	})
	return FSUsage{
		Bytes:    int64(st.Blocks-st.Bfree) * st.Bsize,
		MaxBytes: int64(st.Blocks) * st.Bsize,
		Inodes:   int64(st.Files - st.Ffree),
	}, err
}

// OpenBelow opens the directory name, a single component, in dir for reading.
// It is EXDEV if something is mounted there and ENOTDIR or ELOOP if it is
// anything but a directory. The caller must close it. It is named by name alone, for
// trees may be so deep that their paths cost more than they tell.
func OpenBelow(dir *os.File, name string) (*os.File, error) {
	return openDir(dir, name, unix.RESOLVE_BENEATH)
}

// OpenParent opens the directory that dir is in for reading. It is EXDEV if dir
// is the root of a mount. The caller must close it.
func OpenParent(dir *os.File) (*os.File, error) { return openDir(dir, "..", 0) }

func openDir(dir *os.File, name string, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: resolve | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	var f *os.File
	err := withFD(dir, "open "+name, func(at int) error {
		fd, err := retry(func() (int, error) { return unix.Openat2(at, name, &how) })
		if err == nil {
			f = os.NewFile(uintptr(fd), name)
		}
		return err
	})
	return f, err
}

// Dirent is an entry of a directory.
type Dirent struct {
	Name   string
	Type   uint8 // DT_*; DT_UNKNOWN where the file system does not say
	Offset int64 // where the directory continues after it
}

// ReadDirents reads the next entries of dir, as many as fit into buf, without
// "." and "..". At the end, and if dir is deleted, more is false.
func ReadDirents(dir *os.File, buf []byte) (entries []Dirent, more bool, err error) {
	var n int
	err = withFD(dir, "getdents64", func(fd int) error {
		var err error
		n, err = retry(func() (int, error) { return unix.Getdents(fd, buf) })
		if err == unix.ENOENT { //nolint:errorlint // a bare errno
			return nil
		}
		return err
	})
	if err != nil || n <= 0 {
		return nil, false, err
	}
	const header = 19 // ino, off, reclen, type
	for b := buf[:n]; len(b) > header; {
		size := binary.NativeEndian.Uint16(b[16:])
		name, _, _ := bytes.Cut(b[header:size], []byte{0})
		if s := string(name); s != "." && s != ".." {
			entries = append(entries, Dirent{Name: s, Type: b[18], Offset: int64(binary.NativeEndian.Uint64(b[8:]))})
		}
		b = b[size:]
	}
	return entries, true, nil
}

// MkdirAt makes a directory in dir, with the mode as it is left by the umask.
func MkdirAt(dir *os.File, name string, mode uint32) error {
	return withFD(dir, "mkdirat "+name, func(fd int) error { return unix.Mkdirat(fd, name, mode) })
}
