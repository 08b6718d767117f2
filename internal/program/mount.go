//go:build linux

package program

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// Mount is a volume, or a part of it, in the container.
type Mount struct {
	Volume      string
	Dir         bool // the volume is a directory
	SubPath     string
	Path        string
	ReadOnly    bool
	Propagation uint64 // MS_PRIVATE, MS_SLAVE, MS_SHARED
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
	isFile, done := p.NewLabel("file "+target), p.NewLabel("mounted "+target)
	p.Call("openat2", copied, p.Str("."), p.OpenHow(unix.O_PATH|unix.O_DIRECTORY, 0, 0), launch.OpenHowSize).On(unix.ENOTDIR, isFile)
	t.mount(copied, target, dir)
	p.Goto(done)
	p.Place(isFile)
	t.mount(copied, target, file)
	p.Place(done)
}
