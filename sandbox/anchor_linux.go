package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/program"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/volume"
)

// ownKinds are those of contextKinds that the pod does not take from the host.
func (c *Config) ownKinds() namespace.Kind { return contextKinds &^ c.fromHost() }

// anchor is what is put into a pod's private mount namespace; all of it is
// detached until then, so that the kernel frees it if we die.
type anchor struct {
	cfg     *Config
	nursery *namespace.Handle
	cgroup  *cgroup.Group
	etc     map[string]string
	volumes []*volume.Mounted

	mnt     *namespace.Handle
	context namespace.Set // net, ipc, uts, the pod's own or the host's
}

// build makes the pod's namespaces: on a thread that is thrown away, which
// first has the pod's net, IPC and UTS, and then a mount namespace copied from
// the nursery's, in which everything is attached.
func (a *anchor) build() error {
	_, err := namespace.Unshare(0, func() error {
		if err := sys.Unshare(int(a.cfg.ownKinds())); err != nil {
			return err
		}
		if err := a.setUp(); err != nil {
			return err
		}
		return a.assemble()
	})
	if err != nil {
		return errors.Join(err, a.close())
	}
	return nil
}

// setUp makes the namespaces that the thread is in ready for use.
func (a *anchor) setUp() error {
	own := a.cfg.ownKinds()
	if own.Has(namespace.UTS) {
		if err := sys.Sethostname(a.cfg.Hostname); err != nil {
			return err
		}
	}
	if own.Has(namespace.Net) {
		if err := loopback(); err != nil {
			return err
		}
	}
	for name, value := range sorted(a.cfg.Sysctls) {
		if err := writeSysctl(name, value); err != nil {
			return err
		}
	}
	return nil
}

// loopback sets the loopback device up with its IPv4 and IPv6 addresses, also
// where the host's default is to have no IPv6. The file that says so is not looked
// at: a lookup in /proc/sys/net passes the entries of all pods' namespaces.
func loopback() error {
	if err := sys.LoopbackUp(); err != nil {
		return err
	}
	if lacks, err := sys.LoopbackLacksIPv6(); !lacks {
		return err
	}
	return writeSysctl("net.ipv6.conf.lo.disable_ipv6", "0")
}

// assemble puts the thread into the new anchor and fills it.
func (a *anchor) assemble() error {
	self, err := sys.ThreadNamespaces()
	if err != nil {
		return err
	}
	defer self.Close()
	// The thread's alone from here on; it ends with this call.
	if err := sys.UnshareFS(); err != nil {
		return err
	}
	sys.Umask(0)
	var files fileSet
	defer files.close()
	base, err := a.podFS(&files)
	if err != nil {
		return err
	}
	pins := map[string]*os.File{}
	for kind := range contextKinds.Kinds() {
		// The host's are pinned as well: exactly these the pod has for good.
		ns, err := sys.OpenAt(self, kind.String())
		if err != nil {
			return err
		}
		h, err := namespace.FromFile(ns)
		if err != nil {
			return errors.Join(err, ns.Close())
		}
		a.context = append(a.context, h)
		pin, err := sys.CloneMount(ns, false)
		if err != nil {
			return err
		}
		files.add(pin)
		pins[kind.String()] = pin
	}
	mounts, err := a.contextFS(&files)
	if err != nil {
		return err
	}

	outer, err := sys.OpenAt(self, "mnt")
	if err != nil {
		return err
	}
	files.add(outer)
	if err := sys.Setns(a.nursery.File(), int(namespace.Mount)); err != nil {
		return err
	}
	mnt, err := sys.UnshareMount(self, outer)
	if err != nil {
		return err
	}
	if a.mnt, err = namespace.FromFile(mnt); err != nil {
		return errors.Join(err, mnt.Close())
	}
	if err := sys.MoveMount(base, nil, program.AnchorPod); err != nil {
		return err
	}
	for name, pin := range pins {
		if err := sys.MoveMount(pin, nil, program.AnchorNS+"/"+name); err != nil {
			return err
		}
	}
	for path, fs := range mounts {
		if err := sys.MoveMount(fs, nil, path); err != nil {
			return err
		}
	}
	for i, v := range a.volumes {
		// Peers of the containers' copies, so that a Mount may ask for them
		// to share what is mounted below.
		if err := sys.SetMountAttr(v.File, 0, 0, syscall.MS_SHARED, false); err != nil {
			return err
		}
		if err := sys.MoveMount(v.File, nil, program.AnchorVolumes+"/"+a.cfg.Volumes[i].Name); err != nil {
			return err
		}
	}
	return maskSysfs()
}

// podFS makes the pod's own small tmpfs, with its files and mount points.
func (a *anchor) podFS(files *fileSet) (*os.File, error) {
	base, err := sys.NewFS("tmpfs", sys.AttrNosuid|sys.AttrNodev|sys.AttrNoexec,
		sys.Option{Key: "size", Value: "1m"}, sys.Option{Key: "nr_inodes", Value: strconv.Itoa(64 + len(a.volumes))}, sys.Option{Key: "mode", Value: "755"})
	if err != nil {
		return nil, err
	}
	files.add(base)
	in := func(path string) string { return strings.TrimPrefix(path, program.AnchorPod+"/") }
	for _, dir := range []string{program.AnchorNS, program.AnchorEtc, program.AnchorShm, program.AnchorMqueue, program.AnchorSys, program.AnchorCgroup, program.AnchorVolumes} {
		if err := sys.MkdirAt(base, in(dir), 0o755); err != nil {
			return nil, err
		}
	}
	for _, m := range a.cgroup.Mounts() {
		if m.Dir == "." {
			break
		}
		if err := sys.MkdirAt(base, in(program.AnchorCgroup)+"/"+m.Dir, 0o755); err != nil {
			return nil, err
		}
	}
	touch := func(path, content string) error {
		f, err := sys.CreateAt(base, in(path), 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteString(content)
		return errors.Join(err, f.Close())
	}
	for name, content := range a.etc {
		if err := touch(program.AnchorEtc+"/"+name, content); err != nil {
			return nil, err
		}
	}
	for kind := range (contextKinds | namespace.PID).Kinds() {
		if err := sys.MkfileAt(base, in(program.AnchorNS)+"/"+kind.String(), 0o644); err != nil {
			return nil, err
		}
	}
	for i, v := range a.volumes {
		at := program.AnchorVolumes + "/" + a.cfg.Volumes[i].Name
		if v.Dir {
			err = sys.MkdirAt(base, in(at), 0o755)
		} else {
			err = sys.MkfileAt(base, in(at), 0o644)
		}
		if err != nil {
			return nil, err
		}
	}
	return base, nil
}

// contextFS makes the file systems that belong to the namespaces of the thread:
// the pod's shared memory and queues (IPC) and its view of devices (net).
func (a *anchor) contextFS(files *fileSet) (map[string]*os.File, error) {
	const attrs = sys.AttrNosuid | sys.AttrNodev | sys.AttrNoexec
	shm, err := a.shm(attrs)
	if err != nil {
		return nil, err
	}
	files.add(shm)
	mqueue, err := sys.NewFS("mqueue", attrs)
	if err != nil {
		return nil, fmt.Errorf("POSIX message queues: %w", err)
	}
	files.add(mqueue)
	sysfs, err := sys.NewFS("sysfs", attrs|sys.AttrReadOnly)
	if err != nil {
		return nil, err
	}
	files.add(sysfs)
	return map[string]*os.File{program.AnchorShm: shm, program.AnchorMqueue: mqueue, program.AnchorSys: sysfs}, nil
}

// shm makes the pod's shared memory, or takes the host's along with its IPC
// namespace.
func (a *anchor) shm(attrs int) (*os.File, error) {
	if a.cfg.HostNamespaces.Has(namespace.IPC) {
		return sys.OpenTree(nil, "/dev/shm", sys.TreeClone)
	}
	return sys.NewFS("tmpfs", attrs, sys.Option{Key: "size", Value: strconv.FormatInt(a.cfg.ShmSize, 10)},
		// One inode for each page, as tmpfs itself counts by default.
		sys.Option{Key: "nr_inodes", Value: strconv.FormatInt(a.cfg.ShmSize/int64(os.Getpagesize())+16, 10)},
		sys.Option{Key: "mode", Value: "1777"})
}

// maskedSys are directories of sysfs that no container sees.
var maskedSys = []string{"firmware", "devices/virtual/powercap"}

// maskSysfs hides what tells too much about the machine (CVE-2020-8694 for the
// power meters). The thread is in the anchor.
func maskSysfs() error {
	for _, name := range maskedSys {
		target, err := sys.OpenPath(nil, program.AnchorSys+"/"+name, false)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		empty, err := sys.OpenTree(nil, program.AnchorEmpty, sys.TreeClone)
		if err == nil {
			err = errors.Join(sys.MoveMount(empty, target, ""), empty.Close())
		}
		if err := errors.Join(err, target.Close()); err != nil {
			return err
		}
	}
	return nil
}

// pinPID adds the pin of the shared PID namespace.
func (a *anchor) pinPID(pid *namespace.Handle) error {
	pin, err := sys.CloneMount(pid.File(), false)
	if err != nil {
		return err
	}
	defer pin.Close()
	return a.mnt.Do(func() error { return sys.MoveMount(pin, nil, program.AnchorNS+"/"+namespace.PID.String()) })
}

func (a *anchor) close() error {
	var err error
	if a.mnt != nil {
		err = a.mnt.Close()
	}
	return errors.Join(err, a.context.Close())
}

// openPins opens the namespaces that an anchor pins.
func openPins(mnt *namespace.Handle, pid bool) (set namespace.Set, err error) {
	kinds := contextKinds
	if pid {
		kinds |= namespace.PID
	}
	err = mnt.Do(func() error {
		for kind := range kinds.Kinds() {
			h, err := namespace.Open(program.AnchorNS + "/" + kind.String())
			if err != nil {
				return err
			}
			set = append(set, h)
			if h.Kind() != kind {
				return fmt.Errorf("the pin of the %v namespace is one of kind %v", kind, h.Kind())
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return set, nil
}

// fileSet is a set of files to be closed together.
type fileSet []*os.File

func (s *fileSet) add(f *os.File) { *s = append(*s, f) }

// keep is add for a file that may be nil.
func (s *fileSet) keep(f *os.File) {
	if f != nil {
		s.add(f)
	}
}

func (s *fileSet) close() { closeAll(*s...) }
