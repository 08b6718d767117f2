package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Run is a running launch program.
type Run struct {
	prog   *Program
	status *os.File // our end of the status socket
	pidfd  *os.File // of the process started from the image
	pid    int
	reaped bool
}

// Start runs the program as a child of this process, with stdio as its
// descriptors 0 to 2 (nil entries stay closed). All files are borrowed until it
// returns. dir is where the image goes if the machine forbids executable
// memfds.
//
// The caller must end with [Run.Reap] or [Run.Kill], then [Run.Close].
func (p *Program) Start(stdio [3]*os.File, dir string) (*Run, error) {
	image, err := p.Image(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	img, err := imageFile(p.Name, image, dir)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()

	// File.Fd makes the standard streams blocking, as os/exec has them: a Go
	// pipe is not, and programs take EAGAIN for an error.
	files := []uintptr{stdio[0].Fd(), stdio[1].Fd(), stdio[2].Fd(), theirs.Fd(), img.Fd()}
	for _, f := range p.files {
		files = append(files, fdOf(f))
	}
	var pidfd int
	// The environment is empty and the arguments hold nothing of the caller:
	// both are readable in /proc for as long as the keeper lives.
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", imageFD), []string{p.Name}, &syscall.ProcAttr{
		Env:   []string{},
		Files: files,
		Sys:   &syscall.SysProcAttr{PidFD: &pidfd},
	})
	runtime.KeepAlive(stdio)
	runtime.KeepAlive(p.files)
	if err != nil {
		_ = ours.Close()
		return nil, &os.PathError{Op: "start launch image", Path: img.Name(), Err: err}
	}
	return &Run{prog: p, status: ours, pidfd: os.NewFile(uintptr(pidfd), "pidfd"), pid: pid}, nil
}

// fdOf returns f's descriptor, or one that ForkExec closes. Unlike File.Fd it
// does not make the file blocking; the caller keeps f alive.
func fdOf(f *os.File) uintptr {
	number := ^uintptr(0)
	if f == nil {
		return number
	}
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { number = fd })
	}
	return number
}

// socketpair returns the two ends of the status socket: ours for Go's poller.
func socketpair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
		return nil, nil, os.NewSyscallError("fcntl O_NONBLOCK", err)
	}
	return os.NewFile(uintptr(fds[0]), "status"), os.NewFile(uintptr(fds[1]), "status"), nil
}

// Receive waits for the next message of the program: at most size bytes, and
// up to n files, which the caller must close. It returns an [*Error] if a call
// failed, io.EOF when every process of the program has ended or executed
// something else, and the context's error when it ends first.
//
// A message of 8 bytes is always such a failure: programs send others.
func (r *Run) Receive(ctx context.Context, size, n int) ([]byte, []*os.File, error) {
	stop := r.deadline(ctx)
	defer stop()
	buf := make([]byte, max(size, reportSize))
	oob := make([]byte, unix.CmsgSpace(4*n))
	length, oobn, flags, err := r.recvmsg(buf, oob)
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		return nil, nil, err
	}
	files, err := parseFiles(oob[:oobn])
	if err != nil {
		return nil, nil, err
	}
	switch {
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(files) > n: // the space is rounded up
		closeAll(files)
		return nil, nil, fmt.Errorf("launch: BUG: a message of more than %d bytes or %d files", len(buf), n)
	case length == reportSize:
		closeAll(files)
		return nil, nil, r.prog.failure(buf)
	case length == 0:
		closeAll(files)
		return nil, nil, io.EOF
	}
	return buf[:length], files, nil
}

// deadline has reads end with the context, until stop.
func (r *Run) deadline(ctx context.Context) (stop func()) {
	set := make(chan struct{})
	unset := context.AfterFunc(ctx, func() {
		defer close(set)
		_ = r.status.SetReadDeadline(time.Unix(1, 0))
	})
	return func() {
		if !unset() { // the next Receive has a context of its own
			<-set
			_ = r.status.SetReadDeadline(time.Time{})
		}
	}
}

func (r *Run) recvmsg(buf, oob []byte) (n, oobn, flags int, err error) {
	c, err := r.status.SyscallConn()
	if err != nil {
		return 0, 0, 0, err
	}
	var rerr error
	err = c.Read(func(fd uintptr) bool {
		for {
			n, oobn, flags, _, rerr = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
			// ECONNRESET: closed with a message of ours unread. It comes once
			// and before what the program had to say, a failure perhaps.
			if !errors.Is(rerr, unix.EINTR) && !errors.Is(rerr, unix.ECONNRESET) {
				return !errors.Is(rerr, unix.EAGAIN)
			}
		}
	})
	if err != nil {
		return 0, 0, 0, err
	}
	return n, oobn, flags, os.NewSyscallError("recvmsg", rerr)
}

func parseFiles(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	var files []*os.File
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			closeAll(files)
			return nil, os.NewSyscallError("recvmsg", err)
		}
		for _, fd := range fds {
			// Programs send pidfds: non-blocking, so that Go's poller takes them.
			_ = unix.SetNonblock(fd, true)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// Send sends one message to the program.
func (r *Run) Send(b []byte) error {
	c, err := r.status.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = c.Write(func(fd uintptr) bool {
		// MSG_NOSIGNAL: the host program must not die of our child's death.
		serr = unix.Sendto(int(fd), b, unix.MSG_NOSIGNAL, nil)
		return !errors.Is(serr, unix.EAGAIN)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("sendto", serr)
}

// Reap waits for the process started from the image (not for those that it
// forked). That a wait loop of the host program was faster is no error.
func (r *Run) Reap() error {
	if r.reaped {
		return nil
	}
	for {
		err := unix.Waitid(unix.P_PIDFD, int(r.pidfd.Fd()), nil, unix.WEXITED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil, errors.Is(err, unix.ECHILD):
			r.reaped = true
			return nil
		}
		return os.NewSyscallError("waitid", err)
	}
}

// Kill kills the process started from the image and reaps it.
func (r *Run) Kill() error {
	if r.reaped {
		return nil
	}
	err := unix.PidfdSendSignal(int(r.pidfd.Fd()), unix.SIGKILL, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	return r.Reap()
}

// PID is the number of the process started from the image, its own until Reap.
func (r *Run) PID() int { return r.pid }

// Close drops the handle: a program that still waits for a message of its
// starter sees the end of the file. It may be called again.
func (r *Run) Close() error {
	err := errors.Join(r.status.Close(), r.pidfd.Close())
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

var _ io.Closer = (*Run)(nil)
