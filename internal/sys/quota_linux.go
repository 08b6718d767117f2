package sys

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/quota.h, linux/dqblk_xfs.h and linux/fs.h, which x/sys/unix lacks.
const (
	projectQuota = 2 // PRJQUOTA

	quotaGet     = 0x800007   // Q_GETQUOTA
	quotaSet     = 0x800008   // Q_SETQUOTA
	quotaState   = 'X'<<8 | 8 // Q_XGETQSTATV
	stateVersion = 1          // FS_QSTATV_VERSION1

	blockLimits    = 1 // QIF_BLIMITS
	inodeLimits    = 4 // QIF_ILIMITS
	quotaBlockSize = 1024

	projectEnforced = 1 << 5 // FS_QUOTA_PDQ_ENFD

	getXAttr       = 0x801c581f // FS_IOC_FSGETXATTR
	setXAttr       = 0x401c5820 // FS_IOC_FSSETXATTR
	projectInherit = 0x200      // FS_XFLAG_PROJINHERIT
)

// dqblk is struct if_dqblk of linux/quota.h.
type dqblk struct {
	maxBlocks, softBlocks, bytes  uint64
	maxInodes, softInodes, inodes uint64
	blockTime, inodeTime          uint64
	valid                         uint32
	_                             uint32
}

// quotaStatV is struct fs_quota_statv of linux/dqblk_xfs.h.
type quotaStatV struct {
	version int8
	_       uint8
	flags   uint16
	_       [156]byte
}

// fsxattr is struct fsxattr of linux/fs.h.
type fsxattr struct {
	flags, extSize, extents, project, cowExtSize uint32
	_                                            [8]byte
}

// Quota is what a project uses on a file system, and the most it may use. A
// limit of 0 is none.
type Quota struct {
	Bytes, Inodes       int64
	MaxBytes, MaxInodes int64
}

// RequireProjectQuota returns nil if the file system of f enforces limits of
// projects: quotas alone may also only count. ENOSYS says that it has no quota
// at all, EOPNOTSUPP that it has none that limits projects.
func RequireProjectQuota(f *os.File) error {
	stat := quotaStatV{version: stateVersion}
	err := quotactl(f, "get state", quotaState, 0, unsafe.Pointer(&stat))
	if err == nil && stat.flags&projectEnforced == 0 {
		err = &os.PathError{Op: "quotactl_fd get state", Path: f.Name(), Err: unix.EOPNOTSUPP}
	}
	return err
}

// ProjectQuota returns usage and limits of a project on the file system of f.
func ProjectQuota(f *os.File, project uint32) (Quota, error) {
	var d dqblk
	if err := quotactl(f, "get quota", quotaGet, project, unsafe.Pointer(&d)); err != nil {
		return Quota{}, err
	}
	return Quota{
		Bytes:     int64(d.bytes),
		Inodes:    int64(d.inodes),
		MaxBytes:  int64(d.maxBlocks * quotaBlockSize),
		MaxInodes: int64(d.maxInodes),
	}, nil
}

// SetProjectQuota limits a project on the file system of f: bytes are rounded up
// to KiB, 0 is no limit.
func SetProjectQuota(f *os.File, project uint32, bytes, inodes int64) error {
	d := dqblk{
		maxBlocks: (uint64(bytes) + quotaBlockSize - 1) / quotaBlockSize,
		maxInodes: uint64(inodes),
		valid:     blockLimits | inodeLimits,
	}
	return quotactl(f, "set quota", quotaSet, project, unsafe.Pointer(&d))
}

// SetProject puts the directory f, and all that will be made below it, into a
// project.
func SetProject(f *os.File, project uint32) error {
	var attr fsxattr
	if err := xattrIoctl(f, "ioctl FS_IOC_FSGETXATTR", getXAttr, &attr); err != nil {
		return err
	}
	attr.project = project
	attr.flags |= projectInherit
	return xattrIoctl(f, "ioctl FS_IOC_FSSETXATTR", setXAttr, &attr)
}

func xattrIoctl(f *os.File, op string, request uintptr, attr *fsxattr) error {
	return withFD(f, op, func(fd int) error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(attr)))
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// quotactl calls quotactl_fd(2), Linux 5.14: quotactl(2) would need the path of
// the block device.
func quotactl(f *os.File, op string, cmd uintptr, id uint32, arg unsafe.Pointer) error {
	err := withFD(f, "quotactl_fd "+op, func(fd int) error {
		_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, uintptr(fd), cmd<<8|projectQuota, uintptr(id), uintptr(arg), 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	runtime.KeepAlive(arg)
	return err
}
