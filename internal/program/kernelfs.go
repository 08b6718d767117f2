//go:build linux

package program

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// CgroupMount is a cgroup hierarchy below /sys/fs/cgroup.
type CgroupMount struct{ Dir, FSType, Options string }

// options are the keys and values of the options; controllers are keys alone.
func (m *CgroupMount) options() []string {
	if m.Options == "" {
		return nil
	}
	var list []string
	for o := range strings.SplitSeq(m.Options, ",") {
		key, value, _ := strings.Cut(o, "=")
		list = append(list, key, value)
	}
	return list
}

// proc mounts /proc of the container's PID namespace, with the usual paths
// masked.
func (c *Container) proc(t tree) {
	p := t.p
	p.Note("mount proc on /proc")
	fs := newFS(p, "proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	t.mount(fs, "proc", dir)
	how := p.OpenHow(unix.O_PATH, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
	each := func(names []string, f func(at launch.Arg)) {
		for _, name := range names {
			skip := p.NewLabel("no " + name)
			at := p.Call("openat2", fs, p.Str(name), how, launch.OpenHowSize).On(unix.ENOENT, skip).Result()
			f(at)
			p.Place(skip)
		}
	}
	p.Note("mask paths in /proc")
	each(c.MaskedPaths, func(at launch.Arg) { moveOnto(p, cloneOf(p, AnchorDev+"/null"), at) })
	each(c.MaskedDirs, func(at launch.Arg) { moveOnto(p, cloneOf(p, AnchorEmpty), at) })
	p.Note("make paths in /proc read-only")
	each(c.ReadonlyPaths, func(at launch.Arg) {
		copied := p.Call("open_tree", at, p.Str(""), launch.TreeFlags(unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)).Result()
		setattr(p, copied, p.MountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0))
		moveOnto(p, copied, at)
	})
}

// sys mounts the pod's sysfs and the container's cgroups, all read-only.
func (c *Container) sys(t tree) {
	p := t.p
	p.Note("mount sysfs on /sys")
	t.mount(p.Call("open_tree", launch.AtFDCWD, p.Str(AnchorSys), launch.TreeFlags(unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)).Result(), "sys", dir)
	if len(c.CgroupMounts) == 0 {
		return
	}
	p.Note("mount the cgroups on /sys/fs/cgroup")
	const attrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	if c.CgroupMounts[0].Dir == "." {
		t.mount(newFS(p, "cgroup2", attrs), "sys/fs/cgroup", dir)
		return
	}
	base := newFS(p, "tmpfs", attrs&^unix.MOUNT_ATTR_RDONLY, "size", "4k", "nr_inodes", "32", "mode", "755")
	t.mount(base, "sys/fs/cgroup", dir)
	for _, m := range c.CgroupMounts {
		p.Call("mkdirat", base, p.Str(m.Dir), launch.Octal(0o755))
		moveTo2(p, newFS(p, m.FSType, attrs, m.options()...), base, m.Dir)
	}
	setattr(p, base, p.MountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0))
}
