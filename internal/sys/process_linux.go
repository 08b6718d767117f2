package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// PidfdWatch returns a file that becomes readable when the process of pidfd
// ends. Go's poller waits on it, whichever flags pidfd has and however many
// others watch the same one. The caller must close it.
func PidfdWatch(pidfd *os.File) (*os.File, error) {
	// A pidfd without O_NONBLOCK is not for Go's poller, and one that was
	// received may not be changed: others share its flags. The poller takes an
	// epoll instance of its own instead.
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil {
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("fcntl O_NONBLOCK", err)
	}
	f := os.NewFile(uintptr(epoll), "end of "+pidfd.Name())
	err = withFD(pidfd, "epoll_ctl", func(fd int) error {
		return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN})
	})
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// AwaitReadable waits until f is readable, or its read deadline passes: then it
// is os.ErrDeadlineExceeded.
func AwaitReadable(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var pollErr error
	err = conn.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := retry(func() (int, error) { return unix.Poll(fds, 0) })
		pollErr = os.NewSyscallError("poll", err)
		return n > 0 || err != nil
	})
	if err != nil {
		return err
	}
	return pollErr
}
