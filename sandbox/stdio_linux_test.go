package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/sandbox"
)

// TestStdioNull: what is not set is /dev/null.
func TestStdioNull(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	p := idle(t, sb, sandbox.Dir{Path: root}, "main")
	require.Equal(t, strings.Repeat("/dev/null\n", 3), inside(t, p, "for n in 0 1 2; do readlink /proc/1/fd/$n; done")+"\n")
	cmd := shell(sb, sandbox.Dir{Path: root}, "cat; echo out; echo err >&2")
	exit, err := cmd.Run(t.Context())
	require.NoError(t, err)
	require.True(t, exit.Success())
}

// TestStdioFile: a file is passed through, and lives on without us.
func TestStdioFile(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	path := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(path)
	require.NoError(t, err)
	in, err := os.Open(filepath.Join(root, "etc/passwd"))
	require.NoError(t, err)
	cmd := shell(sb, sandbox.Dir{Path: root}, "readlink /proc/self/fd/1; cat; echo err >&2")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, log, log
	p := start(t, cmd)
	require.NoError(t, log.Close())
	require.NoError(t, in.Close())
	require.True(t, wait(t, p).Success())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	got := lines(string(text))
	require.Equal(t, []string{"root:x:0:0::/:/bin/sh", "err"}, got[len(got)-2:])
}

func TestStdioCopied(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	var out, errs bytes.Buffer
	cmd := shell(sb, sandbox.Dir{Path: root}, "cat; echo err >&2")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = iotest.OneByteReader(strings.NewReader("in\nand more")), &out, &errs
	_, err := cmd.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, "in\nand more", out.String())
	require.Equal(t, "err\n", errs.String())

	// One writer for both keeps their order.
	out.Reset()
	cmd = shell(sb, sandbox.Dir{Path: root}, "for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done")
	cmd.Stdout, cmd.Stderr = &out, &out
	_, err = cmd.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, "o1 e1 o2 e2 o3 e3 o4 e4 o5 e5", strings.Join(strings.Fields(out.String()), " "))

	// A writer that cannot be compared is no reason to panic.
	cmd = shell(sb, sandbox.Dir{Path: root}, "echo out; echo err >&2")
	cmd.Stdout, cmd.Stderr = funcWriter{f: io.Discard.Write}, funcWriter{f: io.Discard.Write}
	_, err = cmd.Run(t.Context())
	require.NoError(t, err)
}

type funcWriter struct{ f func([]byte) (int, error) }

func (w funcWriter) Write(b []byte) (int, error) { return w.f(b) }

// TestStdioWaited: Wait returns when all is copied.
func TestStdioWaited(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	n := 0
	cmd := shell(sb, sandbox.Dir{Path: root}, "dd if=/dev/zero bs=64k count=16 2>/dev/null")
	cmd.Stdout = funcWriter{func(b []byte) (int, error) {
		time.Sleep(time.Millisecond)
		n += len(b)
		return len(b), nil
	}}
	_, err := cmd.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1<<20, n)
}

// TestStdioErrors: a writer's or reader's error is Wait's, beside the exit.
func TestStdioErrors(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	cause := errors.New("cause")
	cmd := shell(sb, sandbox.Dir{Path: root}, "echo; exit 3")
	cmd.Stdout = funcWriter{func([]byte) (int, error) { return 0, cause }}
	exit, err := cmd.Run(t.Context())
	require.ErrorIs(t, err, cause)
	require.Equal(t, 3, exit.Code)
	cmd = shell(sb, sandbox.Dir{Path: root}, "cat")
	cmd.Stdin = iotest.ErrReader(cause)
	_, err = cmd.Run(t.Context())
	require.ErrorIs(t, err, cause)
	// Not to read what there is is no error.
	cmd = shell(sb, sandbox.Dir{Path: root}, "exit 4")
	cmd.Stdin = strings.NewReader(strings.Repeat("x", 1<<20))
	exit, err = cmd.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4, exit.Code)
}

// TestStdioHeld: a process that the container leaves behind with its streams
// holds up Wait, as in os/exec, but no longer than the context; how the
// container's own process ended is known all the same.
func TestStdioHeld(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{ShareProcessNamespace: true})
	var out bytes.Buffer
	p := idle(t, sb, sandbox.Dir{Path: root}, "main")
	cmd := p.Exec("/bin/sh", "-c", "echo started; sleep 1000 & exit 5")
	cmd.Stdout = &out
	held := start(t, cmd)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	exit, err := held.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 5, exit.Code)
	require.NoError(t, p.Kill(t.Context()))
	require.Equal(t, 5, wait(t, held).Code)
	require.Equal(t, "started\n", out.String())
}

// TestStdioFailedStart: a start that fails copies nothing and leaves nothing.
func TestStdioFailedStart(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	cmd := shell(sb, sandbox.Dir{Path: root}, "cat")
	cmd.Dir, cmd.Stdin, cmd.Stdout = "/none", iotest.ErrReader(errors.New("must not be read")), funcWriter{func([]byte) (int, error) { panic("must not be written") }}
	_, err := cmd.Start(t.Context())
	requireField(t, err, "Dir")
	// It can be corrected and started again.
	cmd.Dir, cmd.Stdin, cmd.Stdout = "/tmp", nil, nil
	_, err = cmd.Run(t.Context())
	require.NoError(t, err)
	_, err = cmd.Start(t.Context())
	require.ErrorContains(t, err, "was started already")
}
