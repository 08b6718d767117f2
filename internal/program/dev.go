//go:build linux

package program

import (
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// devices are the nodes that every container has.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// dev makes /dev. Its nodes are mounts of the nursery's, which is a read-only
// file system; the tmpfs itself is nodev, so a node that the container makes
// (CAP_MKNOD is one of the usual capabilities) opens no device.
func dev(t tree, pod podMounts) {
	p := t.p
	p.Note("mount tmpfs on /dev")
	base := newFS(p, "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC,
		"size", "64k", "nr_inodes", "256", "mode", "755")
	t.mount(base, "dev", dir)
	for _, name := range devices {
		p.Note("make /dev/%s", name)
		p.Call("openat", base, p.Str(name), launch.OpenFlags(unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL), launch.Octal(0o666))
		moveTo2(p, cloneOf(p, AnchorDev+"/"+name), base, name)
	}
	p.Note("make the links in /dev")
	for _, l := range [][2]string{
		{"/proc/self/fd", "fd"},
		{"/proc/self/fd/0", "stdin"},
		{"/proc/self/fd/1", "stdout"},
		{"/proc/self/fd/2", "stderr"},
		{"/proc/kcore", "core"},
		{"pts/ptmx", "ptmx"},
	} {
		p.Call("symlinkat", p.Str(l[0]), base, p.Str(l[1]))
	}
	sub := func(name string, fs launch.Arg) {
		p.Call("mkdirat", base, p.Str(name), launch.Octal(0o755))
		moveTo2(p, fs, base, name)
	}
	p.Note("mount devpts on /dev/pts")
	sub("pts", newFS(p, "devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "newinstance", "", "ptmxmode", "0666", "mode", "0620", "gid", "5"))
	p.Note("mount the pod's shared memory on /dev/shm")
	sub("shm", pod.shm)
	p.Note("mount mqueue on /dev/mqueue")
	sub("mqueue", pod.mqueue)
}
