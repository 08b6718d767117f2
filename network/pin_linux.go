package network

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/namespace"
)

// pinsName is the directory below StateDir that has one for each pod whose network
// namespace is pinned on the host: the claim to the pin, and a record for each
// CNI plugin list that was called. No pod has an ID with a dot in front.
const pinsName = ".netns"

// claimFile says which namespace is, or is about to be, pinned.
const claimFile = "netns"

func (p Pod) pinDir() string { return filepath.Join(p.StateDir, pinsName, p.ID) }

// isPinned reports whether a pod of these attachments is.
func (p Pod) isPinned(networks Attachments) bool { return p.Pin || networks.hasCNI() }

// pin pins the pod's network namespace at NetNSPath. The claim comes first.
func (p Pod) pin(ctx context.Context, ns *namespace.Handle) error {
	// What is left of a former pod of this ID is undone: the caller has the ID
	// now.
	if err := p.unpin(ctx); err != nil {
		return err
	}
	if err := requirePinDir(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(p.pinDir(), 0o700); err != nil {
		return err
	}
	if err := writeJSON(p.pinDir(), claimFile, ns.ID()); err != nil {
		return err
	}
	if err := fault.Point("attach.pin.claimed"); err != nil {
		return err
	}
	// An empty file is what a pod that was killed here has left, and is used.
	err := ns.Pin(p.NetNSPath())
	if errors.Is(err, namespace.ErrPinned) {
		return errors.Join(&NetNSError{Path: p.NetNSPath()}, os.RemoveAll(p.pinDir()))
	}
	return err
}

// requirePinDir makes the directory of pins as iproute2 does, under the same
// lock: a mount of its own that is shared, so that who unmounts a pin unmounts
// it in all mount namespaces, and the namespace is free.
func requirePinDir(ctx context.Context) error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(netnsDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := sys.AwaitFlock(ctx, dir, true); err != nil {
		return err
	}
	for range 2 {
		// Again, for what was mounted there meanwhile.
		top, err := sys.OpenPath(nil, netnsDir, true)
		if err != nil {
			return err
		}
		mounted, err := sys.IsMountRoot(top)
		switch {
		case err != nil:
		case mounted:
			err = sys.SetMountAttr(top, 0, 0, syscall.MS_SHARED, true)
			return errors.Join(err, top.Close())
		default:
			var tree *os.File
			if tree, err = sys.CloneMount(top, true); err == nil {
				err = errors.Join(sys.MoveMount(tree, top, ""), tree.Close())
			}
		}
		if err := errors.Join(err, top.Close()); err != nil {
			return err
		}
	}
	return errors.New("BUG: " + netnsDir + " is no mount")
}

// pinned returns the path of the pin; empty if it is gone, as the namespace is
// after a reboot. It is a *NetNSError if what is there is not the pod's.
func (p Pod) pinned() (string, error) {
	var claim namespace.ID
	err := readJSON(filepath.Join(p.pinDir(), claimFile), &claim)
	if errors.Is(err, fs.ErrNotExist) { // killed before there was a pin, or when there was none any more
		return "", &NetNSError{Path: p.NetNSPath()}
	}
	if err != nil {
		return "", err
	}
	there, err := namespace.Open(p.NetNSPath())
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, namespace.ErrNotNamespace):
		return "", nil
	case err != nil:
		return "", err
	}
	defer there.Close()
	if there.ID() != claim {
		return "", &NetNSError{Path: p.NetNSPath()}
	}
	return p.NetNSPath(), nil
}

// unpin takes back, from what is on disk alone, all that was done by way of the
// pin: it has CNI plugins delete their interfaces, and then removes the pin. The
// records go last.
func (p Pod) unpin(ctx context.Context) error {
	if _, err := os.Lstat(p.pinDir()); err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	names, err := p.cniRecords()
	if err != nil {
		return err
	}
	path, err := p.pinned()
	var foreign *NetNSError
	// Plugins go by the ID: with a record, it is another pod's by now.
	if err != nil && (!errors.As(err, &foreign) || len(names) > 0) {
		return err
	}
	var errs []error
	for _, name := range slices.Backward(names) {
		err := fault.Point("detach.cni")
		if err == nil {
			err = p.deleteCNI(ctx, name, path)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := fault.Point("detach.pin"); err != nil {
		return err
	}
	if foreign == nil {
		// It is ours, or the empty file of it.
		if err := ignore(namespace.Unpin(p.NetNSPath()), namespace.ErrNotNamespace); err != nil {
			return err
		}
	}
	if err := fault.Point("detach.pin.claim"); err != nil {
		return err
	}
	return os.RemoveAll(p.pinDir())
}

// cniRecords returns the names of the interfaces that plugins may have made, in
// their order.
func (p Pod) cniRecords() ([]string, error) {
	files, err := os.ReadDir(p.pinDir())
	if err != nil {
		return nil, ignore(err, fs.ErrNotExist)
	}
	var names []string
	for _, f := range files {
		if f.Type().IsRegular() && f.Name() != claimFile && !strings.HasPrefix(f.Name(), ".") {
			names = append(names, f.Name())
		}
	}
	return names, nil
}

// pinnedPods returns the IDs of the pods of a state directory that have anything
// in pinsName.
func pinnedPods(stateDir string) ([]string, error) {
	dirs, err := os.ReadDir(filepath.Join(stateDir, pinsName))
	if err != nil {
		return nil, ignore(err, fs.ErrNotExist)
	}
	var ids []string
	for _, d := range dirs {
		ids = append(ids, d.Name())
	}
	return ids, nil
}

// sweepPins undoes what pods that are gone have left.
func sweepPins(ctx context.Context, stateDir string, exists func(id string) bool) error {
	ids, err := pinnedPods(stateDir)
	errs := []error{err}
	for _, id := range ids {
		if !exists(id) {
			errs = append(errs, Pod{StateDir: stateDir, ID: id}.unpin(ctx))
		}
	}
	return errors.Join(errs...)
}
