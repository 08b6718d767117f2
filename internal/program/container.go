//go:build linux

package program

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// Where things are in the anchor, the pod's private mount namespace. Its root
// is the nursery's read-only tmpfs.
const (
	AnchorPod     = "/pod"         // the pod's own tmpfs
	AnchorNS      = "/pod/ns"      // one pin for each namespace
	AnchorEtc     = "/pod/etc"     // hosts, hostname, resolv.conf
	AnchorShm     = "/pod/shm"     // /dev/shm
	AnchorMqueue  = "/pod/mqueue"  // /dev/mqueue
	AnchorSys     = "/pod/sys"     // /sys, read-only and masked
	AnchorVolumes = "/pod/volumes" // one mount for each volume
	AnchorDev     = "/dev"         // the standard device nodes, on the nursery's tmpfs
	AnchorEmpty   = "/empty"       // an empty directory, on the nursery's tmpfs
	AnchorRoot    = "/root"        // where a container assembles its root
	AnchorWork    = "/layers"      // where it puts an overlay's layers
)

// Container is the start of a container.
type Container struct {
	Birth

	// Name is the keeper's argv[0].
	Name string
	// Anchor, Net, IPC, UTS, PID are the namespaces to join; nil means the
	// host's, for PID with NewPID set one of its own.
	Anchor, Net, IPC, UTS, PID *os.File
	NewPID                     bool

	Root     Root
	ReadOnly bool // the root directory, once assembled
	Mounts   []Mount
	// CgroupMounts is what to mount in /sys/fs/cgroup.
	CgroupMounts []CgroupMount
	// MaskedPaths and ReadonlyPaths are below /proc.
	MaskedPaths, MaskedDirs, ReadonlyPaths []string
}

// Program compiles the start of the container.
func (c *Container) Program() *launch.Program {
	p := launch.New(c.Name)
	c.begin(p, func() { pidNamespace(p, c.PID, c.NewPID) })

	p.Note("enter the pod")
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWCGROUP))
	cgroups := c.cgroups(p)
	p.Note("enter the pod")
	enter(p, namespaces{c.Net, c.IPC, c.UTS, c.Anchor}, "anchor")
	p.Call("umask", launch.Int(0))

	// Copies of the volumes first, while their mounts still are peers of the
	// anchor's; then everything becomes a slave, so that detaching the old root
	// cannot unmount anything there or on the host.
	sources := make([]launch.Arg, len(c.Mounts))
	for i := range c.Mounts {
		sources[i] = c.Mounts[i].source(p)
	}
	p.Note("make the mounts private")
	p.Call("mount", launch.Null, p.Str("/"), launch.Null, launch.MountFlags(unix.MS_REC|unix.MS_SLAVE), launch.Null)

	c.Root.assemble(p)
	t := tree{p: p, root: p.Call("openat", launch.AtFDCWD, p.Str(AnchorRoot), launch.OpenFlags(unix.O_PATH|unix.O_DIRECTORY)).Result()}
	for _, name := range c.Root.Hide {
		p.Note("hide /%s", name)
		t.mount(cloneOf(p, AnchorEmpty), name, dir)
	}
	c.proc(t)
	c.sys(t, cgroups)
	dev(t)
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		p.Note("mount /etc/%s", name)
		t.mount(cloneOf(p, AnchorEtc+"/"+name), "etc/"+name, file)
	}
	for i := range c.Mounts {
		c.Mounts[i].attach(t, sources[i])
	}
	p.Note("change the root directory")
	p.Call("fchdir", t.root)
	p.Call("pivot_root", p.Str("."), p.Str("."))
	p.Call("umount2", p.Str("."), launch.Named(unix.MNT_DETACH, "MNT_DETACH"))
	p.Call("chdir", p.Str("/"))
	if c.ReadOnly {
		p.Call("mount_setattr", launch.AtFDCWD, p.Str("/"), launch.Int(0), p.MountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0), launch.MountAttrSize)
	}
	c.finish(p)
	return p
}

// namespaces are those of a pod that a process enters; nil means the host's.
type namespaces struct{ net, ipc, uts, mnt *os.File }

// enter joins the pod's namespaces, and takes a copy of the mount namespace,
// whose name is mnt.
func enter(p *launch.Program, in namespaces, mnt string) {
	for _, ns := range []struct {
		file *os.File
		name string
		kind int
	}{
		{in.net, "net", unix.CLONE_NEWNET},
		{in.ipc, "ipc", unix.CLONE_NEWIPC},
		{in.uts, "uts", unix.CLONE_NEWUTS},
		{in.mnt, mnt, unix.CLONE_NEWNS},
	} {
		if ns.file != nil {
			p.Call("setns", p.File(ns.file, ns.name), launch.CloneFlags(ns.kind))
		}
	}
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWNS))
}

// pidNamespace has the next fork's child in another PID namespace.
func pidNamespace(p *launch.Program, pid *os.File, own bool) {
	switch {
	case own:
		p.Note("make a PID namespace")
		p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWPID))
	case pid != nil:
		p.Note("join the PID namespace")
		p.Call("setns", p.File(pid, "pid"), launch.CloneFlags(unix.CLONE_NEWPID))
	}
}
