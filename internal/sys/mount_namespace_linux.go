package sys

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// UnshareMount gives the calling thread, which must end afterwards, a copy of its
// mount namespace that can be pinned in the mount namespace outer, the one that
// the program is in. self is the thread's [ThreadNamespaces]. The caller must
// close the result.
//
// The kernel refuses the pin of a namespace with a lower number than that of
// the namespace it would be in, as a possible loop (ELOOP, mnt_ns_loop in
// fs/namespace.c). From Linux 6.18 on every processor gives numbers from a range
// of its own, so that a younger namespace may well have the lower number, unless
// outer is the machine's first. But a processor's own numbers only grow: one
// made on the processor of outer has a higher number.
func UnshareMount(self, outer *os.File) (*os.File, error) {
	var untried []int
	for first := true; ; first = false {
		if err := Unshare(unix.CLONE_NEWNS); err != nil {
			return nil, err
		}
		made, err := OpenAt(self, "mnt")
		if err != nil {
			return nil, err
		}
		later, err := isLater(made, outer)
		if err == nil && later {
			return made, nil
		}
		if first && err == nil {
			untried, err = processors()
		}
		if err == nil && len(untried) == 0 {
			err = &os.PathError{Op: "unshare", Path: outer.Name(), Err: errors.New("no processor makes a mount namespace that is later than this one")}
		}
		if err == nil {
			err = runOn(untried[0])
			untried = untried[1:]
		}
		if err != nil {
			return nil, errors.Join(err, made.Close())
		}
		if err := made.Close(); err != nil {
			return nil, err
		}
	}
}

// isLater compares the numbers of two mount namespaces.
func isLater(made, outer *os.File) (bool, error) {
	number := func(ns *os.File) (n uint64, err error) {
		err = withFD(ns, "ioctl NS_GET_MNTNS_ID", func(fd int) error {
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.NS_GET_MNTNS_ID, uintptr(unsafe.Pointer(&n)))
			if errno != 0 {
				return errno
			}
			return nil
		})
		return n, err
	}
	old, err := number(outer)
	if errors.Is(err, unix.ENOTTY) {
		return true, nil // before Linux 6.11: the order is that of time
	}
	if err != nil {
		return false, err
	}
	young, err := number(made)
	return young > old, err
}

// processors are those that the calling thread may run on.
func processors() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	var list []int
	for n := range 64 * len(set) {
		if set.IsSet(n) {
			list = append(list, n)
		}
	}
	return list, nil
}

// runOn has the calling thread run on one processor.
func runOn(processor int) error {
	var set unix.CPUSet
	set.Set(processor)
	return os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, &set))
}
