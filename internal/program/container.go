//go:build linux

package program

import (
	"os"
	"path"
	"strconv"
	"strings"

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
	AnchorWork    = "/work"        // where it puts an overlay's layers
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

// Root is how the root directory comes about: one of its fields is set.
type Root struct {
	Dir     *os.File   // a detached mount
	Overlay []*os.File // detached mounts: the lower layers, the uppermost first
	Upper   *os.File   // detached, with the directories upper and work
	Entries []Entry    // an empty tmpfs with these entries
	Scratch bool       // Entries may be empty
	// Hide are directories, relative to the root, that an empty one covers.
	Hide []string
}

// Entry is an entry of a root directory that is assembled on a tmpfs.
type Entry struct {
	Name  string
	Mount *os.File // a detached mount of a directory, or nil:
	Link  string   // a symbolic link, or if empty
	Tmpfs string   // a tmpfs with these options
}

// Mount is a volume, or a part of it, in the container.
type Mount struct {
	Volume      string
	Dir         bool // the volume is a directory
	SubPath     string
	Path        string
	ReadOnly    bool
	Propagation uint64 // MS_PRIVATE, MS_SLAVE, MS_SHARED
}

// CgroupMount is a cgroup hierarchy below /sys/fs/cgroup.
type CgroupMount struct{ Dir, FSType, Options string }

// Program compiles the start of the container.
func (c *Container) Program() *launch.Program {
	p := launch.New(c.Name)
	c.begin(p, func() { pidNamespace(p, c.PID, c.NewPID) })

	p.Note("enter the pod")
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWCGROUP))
	for _, ns := range []struct {
		file *os.File
		name string
		kind int
	}{
		{c.Net, "net", unix.CLONE_NEWNET}, {c.IPC, "ipc", unix.CLONE_NEWIPC},
		{c.UTS, "uts", unix.CLONE_NEWUTS}, {c.Anchor, "anchor", unix.CLONE_NEWNS},
	} {
		if ns.file != nil {
			p.Call("setns", p.File(ns.file, ns.name), launch.CloneFlags(ns.kind))
		}
	}
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWNS))
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
	c.sys(t)
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

// assemble leaves the root directory mounted on AnchorRoot.
func (r *Root) assemble(p *launch.Program) {
	p.Note("assemble the root directory")
	switch {
	case r.Dir != nil:
		moveTo(p, p.File(r.Dir, "rootfs"), AnchorRoot)
	case r.Overlay != nil:
		r.overlay(p)
	default:
		size := "size=64k,nr_inodes=256,mode=755"
		p.Call("mount", p.Str("barepod"), p.Str(AnchorRoot), p.Str("tmpfs"), launch.MountFlags(unix.MS_NODEV), p.Str(size))
		for _, e := range r.Entries {
			e.make(p)
		}
	}
}

func (e *Entry) make(p *launch.Program) {
	at := p.Str(AnchorRoot + "/" + e.Name)
	if e.Link != "" {
		p.Call("symlinkat", p.Str(e.Link), launch.AtFDCWD, at)
		return
	}
	p.Call("mkdirat", launch.AtFDCWD, at, launch.Octal(0o755))
	if e.Mount != nil {
		moveTo(p, p.File(e.Mount, e.Name), AnchorRoot+"/"+e.Name)
		return
	}
	p.Call("mount", p.Str("barepod"), at, p.Str("tmpfs"), launch.MountFlags(unix.MS_NOSUID|unix.MS_NODEV), p.Str(e.Tmpfs))
}

func (r *Root) overlay(p *launch.Program) {
	p.Call("mount", p.Str("barepod"), p.Str(AnchorWork), p.Str("tmpfs"), launch.MountFlags(unix.MS_NODEV), p.Str("size=64k,nr_inodes=600,mode=700"))
	attach := func(f *os.File, name string) {
		p.Call("mkdirat", launch.AtFDCWD, p.Str(AnchorWork+"/"+name), launch.Octal(0o755))
		moveTo(p, p.File(f, name), AnchorWork+"/"+name)
	}
	names := make([]string, len(r.Overlay))
	for i, f := range r.Overlay {
		names[i] = strconv.Itoa(i)
		attach(f, names[i])
	}
	attach(r.Upper, "layer")
	// Short relative names: the options have to fit into a page.
	p.Call("chdir", p.Str(AnchorWork))
	p.Call("mount", p.Str("barepod"), p.Str(AnchorRoot), p.Str("overlay"), launch.MountFlags(unix.MS_NODEV),
		p.Str("lowerdir="+strings.Join(names, ":")+",upperdir=layer/upper,workdir=layer/work"))
	p.Call("chdir", p.Str("/"))
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
			skip := p.NewLabel("no_" + strings.NewReplacer("/", "_", "-", "_").Replace(name))
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
		moveTo2(p, newFS(p, m.FSType, attrs, strings.FieldsFunc(m.Options, func(r rune) bool { return r == ',' })...), base, m.Dir)
	}
	setattr(p, base, p.MountAttr(unix.MOUNT_ATTR_RDONLY, 0, 0))
}

// devices are the nodes that every container has.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// dev makes /dev. Its nodes are mounts of the nursery's, which is a read-only
// file system; the tmpfs itself is nodev, so a node that the container makes
// (CAP_MKNOD is one of the usual capabilities) opens no device.
func dev(t tree) {
	p := t.p
	p.Note("mount tmpfs on /dev")
	base := newFS(p, "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC,
		"size", "64k", "nr_inodes", "256", "mode", "755")
	t.mount(base, "dev", dir)
	for _, name := range devices {
		p.Note("make /dev/%s", name)
		p.Call("openat", base, p.Str(name), launch.OpenFlags(unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL), launch.Octal(0o666))
		moveTo2(p, cloneOf(p, AnchorDev+"/"+name), base, name)
	}
	p.Note("make the links in /dev")
	for _, l := range [][2]string{
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
		{"/proc/self/fd/2", "stderr"}, {"/proc/kcore", "core"}, {"pts/ptmx", "ptmx"},
	} {
		p.Call("symlinkat", p.Str(l[0]), base, p.Str(l[1]))
	}
	sub := func(name, what string, fs func() launch.Arg) {
		p.Note("mount %s on /dev/%s", what, name)
		p.Call("mkdirat", base, p.Str(name), launch.Octal(0o755))
		moveTo2(p, fs(), base, name)
	}
	sub("pts", "devpts", func() launch.Arg {
		return newFS(p, "devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "newinstance", "", "ptmxmode", "0666", "mode", "0620", "gid", "5")
	})
	sub("shm", "the pod's shared memory", func() launch.Arg { return cloneOf(p, AnchorShm) })
	sub("mqueue", "mqueue", func() launch.Arg { return cloneOf(p, AnchorMqueue) })
}

// source returns a detached copy of what is to be mounted; it stands on a
// descriptor of its own.
func (m *Mount) source(p *launch.Program) launch.Arg {
	p.Note("open volume %s for %s", m.Volume, m.Path)
	at := AnchorVolumes + "/" + m.Volume
	var copied launch.Arg
	if m.SubPath == "" {
		copied = p.Call("open_tree", launch.AtFDCWD, p.Str(at), launch.TreeFlags(unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)).Result()
	} else {
		p.Note("open %s in volume %s for %s", m.SubPath, m.Volume, m.Path)
		v := p.Call("openat", launch.AtFDCWD, p.Str(at), launch.OpenFlags(unix.O_PATH|unix.O_DIRECTORY)).Result()
		t := tree{p: p, root: v}
		sub := t.open(m.SubPath, dir, true)
		copied = p.Call("open_tree", sub, p.Str(""), launch.TreeFlags(unix.OPEN_TREE_CLONE|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)).Result()
	}
	var set uint64 = unix.MOUNT_ATTR_NODEV
	if m.ReadOnly {
		set |= unix.MOUNT_ATTR_RDONLY
	}
	p.Call("mount_setattr", copied, p.Str(""), launch.TreeFlags(unix.AT_EMPTY_PATH|unix.AT_RECURSIVE),
		p.MountAttr(set, 0, m.Propagation), launch.MountAttrSize)
	return copied
}

// attach mounts the copy at its path. Whether a subpath is a file shows only
// now.
func (m *Mount) attach(t tree, copied launch.Arg) {
	p := t.p
	p.Note("mount volume %s on %s", m.Volume, m.Path)
	target := strings.TrimPrefix(path.Clean(m.Path), "/")
	if m.SubPath == "" {
		kind := file
		if m.Dir {
			kind = dir
		}
		t.mount(copied, target, kind)
		return
	}
	isFile, done := p.NewLabel("file_"+m.Volume), p.NewLabel("mounted_"+m.Volume)
	p.Call("openat2", copied, p.Str("."), p.OpenHow(unix.O_PATH|unix.O_DIRECTORY, 0, 0), launch.OpenHowSize).On(unix.ENOTDIR, isFile)
	t.mount(copied, target, dir)
	p.Goto(done)
	p.Place(isFile)
	t.mount(copied, target, file)
	p.Place(done)
}
