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
	AnchorCgroup  = "/pod/cgroup"  // /sys/fs/cgroup, to mount several hierarchies in
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
	// Net, IPC, UTS, PID are the namespaces to join; nil means the host's, for
	// PID with NewPID set one of its own.
	Net, IPC, UTS, PID *os.File
	NewPID             bool
	// Anchor is the mount namespace of what the container takes from its pod,
	// Nursery the one that its own is a copy of.
	Anchor, Nursery *os.File

	Root     Root
	ReadOnly bool // the root directory, once assembled
	Mounts   []Mount
	// CgroupMounts is what to mount in /sys/fs/cgroup. If it is more than that
	// itself, AnchorCgroup has the directories.
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
	sources := make([]launch.Arg, len(c.Mounts))
	for i := range c.Mounts {
		sources[i] = c.Mounts[i].source(p)
	}
	pod := c.takePod(p)

	// Of the anchor the container gets these copies and nothing else: its own
	// mount namespace begins with the nursery's one mount.
	p.Note("make a mount namespace")
	p.Call("setns", p.File(c.Nursery, "nursery"), launch.CloneFlags(unix.CLONE_NEWNS))
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWNS))
	c.Root.assemble(p)
	t := tree{p: p, root: p.Call("openat", launch.AtFDCWD, p.Str(AnchorRoot), launch.OpenFlags(unix.O_PATH|unix.O_DIRECTORY)).Result()}
	for _, name := range c.Root.Hide {
		p.Note("hide /%s", name)
		t.mount(cloneOf(p, AnchorEmpty), name, dir)
	}
	c.proc(t)
	c.sys(t, pod, cgroups)
	dev(t, pod)
	for i, name := range etcFiles {
		p.Note("mount /etc/%s", name)
		t.mount(pod.etc[i], "etc/"+name, file)
	}
	for i := range c.Mounts {
		c.Mounts[i].attach(t, sources[i])
	}
	t.enter()
	if c.ReadOnly {
		p.Call("mount_setattr", launch.AtFDCWD, p.Str("/"), launch.Int(0), p.MountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0), launch.MountAttrSize)
	}
	c.finish(p)
	return p
}

// etcFiles are the pod's own files in /etc.
var etcFiles = []string{"hosts", "hostname", "resolv.conf"}

// podMounts are detached copies of what every container has of its pod.
type podMounts struct {
	sys, cgroup, shm, mqueue launch.Arg
	etc                      []launch.Arg
}

func (c *Container) takePod(p *launch.Program) podMounts {
	p.Note("take what is the pod's")
	m := podMounts{
		sys: p.Call("open_tree", launch.AtFDCWD, p.Str(AnchorSys), launch.TreeFlags(unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)).Result(),
		shm: cloneOf(p, AnchorShm), mqueue: cloneOf(p, AnchorMqueue),
	}
	if c.manyCgroups() {
		m.cgroup = cloneOf(p, AnchorCgroup)
	}
	for _, name := range etcFiles {
		m.etc = append(m.etc, cloneOf(p, AnchorEtc+"/"+name))
	}
	return m
}

// namespaces are those of a pod that a process enters; nil means the host's.
type namespaces struct{ net, ipc, uts, mnt *os.File }

// enter joins the pod's namespaces; the mount namespace's name is mnt.
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
