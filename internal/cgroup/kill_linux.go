package cgroup

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/barepod/barepod/internal/sys"
)

// Kill sends SIGKILL to every process in the group and in the groups below it,
// also to those that are forked meanwhile and those that are frozen, and returns
// when there is none left. A group that does not exist is done with. ctx bounds
// the wait: a process in an uninterruptible system call dies only after it.
//
// A killed group is spent: what starts anew should do so in a group made anew,
// see [Join.Dir].
//
// With the [Systemd] driver a pod's keepers are in its slice and are spared.
func (g *Group) Kill(ctx context.Context) error {
	targets, err := g.targets()
	for _, t := range targets {
		err = errors.Join(err, t.kill(ctx))
	}
	return g.fail("kill", err)
}

// KillFile returns the path of the file that kills the group and those below it
// when "1" is written to it. It is empty if there is no unified hierarchy.
func (g *Group) KillFile() string {
	h := g.host.unified()
	if h == nil {
		return ""
	}
	return g.in(*h) + "/cgroup.kill"
}

func (g *Group) kill(ctx context.Context) error {
	err := poll(ctx, func() (bool, error) {
		if err := g.killOnce(ctx); err != nil {
			return false, err
		}
		populated, err := g.populated()
		return !populated, err
	})
	if gone(err) {
		return nil
	}
	return err
}

// Populated reports whether there is a process in the group or in one below it.
// A zombie does not count, and a group that does not exist has none.
func (g *Group) Populated() (bool, error) {
	populated, err := g.populated()
	if gone(err) {
		return false, nil
	}
	return populated, g.fail("look into", err)
}

// poll calls done until it says so or fails, or ctx ends, less and less often.
func poll(ctx context.Context, done func() (bool, error)) error {
	for delay := 100 * time.Microsecond; ; delay = min(2*delay, 20*time.Millisecond) {
		if ok, err := done(); ok || err != nil {
			return err
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

func (g *Group) populated() (bool, error) {
	if h := g.host.unified(); h != nil {
		data, err := sys.ReadControl(g.in(*h) + "/cgroup.events")
		if err != nil {
			return false, err
		}
		n, err := parseKey(data, "populated")
		return n != 0, err
	}
	pids, err := g.pids()
	return len(pids) > 0, err
}

// killOnce kills what is in the group now.
func (g *Group) killOnce(ctx context.Context) error {
	freezer := g.host.with("freezer")
	if h := g.host.unified(); h != nil {
		// From Linux 5.14 on; reaches the groups below, what is forked
		// meanwhile, and what the freezer of v2 holds.
		if err := sys.WriteControl(g.KillFile(), "1"); err != nil {
			return err
		}
		if freezer == nil || freezer.Unified {
			return nil
		}
		// Groups are not made in v1's freezer beside a unified hierarchy. But
		// if somebody froze the pod there, the signal waits for the thaw.
		return thaw(g.in(*freezer))
	}
	if freezer == nil {
		return g.signal()
	}
	dir := g.in(*freezer)
	if err := freeze(ctx, dir); err != nil && !gone(err) {
		return errors.Join(err, thaw(dir))
	}
	return errors.Join(g.signal(), thaw(dir))
}

// freeze stops the group in v1's freezer, the groups below included, or most of
// it: a group whose processes keep forking may never be seen frozen. What gets
// away is met again in the next round.
func freeze(ctx context.Context, dir string) error {
	const rounds = 50
	for i := 0; i < rounds && ctx.Err() == nil; i++ {
		// Written again in each round, as it makes the kernel look for
		// processes that came in since.
		if err := sys.WriteControl(dir+"/freezer.state", "FROZEN"); err != nil {
			return err
		}
		state, err := sys.ReadControl(dir + "/freezer.state")
		if err != nil || string(bytes.TrimSpace(state)) == "FROZEN" {
			return err
		}
		time.Sleep(100 * time.Microsecond)
	}
	return nil
}

// thaw lets the group run on in v1's freezer, and those below it that were
// frozen on their own.
func thaw(dir string) error {
	return walk(dir, func(dir string) error {
		return sys.WriteControl(dir+"/freezer.state", "THAWED")
	})
}

// signal kills the processes that are listed in the group. The handle is opened
// before the list is read again: if the process is still there, the handle is
// its own and not that of another one that got the number since.
func (g *Group) signal() error {
	pids, err := g.pids()
	if err != nil {
		return err
	}
	handles := make(map[int]*os.Process, len(pids))
	defer func() {
		for _, p := range handles {
			_ = p.Release()
		}
	}()
	for pid := range pids {
		// Linux 5.4 and Go 1.23 make this a pidfd.
		p, err := os.FindProcess(pid)
		if err != nil {
			return err
		}
		handles[pid] = p
	}
	if pids, err = g.pids(); err != nil {
		return err
	}
	for pid, p := range handles {
		if !pids[pid] {
			continue
		}
		if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	return nil
}

// pids returns the processes in the group and below, of all of the group's
// hierarchies: one that is just joining is not in all of them yet.
func (g *Group) pids() (map[int]bool, error) {
	all := map[int]bool{}
	found := false
	for _, h := range g.host.used() {
		err := walk(g.in(h), func(dir string) error {
			list, err := sys.ReadControl(dir + "/cgroup.procs")
			if err != nil {
				return err
			}
			found = true
			for field := range bytes.FieldsSeq(list) {
				pid, err := strconv.Atoi(string(field))
				if err != nil {
					return err
				}
				if pid > 0 { // 0 is a process outside this PID namespace
					all[pid] = true
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, fs.ErrNotExist
	}
	return all, nil
}

// walk calls f for dir and for each directory below it, those that vanish
// excepted.
func walk(dir string, f func(dir string) error) error {
	if err := f(dir); err != nil {
		if gone(err) {
			return nil
		}
		return err
	}
	return subdirs(dir, func(sub string) error { return walk(sub, f) })
}

// subdirs calls f for each directory in dir. A link is not a directory.
func subdirs(dir string, f func(sub string) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !gone(err) {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := f(dir + "/" + e.Name()); err != nil {
			return err
		}
	}
	return nil
}
