package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/barepod/barepod/internal/feature"
	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/sys"
)

// keepers is the element of the keepers' group. No pod's ID begins so.
const keepers = "_keepers"

// Error is the error of every operation on a group.
type Error struct {
	Op   string // what was done, for instance "create"
	Path string // the group's path below the mount points
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return e.Op + " cgroup " + e.Path + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Group is the cgroup of a pod or of a container. It holds no resource of the
// system: there is nothing to close, and its methods may be called from several
// goroutines.
type Group struct {
	host *Host
	cfg  Config
	path string // below each mount point
	pod  bool   // groups of containers are made in it
	unit *unit  // with the Systemd driver
}

// Create makes the group of a pod, which is named by the ID alone, or of a
// container, which is named by the pod's ID and its own name and whose pod must
// have a group. It fails with [fs.ErrExist] if the group is there, and then, as
// with any error, leaves nothing that it made.
//
// With the [Systemd] driver the container's group is made by [Group.Adopt].
func Create(cfg Config, elems ...string) (*Group, error) {
	h, err := Detect()
	if err != nil {
		return nil, err
	}
	return h.Create(cfg, elems...)
}

// Open returns the group of these names without looking whether it is there.
func Open(cfg Config, elems ...string) (*Group, error) {
	h, err := Detect()
	if err != nil {
		return nil, err
	}
	return h.Open(cfg, elems...)
}

// Create is as the package's Create, on the given hierarchies.
func (h *Host) Create(cfg Config, elems ...string) (*Group, error) {
	g, err := h.Open(cfg, elems...)
	if err != nil {
		return nil, err
	}
	if g.unit != nil {
		err = g.createUnit()
	} else {
		err = g.create()
	}
	if err != nil {
		return nil, g.fail("create", err)
	}
	return g, nil
}

// Open is as the package's Open, on the given hierarchies.
func (h *Host) Open(cfg Config, elems ...string) (*Group, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(elems) != 1 && len(elems) != 2 {
		return nil, &invalid.Error{Field: "Name", Value: elems, Reason: "must be a pod's ID, or that and a container's name"}
	}
	for _, e := range elems {
		if err := invalid.ID("Name", e); err != nil {
			return nil, err
		}
	}
	if len(h.used()) == 0 {
		return nil, &feature.Error{Feature: "cgroups", Needs: "a mounted cgroup file system"}
	}
	g := &Group{host: h, cfg: cfg, pod: len(elems) == 1}
	if cfg.Driver == Systemd {
		if err := g.nameUnit(elems); err != nil {
			return nil, err
		}
		return g, nil
	}
	g.path = cfg.parent()
	for _, e := range elems {
		g.path += "/" + dirName(e)
	}
	return g, nil
}

// Keepers returns the group for the process that waits for the group's first
// process: outside the pod, so that killing the pod does not kill it, and
// outside the group of the program that made the pod, so that it outlives that.
// With [CgroupFS] it is one group for all pods, made by this call if it is
// missing, and in the unified hierarchy alone: where there is none the process
// stays where its starter is. With [Systemd] it is a part of the container's scope, made by
// [Group.Adopt], and a pod's own group has none.
func (g *Group) Keepers() (*Group, error) {
	k := &Group{host: g.host, cfg: g.cfg}
	if g.unit != nil {
		if g.pod {
			return nil, g.fail("find the keepers of", errSlice())
		}
		k.path = g.unit.path + "/keeper"
		return k, nil
	}
	k.path = g.cfg.parent() + "/" + keepers
	k.host = &Host{}
	if u := g.host.unified(); u != nil {
		k.host.Hierarchies = []Hierarchy{*u}
		if made, err := k.mkdir(*u); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, k.fail("create", errors.Join(err, rollback(made)))
		}
	}
	return k, nil
}

// Path returns the group's path below the mount points, as in /proc/PID/cgroup
// if this process is in the root of the cgroup namespace.
func (g *Group) Path() string { return g.path }

// in returns the group's directory in a hierarchy.
func (g *Group) in(h Hierarchy) string { return h.Mountpoint + g.path }

// fail wraps an error and passes nil through.
func (g *Group) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Path: g.path, Err: err}
}

// create makes the group's directories, none of which may be there.
func (g *Group) create() error {
	var made []string
	for _, h := range g.host.used() {
		dirs, err := g.mkdir(h)
		made = append(made, dirs...)
		if err != nil {
			return errors.Join(err, rollback(made))
		}
		if h.Unified && g.pod {
			g.delegate(h)
		}
	}
	return nil
}

// rollback removes what was made, but for a parent that another group has come
// into meanwhile.
func rollback(made []string) error {
	var errs []error
	for _, dir := range slices.Backward(made) {
		if err := sys.Rmdir(dir); err != nil && !gone(err) && !busy(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// mkdir makes the group's directory in a hierarchy, with the parents of pods,
// and returns what it made.
func (g *Group) mkdir(h Hierarchy) (made []string, err error) {
	dir := g.in(h)
	// The parents may vanish again while they are made, if another process
	// removes them because they are empty.
	for range 100 {
		if err = os.Mkdir(dir, 0o755); err == nil {
			return append(made, dir), nil
		}
		if !gone(err) || path.Dir(g.path) != g.cfg.parent() {
			return made, err // a container's group is never made without its pod's
		}
		parents, perr := mkdirAll(h.Mountpoint, path.Dir(g.path))
		made = append(made, parents...)
		if perr != nil && !gone(perr) {
			return made, perr
		}
	}
	return made, err
}

// mkdirAll makes the directories of p below mountpoint that are missing and
// returns them. The mount point itself is never made.
func mkdirAll(mountpoint, p string) (made []string, err error) {
	dir := mountpoint
	for elem := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		dir += "/" + elem
		switch err := os.Mkdir(dir, 0o755); {
		case err == nil:
			made = append(made, dir)
		case !errors.Is(err, fs.ErrExist):
			return made, err
		}
	}
	return made, nil
}

// delegate gives the groups in a pod's group of the unified hierarchy the
// controllers that groups have limits for. What cannot be given is found missing
// when a limit needs it.
func (g *Group) delegate(h Hierarchy) {
	list := g.host.delegated()
	if len(list) == 0 || enable(g.in(h), list) == nil {
		return
	}
	// The parents do not have them yet. Each is asked for the controllers one
	// by one, since one that cannot be had spoils the whole write.
	dir := h.Mountpoint
	for elem := range strings.SplitSeq(g.path, "/") {
		if elem != "" {
			dir += "/" + elem
		}
		for _, c := range list {
			_ = enable(dir, []string{c})
		}
	}
}

// enable gives the groups in dir these controllers.
func enable(dir string, controllers []string) error {
	return sys.WriteControl(dir+"/cgroup.subtree_control", "+"+strings.Join(controllers, " +"))
}

// gone reports that a directory is not there: ENODEV is what a file in it says
// that was opened before.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV)
}

// busy reports that a directory has processes or groups in it.
func busy(err error) bool { return errors.Is(err, syscall.EBUSY) }
