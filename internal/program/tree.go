//go:build linux

package program

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// tree is a directory tree that may be hostile: whatever is opened in it is
// resolved by openat2 as if its top were the root directory, and never by a
// path from outside.
type tree struct {
	p    *launch.Program
	root launch.Arg
}

// kind is what a mount point has to be.
type kind int

const (
	dir kind = iota
	file
)

const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// open opens name, a clean relative path, and makes what is missing of it. The
// last component is followed if it is a symbolic link, but not one that leads
// nowhere: then the link itself is opened, which serves as a mount point too.
// If anyKind is set an existing name may be of either kind.
func (t tree) open(name string, k kind, anyKind bool) launch.Arg {
	p := t.p
	fd := p.Var()
	flags := unix.O_PATH
	if k == dir && !anyKind {
		flags |= unix.O_DIRECTORY
	}
	how := p.OpenHow(flags, 0, inRoot)
	parent := p.OpenHow(unix.O_PATH|unix.O_DIRECTORY, 0, inRoot)
	missing, done := p.NewLabel("missing "+name), p.NewLabel("opened "+name)
	t.openat2(name, how).On(unix.ENOENT, missing).Into(fd)
	p.Goto(done)

	p.Place(missing)
	at := t.root
	parts := strings.Split(name, "/")
	for i, part := range parts[:len(parts)-1] {
		// One component at a time: mkdirat does not follow a link that
		// stands in its place.
		p.Call("mkdirat", at, p.Str(part), launch.Octal(0o755)).Ignore(unix.EEXIST)
		at = t.openat2(path.Join(parts[:i+1]...), parent).Result()
	}
	last := parts[len(parts)-1]
	if k == dir {
		p.Call("mkdirat", at, p.Str(last), launch.Octal(0o755)).Ignore(unix.EEXIST)
		t.openat2(name, how).Into(fd)
	} else {
		// Not for writing: with a writer a root cannot be made read-only (EBUSY).
		p.Call("openat", at, p.Str(last), launch.OpenFlags(unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW), launch.Octal(0o644)).
			Ignore(unix.EEXIST)
		p.Call("openat2", at, p.Str(last), p.OpenHow(unix.O_PATH|unix.O_NOFOLLOW, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS), launch.OpenHowSize).Into(fd)
	}
	p.Place(done)
	return fd
}

// openat2 opens an existing name. EAGAIN is what a ".." in a symbolic link gets
// when anybody on the machine mounts or renames something meanwhile
// (openat2(2)): no state of ours, so the call is made again.
func (t tree) openat2(name string, how launch.Arg) launch.Call {
	return t.p.Call("openat2", t.root, t.p.Str(name), how, launch.OpenHowSize).Retry(unix.EAGAIN)
}

// enter makes the tree the root directory. It covers the one mount of the
// nursery, whose copy this mount namespace is, so that there is nothing that
// pivot_root(2) would have to detach: that call looks at every process of the
// machine, and the umount after it waits for a grace period of the kernel's.
// Whoever may unmount it finds a read-only tmpfs with the nodes of /dev.
func (t tree) enter() {
	t.p.Note("change the root directory")
	t.p.Call("fchdir", t.root)
	moveTo(t.p, t.root, "/")
	t.p.Call("chroot", t.p.Str("."))
}

// mount attaches the detached mount fs at name.
func (t tree) mount(fs launch.Arg, name string, k kind) {
	moveOnto(t.p, fs, t.open(name, k, false))
}

// newFS makes a detached mount of a new file system; options are keys and
// values in turn, an odd one at the end or one with an empty value a flag.
func newFS(p *launch.Program, fstype string, attrs int, options ...string) launch.Arg {
	fs := p.Call("fsopen", p.Str(fstype), launch.Int(0)).Result()
	for i := 0; i < len(options); i += 2 {
		if i+1 == len(options) || options[i+1] == "" {
			p.Call("fsconfig", fs, launch.Named(unix.FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"), p.Str(options[i]), launch.Null, launch.Int(0))
			continue
		}
		p.Call("fsconfig", fs, launch.Named(unix.FSCONFIG_SET_STRING, "FSCONFIG_SET_STRING"), p.Str(options[i]), p.Str(options[i+1]), launch.Int(0))
	}
	p.Call("fsconfig", fs, launch.Named(unix.FSCONFIG_CMD_CREATE, "FSCONFIG_CMD_CREATE"), launch.Null, launch.Null, launch.Int(0))
	return p.Call("fsmount", fs, launch.Int(0), launch.AttrFlags(attrs)).Result()
}

// cloneOf is a detached copy of what is at path in the anchor.
func cloneOf(p *launch.Program, at string) launch.Arg {
	return p.Call("open_tree", launch.AtFDCWD, p.Str(at), launch.TreeFlags(unix.OPEN_TREE_CLONE)).Result()
}

// moveTo attaches a detached mount at a path of the anchor.
func moveTo(p *launch.Program, fs launch.Arg, at string) { moveTo2(p, fs, launch.AtFDCWD, at) }

func moveTo2(p *launch.Program, fs, dir launch.Arg, name string) {
	p.Call("move_mount", fs, p.Str(""), dir, p.Str(name), launch.MoveFlags(unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// moveOnto attaches a detached mount on what the descriptor at is.
func moveOnto(p *launch.Program, fs, at launch.Arg) {
	p.Call("move_mount", fs, p.Str(""), at, p.Str(""), launch.MoveFlags(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
}

func setattr(p *launch.Program, fs, attr launch.Arg) {
	p.Call("mount_setattr", fs, p.Str(""), launch.TreeFlags(unix.AT_EMPTY_PATH), attr, launch.MountAttrSize)
}
