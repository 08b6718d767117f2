//go:build linux

package program

import (
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// CgroupMount is a cgroup hierarchy below /sys/fs/cgroup, "." for that itself.
type CgroupMount struct {
	Dir    string
	Source string // the container's own group on the host
}

// cgroups returns detached copies of the container's groups, made while the
// host's mounts are in sight. A new mount of each file system would show the
// same, at three times the cost.
func (c *Container) cgroups(p *launch.Program) []launch.Arg {
	p.Note("open the cgroups")
	attr := p.MountAttr(unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, 0, unix.MS_PRIVATE)
	copies := make([]launch.Arg, len(c.CgroupMounts))
	for i, m := range c.CgroupMounts {
		copies[i] = cloneOf(p, m.Source)
		setattr(p, copies[i], attr)
	}
	return copies
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
func (c *Container) sys(t tree, pod podMounts, cgroups []launch.Arg) {
	p := t.p
	p.Note("mount sysfs on /sys")
	t.mount(pod.sys, "sys", dir)
	if len(cgroups) == 0 {
		return
	}
	p.Note("mount the cgroups on /sys/fs/cgroup")
	if !c.manyCgroups() {
		t.mount(cgroups[0], "sys/fs/cgroup", dir)
		return
	}
	// A directory of the pod's, not a file system of the container's: the kernel
	// looks at all file systems whenever a memory cgroup ends.
	setattr(p, pod.cgroup, p.MountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0))
	t.mount(pod.cgroup, "sys/fs/cgroup", dir)
	for i, m := range c.CgroupMounts {
		moveTo2(p, cgroups[i], pod.cgroup, m.Dir)
	}
}

// manyCgroups reports whether /sys/fs/cgroup is a directory of hierarchies.
func (c *Container) manyCgroups() bool {
	return len(c.CgroupMounts) > 0 && c.CgroupMounts[0].Dir != "."
}
