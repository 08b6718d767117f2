//go:build linux

package launch

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// flag is a bit with its name.
type flag struct {
	bit  uint64
	name string
}

// flagTable are the flags of one call.
type flagTable []flag

func flags(v uint64, table *flagTable) Arg { return Arg{value: v, form: bits, table: table} }

func flagNames(v uint64, table *flagTable) string {
	if v == 0 {
		return "0"
	}
	var names []string
	for _, f := range *table {
		if v&f.bit == f.bit && f.bit != 0 {
			names = append(names, f.name)
			v &^= f.bit
		}
	}
	if v != 0 {
		names = append(names, "0x"+strconv.FormatUint(v, 16))
	}
	return strings.Join(names, "|")
}

// CloneFlags are the flags of clone, unshare and setns.
func CloneFlags(v int) Arg { return flags(uint64(v), cloneFlags) }

var cloneFlags = &flagTable{
	{unix.CLONE_NEWNS, "CLONE_NEWNS"},
	{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
	{unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
	{unix.CLONE_NEWIPC, "CLONE_NEWIPC"},
	{unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
	{unix.CLONE_NEWPID, "CLONE_NEWPID"},
	{unix.CLONE_NEWNET, "CLONE_NEWNET"},
	{unix.CLONE_PIDFD, "CLONE_PIDFD"},
	{unix.CLONE_PARENT, "CLONE_PARENT"},
	{unix.CLONE_INTO_CGROUP, "CLONE_INTO_CGROUP"},
	{uint64(unix.SIGCHLD), "SIGCHLD"},
}

// OpenFlags are the flags of openat and openat2.
func OpenFlags(v int) Arg {
	if v&(unix.O_ACCMODE|unix.O_PATH) == 0 { // O_RDONLY is no bit
		return flags(uint64(v), nil).described(func() string {
			return strings.TrimSuffix("O_RDONLY|"+flagNames(uint64(v), openFlags), "|0")
		})
	}
	return flags(uint64(v), openFlags)
}

var openFlags = &flagTable{
	{unix.O_PATH, "O_PATH"},
	{unix.O_WRONLY, "O_WRONLY"},
	{unix.O_RDWR, "O_RDWR"},
	{unix.O_CREAT, "O_CREAT"},
	{unix.O_EXCL, "O_EXCL"},
	{unix.O_TRUNC, "O_TRUNC"},
	{unix.O_APPEND, "O_APPEND"},
	{unix.O_NONBLOCK, "O_NONBLOCK"},
	{unix.O_DIRECTORY, "O_DIRECTORY"},
	{unix.O_NOFOLLOW, "O_NOFOLLOW"},
	{unix.O_ASYNC, "O_ASYNC"},
	{unix.O_CLOEXEC, "O_CLOEXEC"},
}

var resolveFlags = &flagTable{
	{unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"},
	{unix.RESOLVE_BENEATH, "RESOLVE_BENEATH"},
	{unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
	{unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"},
	{unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"},
}

// TreeFlags are the flags of open_tree and mount_setattr.
func TreeFlags(v int) Arg { return flags(uint64(v), treeFlags) }

var treeFlags = &flagTable{
	{unix.OPEN_TREE_CLONE, "OPEN_TREE_CLONE"},
	{unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLOEXEC"},
	{unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"},
	{unix.AT_RECURSIVE, "AT_RECURSIVE"},
	{unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"},
}

// MoveFlags are the flags of move_mount.
func MoveFlags(v int) Arg { return flags(uint64(v), moveFlags) }

var moveFlags = &flagTable{
	{unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH"},
	{unix.MOVE_MOUNT_T_EMPTY_PATH, "MOVE_MOUNT_T_EMPTY_PATH"},
}

// MountFlags are the flags of mount.
func MountFlags(v int) Arg { return flags(uint64(v), mountFlags) }

var mountFlags = &flagTable{
	{unix.MS_RDONLY, "MS_RDONLY"},
	{unix.MS_NOSUID, "MS_NOSUID"},
	{unix.MS_NODEV, "MS_NODEV"},
	{unix.MS_NOEXEC, "MS_NOEXEC"},
	{unix.MS_REMOUNT, "MS_REMOUNT"},
	{unix.MS_BIND, "MS_BIND"},
	{unix.MS_REC, "MS_REC"},
	{unix.MS_PRIVATE, "MS_PRIVATE"},
	{unix.MS_SLAVE, "MS_SLAVE"},
	{unix.MS_SHARED, "MS_SHARED"},
}

// AttrFlags are the attributes of fsmount and mount_setattr.
func AttrFlags(v int) Arg { return flags(uint64(v), attrFlags) }

var attrFlags = &flagTable{
	{unix.MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"},
	{unix.MOUNT_ATTR_NOSUID, "MOUNT_ATTR_NOSUID"},
	{unix.MOUNT_ATTR_NODEV, "MOUNT_ATTR_NODEV"},
	{unix.MOUNT_ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"},
}

// errnoName is the errno's C name.
func errnoName(e syscall.Errno) string {
	if n := unix.ErrnoName(e); n != "" {
		return n
	}
	return "errno " + strconv.Itoa(int(e))
}
