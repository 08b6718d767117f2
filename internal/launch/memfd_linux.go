package launch

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// seals close the image for good: nobody can change what a process in a pod
// still runs from (CVE-2019-5736).
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// memfdCreate is replaced in tests to force the fall-backs.
var memfdCreate = unix.MemfdCreate

// imageFile returns an open file with the image, ready for execution: a sealed
// memfd, or where vm.memfd_noexec=2 forbids that (Linux 6.3), a nameless file in
// dir.
func imageFile(name string, image []byte, dir string) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := memfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before 6.3, where every memfd is executable
		fd, err = memfdCreate(name, flags)
	}
	if errors.Is(err, unix.EACCES) {
		return tmpImage(image, dir)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "memfd:"+name)
	if _, err := f.Write(image); err != nil {
		_ = f.Close()
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		_ = f.Close()
		return nil, os.NewSyscallError("fcntl F_ADD_SEALS", err)
	}
	return f, nil
}

func tmpImage(image []byte, dir string) (*os.File, error) {
	// execve refuses a file that anybody has open for writing (ETXTBSY), also
	// a child of the host program that is about to execute something itself.
	// This lock keeps children from being forked while the file is.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	w, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o500)
	if err != nil {
		return nil, fmt.Errorf("launch image (vm.memfd_noexec=2 forbids a memfd): %w", err)
	}
	defer w.Close()
	if _, err := w.Write(image); err != nil {
		return nil, err
	}
	r, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", w.Fd()))
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(r.Fd()), &st); err == nil && st.Flags&unix.ST_NOEXEC != 0 {
		_ = r.Close()
		return nil, fmt.Errorf("launch image: vm.memfd_noexec=2 forbids a memfd and %s is on a file system mounted noexec: %w",
			dir, unix.EACCES)
	}
	return r, nil
}
