//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/barepod/barepod/sandbox"
)

// machine is what was there before the pod was made. Pods of others may come
// and go all the time: what is theirs does not count.
type machine struct {
	processes map[string]bool // those that were there, by PID and start time
	shared    map[string]bool // of what pods share: see shared
}

func look() (*machine, error) {
	m := &machine{processes: map[string]bool{}, shared: map[string]bool{}}
	list, err := running()
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		m.processes[p.id] = true
	}
	left, err := shared()
	for _, s := range left {
		m.shared[s] = true
	}
	return m, err
}

// left returns what is left of a pod that was removed, and then of what it
// shared with others.
func (m *machine) left(ctx context.Context, id string, pod made) ([]string, error) {
	suspects, err := running()
	if err != nil {
		return nil, err
	}
	// A process that was there before cannot have anything of the pod's. One
	// that comes later cannot either, but its namespaces may have numbers that
	// were the pod's: the kernel uses them again.
	suspects = slices.DeleteFunc(suspects, func(p process) bool { return m.processes[p.id] })
	left, err := settle(func() ([]string, error) { return own(id, pod, suspects) })
	if err != nil || len(left) > 0 {
		return left, err
	}
	return settle(func() ([]string, error) {
		// It goes when nobody needs it any more.
		if err := sandbox.Sweep(ctx, ""); err != nil {
			return nil, err
		}
		left, err := shared()
		return slices.DeleteFunc(left, func(s string) bool { return m.shared[s] }), err
	})
}

// settle looks until nothing is left: the kernel takes a moment for some of it.
func settle(look func() ([]string, error)) ([]string, error) {
	for deadline := time.Now().Add(3 * time.Second); ; {
		left, err := look()
		if err != nil || len(left) == 0 || time.Now().After(deadline) {
			return left, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// own returns what there is of a pod.
func own(id string, pod made, suspects []process) ([]string, error) {
	var left []string
	for _, path := range []string{
		filepath.Join(sandbox.DefaultStateDir, id),
		filepath.Join(sandbox.DefaultStateDir, visitorID(id)),
		filepath.Join(sandbox.DefaultDataDir, "pods", id),
		filepath.Join(sandbox.DefaultDataDir, "pods", visitorID(id)),
		logFile(id),
	} {
		if exists(path) {
			left = append(left, "file "+path)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if strings.Contains(line, id) || slices.Contains(pod.Namespaces, f[3]) {
			left = append(left, "mount of "+f[3]+" on "+f[4])
		}
	}
	groups, err := cgroups(id)
	if err != nil {
		return nil, err
	}
	left = append(left, groups...)
	for _, p := range suspects {
		left = append(left, p.holds(id, pod.Namespaces)...)
	}
	links, err := ownNetwork(id, pod)
	return append(left, links...), err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// cgroups returns the cgroups with the ID in their names.
func cgroups(id string) ([]string, error) {
	var left []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // somebody else's, that has just gone
		case err != nil:
			return err
		case d.IsDir() && strings.Contains(d.Name(), id):
			left = append(left, "cgroup "+path)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return left, err
}

// shared returns what all pods share, if there is no pod to share it.
func shared() ([]string, error) {
	for _, err := range sandbox.List("") {
		return nil, err
	}
	var left []string
	for _, dir := range []string{sandbox.DefaultStateDir, sandbox.DefaultDataDir} {
		if exists(dir) {
			left = append(left, "file "+dir)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at+"/", sandbox.DefaultStateDir+"/") {
			left = append(left, "mount on "+at)
		}
	}
	// The parent of the pods' cgroups, in one hierarchy or several. There may be
	// pods with another state directory.
	parents, err := filepath.Glob("/sys/fs/cgroup/barepod")
	if err != nil {
		return nil, err
	}
	more, err := filepath.Glob("/sys/fs/cgroup/*/barepod")
	if err != nil {
		return nil, err
	}
	for _, parent := range append(parents, more...) {
		groups, err := filepath.Glob(parent + "/[^_]*/cgroup.procs")
		if err != nil {
			return nil, err
		}
		if len(groups) == 0 {
			left = append(left, "cgroup "+parent)
		}
	}
	links, err := sharedNetwork()
	return append(left, links...), err
}

// process is one that may have something of the pod's.
type process struct {
	pid int
	id  string // PID and start time
}

// running returns all processes but zombies, which have nothing any more.
func running() ([]process, error) {
	pids, err := names("/proc")
	if err != nil {
		return nil, err
	}
	var list []process
	for _, name := range pids {
		var pid int
		if _, err := fmt.Sscan(name, &pid); err != nil {
			continue
		}
		if id := identify(pid); id != "" {
			list = append(list, process{pid, id})
		}
	}
	return list, nil
}

// identify returns what tells a process from a later one with its PID, or
// nothing if there is none.
func identify(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name may have blanks and parentheses: proc_pid_stat(5).
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return ""
	}
	return fmt.Sprintf("%d@%s", pid, f[19])
}

// holds returns what a process has of the pod's: its name or cgroup tells, or a
// namespace that it is in or has open.
func (p process) holds(id string, namespaces []string) []string {
	var left []string
	dir := fmt.Sprintf("/proc/%d/", p.pid)
	for _, file := range []string{"cmdline", "cgroup"} {
		b, _ := os.ReadFile(dir + file) // nothing if it ends
		if strings.Contains(string(b), id) {
			left = append(left, fmt.Sprintf("process %d (%s)", p.pid, strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))))
			break
		}
	}
	for _, sub := range []string{"ns", "fd"} {
		links, _ := names(dir + sub)
		for _, link := range links {
			target, _ := os.Readlink(dir + sub + "/" + link)
			if slices.Contains(namespaces, target) {
				left = append(left, fmt.Sprintf("namespace %s, held by process %d in %s/%s", target, p.pid, sub, link))
			}
		}
	}
	if identify(p.pid) != p.id {
		return nil // it has ended while we looked
	}
	return left
}
