package cgroup

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/barepod/barepod/internal/sys"
)

// busyWait is how long Remove tries a single group that the kernel calls busy:
// the last process has been seen to end, but is still on its way out. The time
// for all of a pod's groups has no bound of its own: each rmdir(2) waits its turn
// among all that is made and removed on the machine.
const busyWait = 2 * time.Second

// Remove removes the group with all groups below it, from every hierarchy of the
// machine, whoever made it there. It kills nothing: a group with a process in it
// is an error, after some tries. What is missing has been removed. After an
// error it can be called again.
func (g *Group) Remove(ctx context.Context) error {
	if g.unit != nil {
		return g.fail("remove", g.removeUnit(ctx))
	}
	return g.fail("remove", g.host.remove(ctx, g.path))
}

// remove removes the directory of path from every hierarchy.
func (h *Host) remove(ctx context.Context, path string) error {
	var errs []error
	for _, x := range h.Hierarchies {
		errs = append(errs, removeAll(ctx, x.Mountpoint+path))
	}
	return errors.Join(errs...)
}

// removeAll removes dir and the groups in it. It follows no link: cgroup file
// systems have none, and subdirs passes them over.
func removeAll(ctx context.Context, dir string) error {
	var last error
	try := func() (bool, error) {
		last = sys.Rmdir(dir)
		if last == nil || gone(last) {
			last = nil
			return true, nil
		}
		if !busy(last) {
			// A read-only mount says so of what is not there, too.
			if _, err := os.Lstat(dir); gone(err) {
				last = nil
			}
			return true, last
		}
		// Busy with groups, with processes, or both.
		return false, subdirs(dir, func(sub string) error { return removeAll(ctx, sub) })
	}
	if done, err := try(); done || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, busyWait)
	defer cancel()
	err := poll(ctx, try)
	if ctx.Err() != nil && last != nil {
		return last // says more than that time is up
	}
	return err
}

// RemoveParent removes what all pods share, the group of the keepers and
// [Config.Parent] itself, if no pod and no keeper is left in it. The groups that
// Parent is in stay, and so does the slice of the [Systemd] driver. It is for
// the end of a program or a test: a pod that is made at the same moment makes
// the parent again, but a keeper that is about to join may miss its group.
func RemoveParent(cfg Config) error {
	h, err := Detect()
	if err != nil {
		return err
	}
	return h.RemoveParent(cfg)
}

// RemoveParent is as the package's RemoveParent, on the given hierarchies.
func (h *Host) RemoveParent(cfg Config) error {
	if err := cfg.Validate(); err != nil || cfg.Driver == Systemd {
		return err
	}
	g := &Group{host: h, cfg: cfg, path: cfg.parent()}
	var errs []error
	for _, x := range h.Hierarchies {
		pods := false
		err := subdirs(g.in(x), func(sub string) error {
			pods = pods || sub != g.in(x)+"/"+keepers
			return nil
		})
		if err != nil || pods {
			errs = append(errs, err)
			continue
		}
		for _, dir := range [...]string{g.in(x) + "/" + keepers, g.in(x)} {
			if err := sys.Rmdir(dir); err != nil && !gone(err) && !busy(err) {
				errs = append(errs, err)
			}
		}
	}
	return g.fail("remove", errors.Join(errs...))
}
