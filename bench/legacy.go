package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/namespace"
)

// legacy is a thread in a mount namespace of its own where the unified hierarchy
// of a machine that has cgroup v1 as well is unmounted: crun and podman refuse
// to work with both. What is started there inherits that view. /dev/shm is its
// own, too: podman has one set of locks there for the whole machine.
type legacy struct {
	ns   *os.File
	work chan func() error
	done chan error
}

// newLegacy makes the namespace, or enters the one at path.
func newLegacy(path string) (*legacy, error) {
	l := &legacy{work: make(chan func() error), done: make(chan error)}
	ready := make(chan error)
	go func() {
		// The thread is thrown away.
		_, err := namespace.Unshare(0, func() (err error) {
			if path == "" {
				path = "/proc/thread-self/ns/mnt"
				err = makeLegacy()
			} else {
				err = unix.Unshare(unix.CLONE_FS)
			}
			if err == nil {
				l.ns, err = os.Open(path)
			}
			if err == nil {
				err = os.NewSyscallError("setns", unix.Setns(int(l.ns.Fd()), unix.CLONE_NEWNS))
			}
			if err != nil {
				return err
			}
			ready <- nil
			for f := range l.work {
				l.done <- f()
			}
			return nil
		})
		if err != nil {
			ready <- err
			return
		}
		l.done <- l.ns.Close()
	}()
	return l, <-ready
}

// path is where another process finds the namespace.
func (l *legacy) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.ns.Fd()) }

func makeLegacy() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("make the mounts private", err)
	}
	if err := unix.Mount("barepod-bench", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return os.NewSyscallError("mount /dev/shm", err)
	}
	host, err := cgroup.Detect()
	if err != nil {
		return err
	}
	if len(host.Hierarchies) == 1 {
		return nil
	}
	for _, h := range host.Hierarchies {
		if h.Unified {
			if err := unix.Unmount(h.Mountpoint, unix.MNT_DETACH); err != nil {
				return os.NewSyscallError("unmount the unified hierarchy", err)
			}
		}
	}
	return nil
}

// do calls f on the thread.
func (l *legacy) do(f func() error) error {
	l.work <- f
	return <-l.done
}

func (l *legacy) close() error {
	close(l.work)
	return <-l.done
}

// start starts a program there.
func (l *legacy) start(cmd *exec.Cmd) error { return l.do(cmd.Start) }

// run runs a program there, with env added to the environment, and returns what
// it prints to its standard output. Several can run at the same time.
func (l *legacy) run(ctx context.Context, env []string, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := l.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// detach is run for a program that leaves others behind: they would keep pipes
// open, so there are none.
func (l *legacy) detach(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	errs, err := os.CreateTemp("", "barepod-bench-")
	if err != nil {
		return err
	}
	defer os.Remove(errs.Name())
	defer errs.Close()
	cmd.Stderr = errs
	if err := l.start(cmd); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	if err := cmd.Wait(); err != nil {
		text, _ := os.ReadFile(errs.Name())
		return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(text))
	}
	return nil
}
