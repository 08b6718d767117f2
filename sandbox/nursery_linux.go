package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/program"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/namespace"
)

// nurseryName is the nursery's pin in the state directory.
const nurseryName = ".nursery"

// openNursery returns the mount namespace from which every anchor is copied,
// and makes and pins it if this is the first sandbox of the state directory.
//
// It holds one read-only tmpfs: empty directories to mount on, and the device
// nodes of every container. An anchor copied from it has a table of a handful
// of mounts, whatever the host has.
func openNursery(stateDir string) (*namespace.Handle, error) {
	pin := filepath.Join(stateDir, nurseryName)
	for range 3 {
		h, err := namespace.Open(pin)
		if err == nil && h.Kind() == namespace.Mount {
			return h, nil
		}
		if err == nil {
			return nil, errors.Join(fmt.Errorf("%s is a namespace of kind %v", pin, h.Kind()), h.Close())
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, namespace.ErrNotNamespace) {
			return nil, err
		}
		if err := fault.Point("new.nursery"); err != nil {
			return nil, err
		}
		h, err = makeNursery()
		if err != nil {
			return nil, fmt.Errorf("make the nursery: %w", err)
		}
		err = h.Pin(pin)
		if err == nil {
			return h, nil
		}
		// Somebody else was faster? Then take theirs.
		err = errors.Join(err, h.Close())
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("pin the nursery: %s keeps changing", pin)
}

func makeNursery() (*namespace.Handle, error) {
	set, err := namespace.Unshare(namespace.Mount, func() error {
		// A copy of the host's mounts until the pivot: private, so that
		// nothing done here shows there.
		sys.Umask(0)
		root, err := sys.OpenPath(nil, "/", true)
		if err != nil {
			return err
		}
		defer root.Close()
		if err := sys.SetMountAttr(root, 0, 0, syscall.MS_PRIVATE, true); err != nil {
			return err
		}
		tmpfs, err := sys.NewFS("tmpfs", sys.AttrNosuid|sys.AttrNoexec,
			sys.Option{Key: "size", Value: "64k"}, sys.Option{Key: "nr_inodes", Value: "64"}, sys.Option{Key: "mode", Value: "755"})
		if err != nil {
			return err
		}
		defer tmpfs.Close()
		for _, dir := range []string{program.AnchorPod, program.AnchorRoot, program.AnchorWork, program.AnchorEmpty, program.AnchorDev} {
			if err := sys.MkdirAt(tmpfs, dir[1:], 0o755); err != nil {
				return err
			}
		}
		for _, d := range devices {
			name := program.AnchorDev[1:] + "/" + d.name
			if err := sys.MknodAt(tmpfs, name, syscall.S_IFCHR|0o666, d.major, d.minor); err != nil {
				return err
			}
		}
		if err := sys.MoveMount(tmpfs, nil, "/"); err != nil {
			return err
		}
		if err := sys.PivotInto(tmpfs); err != nil {
			return err
		}
		return sys.RemountRoot()
	})
	if err != nil {
		return nil, err
	}
	return set.Of(namespace.Mount), nil
}

// devices are the nodes that every container has in /dev.
var devices = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3},
	{"zero", 1, 5},
	{"full", 1, 7},
	{"random", 1, 8},
	{"urandom", 1, 9},
	{"tty", 5, 0},
}
