package sys

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// PidfdOpen opens a descriptor of the process pid. The number must be known to
// be that process still, for instance because it is an unreaped child. The
// caller must close the file, which is non-blocking, so that Go's poller takes it.
func PidfdOpen(pid int) (*os.File, error) {
	fd, err := retry(func() (int, error) { return unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK) })
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", pid)), nil
}

// PidfdSendSignal sends sig to the process. It is ESRCH if the process is
// reaped; one that ended and is not reaped yet takes any signal.
func PidfdSendSignal(pidfd *os.File, sig syscall.Signal) error {
	return withFD(pidfd, "pidfd_send_signal", func(fd int) error {
		return unix.PidfdSendSignal(fd, sig, nil, 0)
	})
}

// PidfdExited reports whether the process has ended, reaped or not.
func PidfdExited(pidfd *os.File) (exited bool, err error) {
	err = withFD(pidfd, "poll", func(fd int) (err error) {
		exited, err = PidfdExitedFD(uintptr(fd))
		return err
	})
	return exited, err
}

// PidfdExitedFD is PidfdExited for a descriptor, inside SyscallConn.
func PidfdExitedFD(pidfd uintptr) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := retry(func() (int, error) { return unix.Poll(fds, 0) })
	return n == 1 && fds[0].Revents&unix.POLLIN != 0, err
}

// PidfdPID returns the number of the process as /proc of this process shows it:
// -1 if it is reaped, 0 if it has none there. It is EBADF if f is not a pidfd.
func PidfdPID(pidfd *os.File) (int, error) {
	pid := 0
	err := withFD(pidfd, "read fdinfo", func(fd int) error {
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
		if err != nil {
			return err
		}
		for line := range bytes.Lines(info) {
			if value, ok := bytes.CutPrefix(line, []byte("Pid:")); ok {
				pid, err = strconv.Atoi(string(bytes.TrimSpace(value)))
				return err
			}
		}
		return unix.EBADF
	})
	return pid, err
}

// pidfdNamespace has the PIDFD_GET_*_NAMESPACE requests of linux/pidfd.h (6.11)
// by the names of /proc/<pid>/ns.
var pidfdNamespace = map[string]uint{
	"cgroup": 0xff01,
	"ipc":    0xff02,
	"mnt":    0xff03,
	"net":    0xff04,
	"pid":    0xff05,
	"time":   0xff07,
	"user":   0xff09,
	"uts":    0xff0a,
}

// PidfdNamespace opens a namespace of the process by its name in /proc/<pid>/ns.
// It is ENOTTY before Linux 6.11, ESRCH if the process has ended, EOPNOTSUPP if
// the kernel has no such kind of namespace. The caller must close the file.
func PidfdNamespace(pidfd *os.File, name string) (*os.File, error) {
	// Only a file of pidfs (6.9) is sent the request: what it would mean to a
	// driver behind a descriptor that is no pidfd at all, nobody knows.
	magic, err := fsMagic(pidfd)
	if err != nil {
		return nil, err
	}
	request, ok := pidfdNamespace[name]
	if !ok || magic != unix.PID_FS_MAGIC {
		return nil, &os.PathError{Op: "ioctl PIDFD_GET_NAMESPACE", Path: pidfd.Name(), Err: unix.ENOTTY}
	}
	var f *os.File
	err = withFD(pidfd, "ioctl PIDFD_GET_NAMESPACE", func(fd int) error {
		ns, err := retry(func() (int, error) { return unix.IoctlRetInt(fd, request) })
		if err == nil {
			f = os.NewFile(uintptr(ns), name+" of "+pidfd.Name()) // O_CLOEXEC: nsfs sets it
		}
		return err
	})
	return f, err
}

// ProcNamespace is PidfdNamespace by way of /proc/<pid>/ns, for any kernel. The
// number is read from the pidfd before and after the file is opened: as long as
// the process is not reaped, its number is its own. It is ESRCH if the process
// is reaped, ENOENT if it has ended or the kernel has no such kind.
func ProcNamespace(pidfd *os.File, name string) (*os.File, error) {
	before, err := PidfdPID(pidfd)
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("/proc/%d/ns/%s", before, name)
	switch {
	case before < 0:
		return nil, &os.PathError{Op: "open namespace", Path: pidfd.Name(), Err: unix.ESRCH}
	case before == 0:
		return nil, &os.PathError{Op: "open namespace", Path: pidfd.Name(), Err: errors.New("process not visible in /proc")}
	}
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	})
	after, afterErr := PidfdPID(pidfd)
	if err == nil && (afterErr != nil || after != before) {
		_ = unix.Close(fd)
		return nil, errors.Join(afterErr, &os.PathError{Op: "open namespace", Path: pidfd.Name(), Err: unix.ESRCH})
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	// The path is not the file's name: it may mean another process by now.
	return os.NewFile(uintptr(fd), name+" of "+pidfd.Name()), nil
}
