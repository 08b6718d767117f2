//go:build linux

package program

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

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
	// The overlay holds its layers; the container shall not find them.
	p.Call("umount2", p.Str(AnchorWork), launch.Named(unix.MNT_DETACH, "MNT_DETACH"))
}
