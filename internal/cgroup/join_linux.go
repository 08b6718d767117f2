package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"github.com/barepod/barepod/internal/sys"
)

// Join is how a process enters a group as its first act, at a fraction of what
// it costs when others move it: v1's cgroup.procs takes the lock on all thread
// groups of the machine (0.3 to 2.4 ms), while a process with a single thread
// that writes itself into tasks (0.05 ms) or is born into the group does not.
type Join struct {
	// Tasks are files, named by absolute paths, into each of which the process,
	// which must have one thread, writes "0".
	Tasks []string

	// Dir is the group's directory in the unified hierarchy, for clone3 with
	// CLONE_INTO_CGROUP. The caller must close it. It is nil if there is no such
	// hierarchy, and with the Systemd driver before Adopt.
	//
	// It serves for a group that [Group.Kill] was never called for: Linux 6.14
	// (b69bb476dee9, also in stable kernels) compares how often the target and
	// the forking process's own group were killed, and kills the child at its
	// birth if the numbers differ.
	Dir *os.File

	// Procs is the slower way to where Dir leads: a file like those in Tasks. It
	// is empty if there is no unified hierarchy.
	Procs string
}

// Join returns how a process enters the group.
func (g *Group) Join() (Join, error) {
	var j Join
	for _, h := range g.host.used() {
		if !h.Unified {
			j.Tasks = append(j.Tasks, g.in(h)+"/tasks")
			continue
		}
		j.Procs = g.in(h) + "/cgroup.procs"
		dir, err := os.OpenFile(g.in(h), os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
		if err == nil {
			j.Dir = dir
		} else if g.cfg.Driver != Systemd || !errors.Is(err, fs.ErrNotExist) {
			return Join{}, g.fail("join", err)
		}
	}
	return j, nil
}

// Adopt moves a process with all its threads into the group. The caller makes
// sure that pid is the process it means, for instance a child that it has not
// waited for.
//
// With the [Systemd] driver, a process that is adopted when the container has
// none starts the container's scope and lands, like those that it forks then, in
// [Group.Keepers], from where they can join. A pod's own group adopts nothing
// there.
func (g *Group) Adopt(pid int) error {
	if g.unit != nil {
		return g.fail("adopt into", g.adoptUnit(pid))
	}
	return g.fail("adopt into", g.attach(pid))
}

// attach writes pid into each of the group's directories.
func (g *Group) attach(pid int) error {
	for _, h := range g.host.used() {
		if err := sys.WriteControl(g.in(h)+"/cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// Mount is a group that a container should see, mounted read-only in a cgroup
// namespace of its own, whose root it is.
type Mount struct {
	Dir    string // below /sys/fs/cgroup, "." for that itself
	Source string // the group's directory on the host
}

// Mounts returns the group's directories in all hierarchies that it is in. All
// others would show the container a group that is not its own.
func (g *Group) Mounts() []Mount {
	if g.host.pure() {
		return []Mount{{Dir: ".", Source: g.in(g.host.Hierarchies[0])}}
	}
	var list []Mount
	for _, h := range g.host.used() {
		list = append(list, Mount{Dir: h.dir(), Source: g.in(h)})
	}
	return list
}
