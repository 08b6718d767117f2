package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/program"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/tree"
)

// openedRoot is a root file system as the launch program takes it: detached
// mounts, opened in the host's context.
type openedRoot struct {
	root     program.Root
	readOnly bool
}

// openRoot opens the command's root file system and looks for its program
// there, before anything is made.
func (s *start) openRoot() (*openedRoot, error) {
	switch r := s.cmd.Rootfs.(type) {
	case Dir:
		return s.openDir(r)
	case Overlay:
		return s.openOverlay(r)
	case HostRoot:
		return s.openHostRoot()
	case Scratch:
		return &openedRoot{root: program.Root{Scratch: true}, readOnly: true}, nil
	}
	return nil, nil // a further command has its container's
}

func (s *start) openDir(r Dir) (*openedRoot, error) {
	f, err := s.clone("Rootfs.Path", r.Path, true)
	if err != nil {
		return nil, err
	}
	if err := requireNotHost(f, r.Path); err != nil {
		return nil, err
	}
	if err := sys.SetMountAttr(f, sys.AttrNodev, 0, syscall.MS_PRIVATE, true); err != nil {
		return nil, err
	}
	if r.ReadOnly {
		if err := protectBelow(f); err != nil {
			return nil, err
		}
	}
	return &openedRoot{root: program.Root{Dir: f}, readOnly: r.ReadOnly}, s.look(f)
}

// requireNotHost refuses the host's root behind a link.
func requireNotHost(f *os.File, path string) error {
	dir, err := f.Stat()
	if err != nil {
		return err
	}
	host, err := os.Stat("/")
	if err != nil {
		return err
	}
	if os.SameFile(dir, host) {
		return &invalid.Error{Field: "Rootfs.Path", Value: path, Reason: "must not be the host's root: that is HostRoot"}
	}
	return nil
}

// protectBelow makes read-only what is mounted below the root. The root itself
// has to wait until the mount points in it are made.
func protectBelow(root *os.File) error {
	already, err := sys.IsReadOnly(root)
	if err != nil {
		return err
	}
	if err := sys.SetMountAttr(root, sys.AttrReadOnly, 0, 0, true); err != nil || already {
		return err
	}
	return sys.SetMountAttr(root, 0, sys.AttrReadOnly, 0, false)
}

// clone returns a detached copy of the mount at an absolute path of the host.
func (s *start) clone(field, path string, recursive bool) (*os.File, error) {
	dir, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, &invalid.Error{Field: field, Value: path, Reason: "must be a directory", Err: err}
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	f, err := sys.CloneMount(dir, recursive)
	if err != nil {
		return nil, err
	}
	s.files.add(f)
	return f, nil
}

func (s *start) openOverlay(r Overlay) (*openedRoot, error) {
	root := program.Root{}
	for i, path := range r.Lower {
		f, err := s.clone(fmt.Sprintf("Rootfs.Lower[%d]", i), path, false)
		if err != nil {
			return nil, err
		}
		if err := sys.SetMountAttr(f, sys.AttrNodev|sys.AttrReadOnly, 0, syscall.MS_PRIVATE, false); err != nil {
			return nil, err
		}
		root.Overlay = append(root.Overlay, f)
	}
	return &openedRoot{root: root, readOnly: r.ReadOnly}, s.look(root.Overlay...)
}

// openLayer makes the writable layer of an overlay, or opens the one that the
// container left when it ran before.
func (s *start) openLayer(o *openedRoot) error {
	if o == nil || o.root.Overlay == nil {
		return nil
	}
	data := dataDir(&s.sb.cfg)
	layer := filepath.Join(data, layersDir, s.cmd.Name)
	if _, err := os.Lstat(layer); errors.Is(err, fs.ErrNotExist) {
		s.undo.Push("remove layer", func(ctx context.Context) error {
			return tree.Remove(ctx, data, filepath.Join(layersDir, s.cmd.Name))
		})
	}
	// Closed to the host's users: a container may make set-user-ID programs
	// (CVE-2021-41103).
	if err := mkdirData(filepath.Dir(layer), 0o700); err != nil {
		return err
	}
	for _, dir := range []string{"upper", "work"} {
		if err := os.MkdirAll(filepath.Join(layer, dir), 0o755); err != nil {
			return err
		}
	}
	// The container's root directory takes its mode from upper.
	if err := os.Chmod(filepath.Join(layer, "upper"), 0o755); err != nil {
		return err
	}
	upper, err := s.clone("DataDir", layer, false)
	o.root.Upper = upper
	return err
}

// Entries of the host's root directory that a container does not get: its own
// are mounted there, or nothing.
var notHost = map[string]bool{"proc": true, "sys": true, "dev": true, "run": true, "tmp": true, "lost+found": true}

// openHostRoot clones each directory of the host's root, read-only.
func (s *start) openHostRoot() (*openedRoot, error) {
	entries, err := os.ReadDir("/")
	if err != nil {
		return nil, err
	}
	root := program.Root{Scratch: true, Entries: []program.Entry{
		{Name: "run", Tmpfs: "size=64m,nr_inodes=16k,mode=755"},
		{Name: "tmp", Tmpfs: "size=64m,nr_inodes=16k,mode=1777"},
	}}
	for _, e := range entries {
		switch {
		case notHost[e.Name()]:
		case e.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink("/" + e.Name())
			if err != nil {
				return nil, err
			}
			root.Entries = append(root.Entries, program.Entry{Name: e.Name(), Link: link})
		case e.IsDir():
			f, err := s.clone("Rootfs", "/"+e.Name(), false)
			if err != nil {
				return nil, err
			}
			if err := sys.SetMountAttr(f, sys.AttrNodev|sys.AttrNosuid|sys.AttrReadOnly, 0, syscall.MS_PRIVATE, false); err != nil {
				return nil, err
			}
			root.Entries = append(root.Entries, program.Entry{Name: e.Name(), Mount: f})
		}
	}
	root.Hide = s.storage()
	host, err := os.Open("/")
	if err != nil {
		return nil, err
	}
	defer host.Close()
	return &openedRoot{root: root, readOnly: true}, s.look(host)
}

// storage are the directories of pods, which another pod must not see. Only
// what is in a directory that is shown at all matters.
func (s *start) storage() []string {
	var dirs []string
	for _, dir := range []string{s.sb.cfg.DataDir, s.sb.cfg.StateDir, DefaultDataDir} {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue // not there
		}
		top, _, _ := strings.Cut(strings.TrimPrefix(real, "/"), "/")
		if !notHost[top] {
			dirs = append(dirs, strings.TrimPrefix(real, "/"))
		}
	}
	return dirs
}

// look makes sure that the program is in one of the layers of the root file
// system, unless a mount will cover the place.
func (s *start) look(layers ...*os.File) error {
	candidates := s.cmd.candidates()
	for _, path := range candidates {
		if s.cmd.covered(path) {
			return nil // in a volume: execve will tell
		}
		for _, layer := range layers {
			f, err := sys.Openat2(layer, strings.TrimPrefix(path, "/"), sys.OPath, 0, sys.InRoot)
			if err == nil {
				return f.Close()
			}
			// A link may lead through a mount, or to another layer.
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
				return nil
			}
		}
	}
	if len(s.cmd.Mounts) > 0 && !strings.Contains(s.cmd.Path, "/") || len(layers) > 1 {
		return nil
	}
	return &invalid.Error{Field: "Path", Value: s.cmd.Path, Reason: "must be a program in the root file system", Err: fs.ErrNotExist}
}
