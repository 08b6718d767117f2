package launch_test

import (
	"context"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/launch"
)

// hello writes to its standard output in a forked child and reports its pid.
func hello() *launch.Program {
	p := launch.New("hello")
	p.Call("close", launch.Image)
	pid := p.Call("clone", launch.CloneFlags(int(syscall.SIGCHLD)), launch.Null, launch.Null, launch.Null, launch.Null)
	child := p.NewLabel("child")
	p.IfZero(pid.Result(), child)
	msg := p.Buffer(16, "report")
	p.Store32(msg.Plus(4), pid.Result())
	p.Call("write", launch.Status, msg, launch.Int(16))
	again := p.Here("again")
	status := p.Buffer(8, "status")
	p.Call("wait4", pid.Result(), status, launch.Int(0), launch.Null).On(syscall.EINTR, again)
	bad := p.NewLabel("bad")
	p.IfNot(status.Load(), 0xff7f, 3<<8, bad)
	p.Call("exit_group", launch.Int(0))
	p.Place(bad)
	p.Call("exit_group", launch.Int(1))
	p.Place(child)
	i := p.Var()
	loop := p.Here("loop")
	p.Call("write", launch.Int(1), p.Str("hello\n"), launch.Int(6))
	p.Sum(i, i, launch.Int(1))
	p.IfNot(i, ^uint64(0), 3, loop)
	p.Call("exit_group", launch.Int(3))
	return p
}

func TestRun(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p := hello()
	t.Log(p)
	run, err := p.Start([3]*os.File{nil, w, nil}, t.TempDir())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	msg, _, err := run.Receive(context.Background(), 16, 0)
	require.NoError(t, err)
	require.Len(t, msg, 16)
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "hello\nhello\nhello\n", string(out))
	_, _, err = run.Receive(context.Background(), 16, 0)
	require.Equal(t, io.EOF, err)
	require.NoError(t, run.Reap())
	require.NoError(t, run.Close())
	require.NoError(t, r.Close())
}
