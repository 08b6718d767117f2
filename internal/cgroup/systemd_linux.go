package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path"
	"strings"
	"time"

	systemddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/systemd"

	"github.com/barepod/barepod/internal/feature"
	"github.com/barepod/barepod/internal/invalid"
)

// unit is the systemd unit that a group lives in: a pod's slice or a container's
// scope.
type unit struct {
	name   string // without the scope's prefix and suffix
	parent string // the slice it is in
	path   string // of its cgroup
}

// scopePrefix begins the names of scopes: barepod-ID:NAME.scope.
const scopePrefix = "barepod"

// nameUnit derives the unit and the path from the group's names. In the name of
// a slice each dash is a level, so those of the ID become colons, which an ID
// cannot have.
func (g *Group) nameUnit(elems []string) error {
	if !systemd.IsRunningSystemd() {
		return &feature.Error{Feature: "cgroup driver systemd", Needs: "a machine that was booted with systemd"}
	}
	parent := g.cfg.parent()
	slice := strings.TrimSuffix(parent, ".slice") + "-" + strings.ReplaceAll(elems[0], "-", ":") + ".slice"
	dir, err := systemd.ExpandSlice(slice)
	if err != nil {
		return &invalid.Error{Field: "Parent", Value: parent, Reason: err.Error()}
	}
	g.unit = &unit{name: slice, parent: parent, path: dir}
	g.path = dir
	if !g.pod {
		name := elems[0] + ":" + elems[1]
		g.unit = &unit{name: name, parent: slice, path: dir + "/" + scopePrefix + "-" + name + ".scope"}
		g.path = g.unit.path + "/main"
	}
	return nil
}

// manager returns the library's manager of the unit. It is handed the
// directories, as it would parse the mount table for them.
func (u *unit) manager(h *Host) (cgroups.Manager, error) {
	infinity := dbus.MakeVariant(uint64(math.MaxUint64))
	cg := &cgroups.Cgroup{
		Name:        u.name,
		Parent:      u.parent,
		ScopePrefix: scopePrefix,
		Systemd:     true,
		Resources:   &cgroups.Resources{SkipDevices: true, SkipFreezeOnSet: true},
		// Without it a scope gets systemd's DefaultTasksMax.
		SystemdProps: []systemddbus.Property{
			systemddbus.PropDescription("barepod " + u.name),
			{Name: "TasksMax", Value: infinity},
		},
	}
	if h.pure() {
		return systemd.NewUnifiedManager(cg, h.Hierarchies[0].Mountpoint+u.path)
	}
	paths := map[string]string{}
	for _, x := range h.used() {
		for _, c := range x.Controllers {
			if !x.Unified {
				paths[c] = x.Mountpoint + u.path
			}
		}
	}
	return systemd.NewLegacyManager(cg, paths)
}

// createUnit starts a pod's slice. A container's scope needs a process.
func (g *Group) createUnit() error {
	for _, h := range g.host.used() {
		if _, err := os.Lstat(h.Mountpoint + g.unit.path); err == nil {
			return &os.PathError{Op: "mkdir", Path: h.Mountpoint + g.unit.path, Err: fs.ErrExist}
		}
	}
	if !g.pod {
		return nil
	}
	m, err := g.unit.manager(g.host)
	if err != nil {
		return err
	}
	if err := m.Apply(-1); err != nil {
		return errors.Join(err, m.Destroy())
	}
	return nil
}

// errSlice is the error for what would put a process into a slice.
func errSlice() error {
	return &feature.Error{Feature: "process in a pod's own group with systemd", Needs: "the group of a container"}
}

// adoptUnit starts a container's scope with pid and puts pid into the keeper's
// leaf; into a scope with processes it takes pid as one more of the container's.
func (g *Group) adoptUnit(pid int) error {
	if g.pod {
		return errSlice()
	}
	if populated, err := g.whole().populated(); err == nil && populated {
		return g.attach(pid)
	}
	m, err := g.unit.manager(g.host)
	if err != nil {
		return err
	}
	if err := startScope(m, pid); err != nil {
		return err
	}
	keeper, err := g.Keepers()
	if err != nil {
		return err
	}
	// First out of the scope's own group: on v2 one with processes in it
	// cannot give controllers to those below.
	if err := keeper.makeLeaf(); err != nil {
		return err
	}
	if err := keeper.attach(pid); err != nil {
		return err
	}
	if u := g.host.unified(); u != nil {
		for _, c := range g.host.delegated() {
			_ = enable(u.Mountpoint+g.unit.path, []string{c}) // missed when a limit needs it
		}
	}
	return g.makeLeaf()
}

// whole returns the unit's own group.
func (g *Group) whole() *Group { return &Group{host: g.host, path: g.unit.path} }

// targets returns the groups to kill: of a slice the containers' parts of its
// scopes, as the keepers stay.
func (g *Group) targets() ([]*Group, error) {
	if g.unit == nil || !g.pod {
		return []*Group{g}, nil
	}
	var list []*Group
	err := subdirs(g.in(g.host.used()[0]), func(sub string) error {
		if name := path.Base(sub); strings.HasSuffix(name, ".scope") {
			list = append(list, &Group{host: g.host, path: g.path + "/" + name + "/main"})
		}
		return nil
	})
	return list, err
}

// startScope starts the scope with pid. The scope of the same name that a
// container's earlier life has left empty may take systemd a moment to end.
func startScope(m cgroups.Manager, pid int) error {
	for delay := 5 * time.Millisecond; ; delay *= 2 {
		err := m.Apply(pid)
		var derr dbus.Error
		if err == nil || !errors.As(err, &derr) || derr.Name != "org.freedesktop.systemd1.UnitExists" || delay > time.Second {
			return err
		}
		time.Sleep(delay)
	}
}

// makeLeaf makes the group's directories in its scope.
func (g *Group) makeLeaf() error {
	for _, h := range g.host.used() {
		if err := os.Mkdir(g.in(h), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// applyUnit sets the limits of a pod's slice as properties, so that systemd,
// when it reloads, does not take them back.
func (g *Group) applyUnit(v1, v2 *cgroups.Resources) error {
	m, err := g.unit.manager(g.host)
	if err != nil {
		return err
	}
	r := v1
	if g.host.pure() {
		r = v2
	}
	r.SkipDevices, r.SkipFreezeOnSet = true, true
	return m.Set(r)
}

// roundPercent rounds a quota up as systemd does, which has it in hundredths of
// a core.
func roundPercent(quota int64) int64 {
	if quota < 0 {
		return 0
	}
	step := cpuPeriod.Microseconds() / 100
	return (quota + step - 1) / step * step
}

// removeUnit removes what this package made in the unit, then stops it. Stopping
// kills, so a unit with a process in it, a keeper that writes its record
// perhaps, is left alone and is an error.
func (g *Group) removeUnit(ctx context.Context) error {
	if err := g.emptied(ctx); err != nil {
		return err
	}
	m, err := g.unit.manager(g.host)
	if err != nil {
		return err
	}
	if err := m.Destroy(); err != nil {
		return err
	}
	return g.host.remove(ctx, g.unit.path)
}

// emptied waits until there is no process in the unit and removes the groups in
// it.
func (g *Group) emptied(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, busyWait)
	defer cancel()
	err := poll(wait, func() (bool, error) {
		populated, err := g.whole().populated()
		return !populated, err
	})
	if err != nil && !gone(err) {
		return err
	}
	return g.host.remove(ctx, g.unit.path)
}
