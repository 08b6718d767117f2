package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/launch"
)

// room is where everything of one run is: a directory, with a tmpfs for state
// as /run is one, and a cgroup.
//
// This program stays in the machine's mount namespace: in another one the floor
// could not always pin its own, see internal/sys.UnshareMount.
type room struct {
	dir   string // on disk
	state string // on tmpfs
	root  string // a root file system, with the programs of the containers
	group string // a cgroup, below the mount points
	// legacy runs programs where the unified hierarchy of a hybrid machine is
	// out of sight; others refuse to work there.
	legacy *legacy

	hierarchies []cgroup.Hierarchy
}

// Programs in the containers, all static and of the same make.
const (
	trueProgram = "/true"  // ends at once
	stayProgram = "/stay"  // stays until it is killed
	pauseProg   = "/pause" // the same, for what a peer needs itself
)

// enterRoom makes the room in a directory that is there.
func enterRoom(dir, group string) (*room, error) {
	r, err := findRoom(dir, group)
	if err != nil {
		return nil, err
	}
	if err := r.joinGroup(); err != nil {
		return nil, err
	}
	for _, d := range []string{r.state, r.root} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	if err := unix.Mount("barepod-bench", r.state, "tmpfs", 0, "mode=755"); err != nil {
		return nil, os.NewSyscallError("mount a tmpfs", err)
	}
	// A mount namespace cannot be pinned on a shared mount.
	if err := unix.Mount("", r.state, "", unix.MS_PRIVATE, ""); err != nil {
		return nil, os.NewSyscallError("make it private", err)
	}
	if err := makeRoot(r.root); err != nil {
		return nil, err
	}
	r.legacy, err = newLegacy("")
	return r, err
}

// visitRoom returns a room that another process has entered, whose legacy.path
// is given.
func visitRoom(dir, group, legacy string) (*room, error) {
	r, err := findRoom(dir, group)
	if err != nil {
		return nil, err
	}
	r.legacy, err = newLegacy(legacy)
	return r, err
}

func findRoom(dir, group string) (*room, error) {
	host, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	return &room{
		dir: dir, state: filepath.Join(dir, "state"), root: filepath.Join(dir, "root"), group: group,
		hierarchies: host.Hierarchies,
	}, nil
}

func (r *room) leave() error { return r.legacy.close() }

// path is a new directory for a peer, on disk.
func (r *room) path(elem ...string) (string, error) {
	p := filepath.Join(append([]string{r.dir}, elem...)...)
	return p, os.MkdirAll(p, 0o755)
}

// makeRoot makes a root file system of nothing but the programs, and the
// directories that a container has mounts on.
func makeRoot(root string) error {
	for _, name := range []string{"proc", "sys", "dev", "etc", "tmp", "run", "usr"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), nil, 0o644); err != nil {
			return err
		}
	}
	if err := writeProgram(filepath.Join(root, trueProgram), trueProg()); err != nil {
		return err
	}
	return errors.Join(
		writeProgram(filepath.Join(root, stayProgram), stayProg()),
		writeProgram(filepath.Join(root, pauseProg), stayProg()))
}

func trueProg() *launch.Program {
	p := launch.New("true")
	p.Call("exit_group", launch.Int(0))
	return p
}

func stayProg() *launch.Program {
	p := launch.New("stay")
	loop := p.Here("forever")
	p.Call("ppoll", launch.Null, launch.Int(0), launch.Null, launch.Null, launch.Int(8)).Ignore(unix.EINTR)
	p.Goto(loop)
	return p
}

// groupSelf is the cgroup of this program and what it starts. Containers are in
// others beside it: a group with processes has no controllers on cgroup v2.
const groupSelf = "self"

// accounting is the hierarchy that counts processor time.
func (r *room) accounting() (cgroup.Hierarchy, error) {
	for _, h := range r.hierarchies {
		for _, c := range h.Controllers {
			if c == "cpuacct" {
				return h, nil
			}
		}
	}
	for _, h := range r.hierarchies {
		if h.Unified {
			return h, nil
		}
	}
	return cgroup.Hierarchy{}, errors.New("the machine mounts no cgroup hierarchy that counts processor time")
}

// joinGroup moves this program into the group, where its time is counted with
// that of all that it starts, and where killAll finds what it has left.
func (r *room) joinGroup() error {
	h, err := r.accounting()
	if err != nil {
		return err
	}
	dir := filepath.Join(h.Mountpoint, r.group, groupSelf)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0)
}

// cpuTime is the processor time that the group has used, whoever lives still.
func (r *room) cpuTime() (time.Duration, error) {
	h, err := r.accounting()
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(h.Mountpoint, r.group)
	if !h.Unified {
		data, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage"))
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		return time.Duration(n), err
	}
	data, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	var usec int64
	_, err = fmt.Sscanf(string(data), "usage_usec %d", &usec)
	return time.Duration(usec) * time.Microsecond, err
}

// processes are those in the group and the groups below it, in any hierarchy.
func (r *room) processes() ([]int, error) {
	seen := map[int]bool{}
	var pids []int
	for _, h := range r.hierarchies {
		err := filepath.WalkDir(filepath.Join(h.Mountpoint, r.group), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !d.IsDir() {
				return err
			}
			data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
				return err
			}
			for line := range bytes.Lines(data) {
				pid, err := strconv.Atoi(strings.TrimSpace(string(line)))
				if err != nil {
					return err
				}
				if !seen[pid] {
					seen[pid] = true
					pids = append(pids, pid)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return pids, nil
}

// sweep is for after the program that used the room has ended, however it did:
// it kills what is left in the group, and removes group and directory. It
// returns what should not have been there.
func sweep(ctx context.Context, dir, group string) (left []string, err error) {
	r, err := findRoom(dir, group)
	if err != nil {
		return nil, err
	}
	for range 1000 { // some seconds
		pids, err := r.processes()
		if err != nil {
			return left, err
		}
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			if name := commandLine(pid); name != "" {
				left = append(left, fmt.Sprintf("process %d: %s", pid, name))
			}
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return left, err
			}
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return left, err
		}
	}
	for _, h := range r.hierarchies {
		more, err := removeGroups(filepath.Join(h.Mountpoint, group), 0)
		left = append(left, more...)
		if err != nil {
			return left, err
		}
	}
	if err := unmountBelow(dir); err != nil {
		return left, err
	}
	return left, os.RemoveAll(dir)
}

// unmountBelow unmounts what is mounted below dir, the last one first.
func unmountBelow(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, line := range slices.Backward(slices.Collect(strings.Lines(string(data)))) {
		at := strings.Fields(line)[4]
		if !strings.HasPrefix(at, dir+"/") {
			continue
		}
		// With one all those on top of it go.
		if err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return &os.PathError{Op: "umount", Path: at, Err: err}
		}
	}
	return nil
}

// removeGroups removes a cgroup directory with those in it, and returns those
// that somebody should have removed: all but the run's own and one a peer.
func removeGroups(dir string, depth int) (left []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		sub := filepath.Join(dir, e.Name())
		more, err := removeGroups(sub, depth+1)
		left = append(left, more...)
		if err != nil {
			return left, err
		}
		if depth > 0 {
			left = append(left, "cgroup "+sub)
		}
	}
	for range 100 {
		// A group is busy for a moment after its last process has ended.
		if err = os.Remove(dir); err == nil || !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return left, err
}

// commandLine is what ps shows for a process; empty if it is gone.
func commandLine(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " "))
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
