package launch_test

import (
	"context"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// The order of a program's last message and its end is kept, also if it has not
// read what was sent to it: the kernel then reports ECONNRESET before both.
func TestReceiveAfterReset(t *testing.T) {
	stdin, w := pipe(t)
	p := build("reset", func(p *launch.Program) {
		p.Call("read", launch.Int(0), p.Buffer(8, "byte"), launch.Int(8)) // until the message is there
		p.Call("write", launch.Status, p.Str("the last word"), launch.Int(13))
		p.Note("fail")
		p.Call("close", launch.Int(999))
		exit(p, launch.Int(0))
	})
	run := start(t, p, stdin)
	require.NoError(t, run.Send([]byte("nobody reads this")))
	require.NoError(t, w.Close())
	require.NoError(t, run.Reap())

	m, _, err := run.Receive(within(t), 16, 0)
	require.NoError(t, err)
	require.Equal(t, "the last word", string(m))
	_, _, err = run.Receive(within(t), 16, 0)
	require.EqualError(t, err, "launch: fail: bad file descriptor")
	_, _, err = run.Receive(within(t), 16, 0)
	require.Equal(t, io.EOF, err)
	require.ErrorIs(t, run.Send([]byte("x")), syscall.EPIPE) // and no SIGPIPE
}

// descriptors sends two descriptors of its own.
func descriptors(p *launch.Program) {
	msg, fds := p.FDMessage(p.Str("two files"), 9, 2)
	null := p.Call("openat", launch.AtFDCWD, p.Str("/dev/null"), launch.OpenFlags(unix.O_RDONLY)).Result()
	p.Store32(fds, launch.Int(1))
	p.Store32(fds.Plus(4), null)
	p.Call("sendmsg", launch.Status, msg, launch.Named(unix.MSG_NOSIGNAL, "MSG_NOSIGNAL"))
	exit(p, launch.Int(0))
}

func TestReceiveFiles(t *testing.T) {
	r, w := pipe(t)
	run := start(t, build("descriptors", descriptors), nil, w)
	m, files, err := run.Receive(within(t), 16, 2)
	require.NoError(t, err)
	require.Equal(t, "two files", string(m))
	require.Len(t, files, 2)
	for _, f := range files {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.FD_CLOEXEC)
	}
	_, err = files[0].WriteString("through the received pipe")
	require.NoError(t, err)
	n, err := files[1].Read(make([]byte, 1))
	require.Zero(t, n)
	require.Equal(t, io.EOF, err)
	require.NoError(t, files[0].Close())
	require.NoError(t, files[1].Close())
	require.NoError(t, w.Close())
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "through the received pipe", string(out))
}

// What does not fit is an error, never half a message or a lost descriptor.
func TestReceiveTooMuch(t *testing.T) {
	_, w := pipe(t)
	for _, tt := range []struct {
		name    string
		size, n int
		want    string
	}{
		{"bytes", 4, 2, "launch: BUG: a message of more than 8 bytes or 2 files"},
		{"files", 16, 0, "launch: BUG: a message of more than 16 bytes or 0 files"},
		{"one file", 16, 1, "launch: BUG: a message of more than 16 bytes or 1 files"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := start(t, build("descriptors", descriptors), nil, w)
			_, _, err := run.Receive(within(t), tt.size, tt.n)
			require.EqualError(t, err, tt.want)
			_, _, err = run.Receive(within(t), tt.size, tt.n)
			require.Equal(t, io.EOF, err)
		})
	}
}

func TestReceiveContext(t *testing.T) {
	run := start(t, build("echo", echo))
	for range 3 { // the end of one context is not that of the next
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		_, _, err := run.Receive(ctx, 16, 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
		_, _, err = run.Receive(ctx, 16, 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(2*time.Millisecond, cancel)
		_, _, err = run.Receive(ctx, 16, 0)
		require.ErrorIs(t, err, context.Canceled)

		require.NoError(t, run.Send([]byte("still there")))
		m, _, err := run.Receive(within(t), 16, 0)
		require.NoError(t, err)
		require.Equal(t, "still there", string(m))
	}
}
