package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/sys"
)

// floor does each job with the bare system calls that it takes on this kernel,
// in the cheapest order known: no check, no record, no rollback, no keeper. What
// barepod takes more than that is the price of being a library.
//
// Containers are started by programs of system calls (floor_programs.go); what
// is not a process is made here.
type floor struct {
	dir         string // for the pins
	group       string
	hierarchies []cgroup.Hierarchy // v1 first, the unified one last
	nursery     int                // a mount namespace with one tmpfs
	container   string             // the image that starts a container that stays
	ends        string             // one that ends
	further     string             // a further command
	bridge      func() (index int, err error)
	count       atomic.Int64
}

func (*floor) name() string { return "floor" }
func (*floor) needs() needs { return needs{} }
func (*floor) jobs() []job  { return podJobs }

func (*floor) version(context.Context) (string, error) { return "bare system calls", nil }

func (f *floor) open(_ context.Context, r *room) (err error) {
	if f.dir, err = r.path("state", "floor"); err != nil {
		return err
	}
	f.group = r.group + "/floor"
	for _, unified := range []bool{false, true} {
		for _, h := range r.hierarchies {
			if h.Unified == unified && (unified || used(h)) {
				f.hierarchies = append(f.hierarchies, h)
			}
		}
	}
	if err := f.eachGroup("", func(dir string) error { return os.MkdirAll(dir, 0o755) }); err != nil {
		return err
	}
	if f.nursery, err = f.makeNursery(); err != nil {
		return err
	}
	f.bridge = sync.OnceValues(makeBridge)
	f.container, f.ends, f.further = filepath.Join(r.dir, "floor-start"), filepath.Join(r.dir, "floor-run"), filepath.Join(r.dir, "floor-exec")
	return errors.Join(
		writeProgram(f.container, f.startProgram(r.root, stayProgram)),
		writeProgram(f.ends, f.startProgram(r.root, trueProgram)),
		writeProgram(f.further, f.execProgram(trueProgram)))
}

// used reports whether barepod has a container in a v1 hierarchy.
func used(h cgroup.Hierarchy) bool {
	for _, c := range h.Controllers {
		switch c {
		case "memory", "pids", "cpu", "cpuacct":
			return true
		}
	}
	return false
}

func (f *floor) close(context.Context) error { return unix.Close(f.nursery) }

// eachGroup calls do with the directory of a cgroup in every hierarchy.
func (f *floor) eachGroup(name string, do func(dir string) error) error {
	for _, h := range f.hierarchies {
		if err := do(filepath.Join(h.Mountpoint, f.group, name)); err != nil {
			return err
		}
	}
	return nil
}

func makeGroup(dir string) error { return unix.Mkdir(dir, 0o755) }

// onThread calls f on a thread that is thrown away.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The runtime never ends the first thread: take another one.
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

// calls makes one call after the other until one fails.
func calls(list ...func() error) error {
	for i, call := range list {
		if err := call(); err != nil {
			return fmt.Errorf("call %d: %w", i, err)
		}
	}
	return nil
}

// Directories of the mount namespaces of pods.
const (
	floorPod  = "/pod"  // the pod's tmpfs
	floorRoot = "/root" // where a container assembles its root
)

// makeNursery makes the mount namespace that those of the pods are copied from:
// the copy of a large table is dear.
func (f *floor) makeNursery() (ns int, err error) {
	err = onThread(func() error {
		return calls(
			func() error { return unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS) },
			// Or the machine would follow what is unmounted here.
			func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
			func() error { return unix.Mount("floor", f.dir, "tmpfs", 0, "size=64k") },
			func() (err error) {
				ns, err = unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				return err
			},
			func() error { return unix.Chdir(f.dir) },
			func() error { return unix.Mkdir(floorPod[1:], 0o755) },
			func() error { return unix.Mkdir(floorRoot[1:], 0o755) },
			func() error { return unix.PivotRoot(".", ".") },
			func() error { return unix.Unmount(".", unix.MNT_DETACH) },
		)
	})
	return ns, err
}

// floorPodState is what the floor remembers of a pod.
type floorPodState struct {
	*floor
	id    string
	files []int // net, ipc, uts, mnt, and a pidfd of main
	main  floorProcess
}

// Where some of a pod's files are.
const (
	netFile   = 0
	mntFile   = 3
	pidfdFile = 4
)

// floorProcess is a container: the process that waits for it, our child, and
// the container's first one.
type floorProcess struct {
	waiter int
	pid    int
	group  string
}

func (f *floor) newPod(context.Context) (pod, error) {
	p := &floorPodState{floor: f, id: fmt.Sprintf("%d-%d", os.Getpid(), f.count.Add(1))}
	if err := f.eachGroup(p.id, makeGroup); err != nil {
		return nil, err
	}
	if err := onThread(p.namespaces); err != nil {
		return nil, err
	}
	pin := filepath.Join(f.dir, p.id)
	return p, calls(
		func() error { return unix.Mknod(pin, unix.S_IFREG|0o600, 0) },
		func() error { return attach(p.files[mntFile], pin) },
	)
}

// attach mounts a namespace on a file.
func attach(ns int, on string) error {
	fd, err := unix.OpenTree(ns, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.MoveMount(fd, "", unix.AT_FDCWD, on, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// namespaces are those of the pod, with the files and file systems that its
// containers share.
func (p *floorPodState) namespaces() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	var self int
	err := calls(
		func() error {
			return unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_FS)
		},
		func() error { return unix.Sethostname([]byte("bench")) },
		sys.LoopbackUp,
		func() (err error) {
			self, err = unix.Open("/proc/thread-self/ns", unix.O_PATH|unix.O_CLOEXEC, 0)
			return err
		},
		func() error { return unix.Setns(p.nursery, unix.CLONE_NEWNS) },
		func() error { return unix.Unshare(unix.CLONE_NEWNS) },
		func() error { return unix.Mount("pod", floorPod, "tmpfs", flags, "size=1m") },
	)
	if err != nil {
		return err
	}
	defer unix.Close(self)
	for _, name := range []string{"net", "ipc", "uts", "mnt"} {
		fd, err := unix.Openat(self, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		p.files = append(p.files, fd)
		if name == "mnt" {
			continue // pinned from outside, and with it the others
		}
		at := floorPod + "/" + name
		if err := errors.Join(unix.Mknod(at, unix.S_IFREG|0o600, 0), attach(fd, at)); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{"hosts": "127.0.0.1 localhost\n", "hostname": "bench\n", "resolv.conf": "\n"} {
		fd, err := unix.Open(floorPod+"/"+name, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		if _, err := unix.Write(fd, []byte(content)); err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	mount := func(fstype, name string, flags uintptr, options string) error {
		at := floorPod + "/" + name
		return errors.Join(unix.Mkdir(at, 0o755), unix.Mount(fstype, at, fstype, flags, options))
	}
	return errors.Join(
		mount("tmpfs", "shm", flags, "size=64m,mode=1777"),
		mount("mqueue", "mqueue", flags, ""),
		mount("sysfs", "sys", flags|unix.MS_RDONLY, ""),
		unix.Mount("tmpfs", floorPod+"/sys/firmware", "tmpfs", flags|unix.MS_RDONLY, "size=4k"))
}

func (p *floorPodState) start(context.Context) (err error) {
	if p.main, err = p.launch(p.container, "stay"); err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(p.main.pid, 0)
	p.files = append(p.files, pidfd)
	return err
}

func (p *floorPodState) run(context.Context) error {
	c, err := p.launch(p.ends, "true")
	if err != nil {
		return err
	}
	return errors.Join(c.wait(), p.eachGroup(c.group, unix.Rmdir))
}

func (p *floorPodState) exec(context.Context) error {
	// Its cgroups are the container's.
	c, err := p.begin(p.further, p.main.group, p.files[pidfdFile])
	if err != nil {
		return err
	}
	return c.wait()
}

// launch makes a container's cgroups, and starts it there.
func (p *floorPodState) launch(image, name string) (floorProcess, error) {
	group := p.id + "/" + name
	if err := p.eachGroup(group, makeGroup); err != nil {
		return floorProcess{}, err
	}
	return p.begin(image, group, p.files[:pidfdFile]...)
}

// begin starts one of the programs with the descriptors it knows, and returns
// when the container's is executed.
func (p *floorPodState) begin(image, group string, files ...int) (floorProcess, error) {
	c := floorProcess{group: group}
	var status [2]int
	if err := unix.Pipe2(status[:], unix.O_CLOEXEC); err != nil {
		return c, err
	}
	defer unix.Close(status[0])
	attr := &syscall.ProcAttr{Files: []uintptr{0, 1, 2, uintptr(status[1])}, Sys: &syscall.SysProcAttr{}}
	for _, fd := range files {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	err := p.eachGroup(group, func(dir string) error {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		attr.Files = append(attr.Files, uintptr(fd))
		return err
	})
	groups := attr.Files[4+len(files):]
	if n := len(groups) - 1; err == nil && p.hierarchies[n].Unified {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(groups[n])
	}
	if err == nil {
		c.waiter, err = syscall.ForkExec(image, []string{"floor"}, attr)
	}
	for _, fd := range append(groups, uintptr(status[1])) {
		_ = unix.Close(int(fd))
	}
	if err != nil {
		return c, err
	}
	c.pid, err = readStatus(status[0])
	return c, err
}

func (c *floorProcess) wait() error {
	var status unix.WaitStatus
	if _, err := unix.Wait4(c.waiter, &status, 0, nil); err != nil {
		return os.NewSyscallError("wait4", err)
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		return fmt.Errorf("the floor's container ended with status %#x", int(status))
	}
	return nil
}

func (p *floorPodState) remove(context.Context) error {
	var errs []error
	if p.main.waiter != 0 {
		err := unix.Kill(p.main.pid, unix.SIGKILL)
		if err == nil {
			_, err = unix.Wait4(p.main.waiter, nil, 0, nil)
		}
		errs = append(errs, err, p.eachGroup(p.main.group, unix.Rmdir))
	}
	pin := filepath.Join(p.dir, p.id)
	errs = append(errs, p.eachGroup(p.id, unix.Rmdir), unix.Unmount(pin, unix.MNT_DETACH), unix.Unlink(pin))
	return errors.Join(append(errs, p.forget())...)
}

func (p *floorPodState) forget() error {
	var errs []error
	for _, fd := range p.files {
		errs = append(errs, unix.Close(fd))
	}
	p.files = nil
	return errors.Join(errs...)
}

func (f *floor) life(ctx context.Context) error { return wholeLife(ctx, f) }
