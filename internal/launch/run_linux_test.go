package launch_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/testutil"
)

// within is the context of a test that must not hang.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// build returns a program that has closed its image.
func build(name string, f func(p *launch.Program)) *launch.Program {
	p := launch.New(name)
	p.Call("close", launch.Image)
	f(p)
	return p
}

// pipe returns a pipe that is closed with the test.
func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// start starts a program; it is gone when the test ends.
func start(t testing.TB, p *launch.Program, stdio ...*os.File) *launch.Run {
	t.Helper()
	var files [3]*os.File
	copy(files[:], stdio)
	run, err := p.Start(files, t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, run.Kill())
		require.NoError(t, run.Close())
	})
	return run
}

// runTrial plays the starter. end gives the exit status of the first process.
func runTrial(t *testing.T, tt trial, run *launch.Run, stdout *os.File, end func() int) {
	t.Helper()
	ctx := within(t)
	for _, m := range tt.in {
		require.NoError(t, run.Send([]byte(m)))
	}
	var messages []string
	var failure error
	for {
		m, files, err := run.Receive(ctx, 64, 0)
		require.Empty(t, files)
		if err == io.EOF { //nolint:errorlint // never wrapped
			break
		}
		if err != nil {
			require.NoError(t, failure)
			failure = err
			continue
		}
		messages = append(messages, string(m))
	}
	code := end()
	out, err := io.ReadAll(stdout)
	require.NoError(t, err)
	require.Equal(t, tt.out, string(out))
	require.Equal(t, tt.messages, messages)
	require.Equal(t, tt.code, code)
	if tt.fail == nil {
		require.NoError(t, failure)
	} else {
		require.Equal(t, tt.fail, failure)
	}
}

// TestRun runs each program on this machine.
func TestRun(t *testing.T) {
	for _, tt := range trials {
		t.Run(tt.name, func(t *testing.T) {
			r, w := pipe(t)
			p := build("trial", tt.build)
			run := start(t, p, nil, w, nil)
			require.NoError(t, w.Close())
			runTrial(t, tt, run, r, func() int {
				// Like a wait loop of the host program's: Reap has nothing left.
				return waitFor(t, run.PID())
			})
			require.NoError(t, run.Reap())
			require.NoError(t, run.Reap())
		})
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// receiveOne returns the next message, or why there is none.
func receiveOne(run *launch.Run) string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	m, _, err := run.Receive(ctx, 64, 0)
	if err != nil {
		return err.Error()
	}
	return string(m)
}

// waitFor steals the exit status of a child.
func waitFor(t testing.TB, pid int) int {
	t.Helper()
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if err != unix.EINTR { //nolint:errorlint // a bare errno
			require.NoError(t, err)
			break
		}
	}
	require.True(t, status.Exited(), "wait status %#x", status)
	return status.ExitStatus()
}

// TestRunARM64 runs each program on an emulated arm64.
func TestRunARM64(t *testing.T) {
	testutil.RequireFeature(t, "qemu-aarch64-static")
	for _, tt := range trials {
		t.Run(tt.name, func(t *testing.T) {
			p := build("trial", tt.build)
			image, err := p.Image("arm64")
			require.NoError(t, err)
			path := filepath.Join(t.TempDir(), "image")
			require.NoError(t, os.WriteFile(path, image, 0o700))
			ours, theirs, err := launch.Socketpair()
			require.NoError(t, err)
			defer ours.Close()
			defer theirs.Close()
			img, err := os.Open(path)
			require.NoError(t, err)
			defer img.Close()
			r, w := pipe(t)
			cmd := exec.Command("qemu-aarch64-static", path)
			cmd.Env, cmd.Stdout = []string{}, w
			cmd.ExtraFiles = []*os.File{theirs, img} // launch.Status, launch.Image
			require.NoError(t, cmd.Start())
			defer cmd.Process.Kill() //nolint:errcheck // it has ended but for a failed test
			require.NoError(t, theirs.Close())
			require.NoError(t, w.Close())
			runTrial(t, tt, launch.Attach(p, ours), r, func() int {
				_ = cmd.Wait() // the status is compared
				return cmd.ProcessState.ExitCode()
			})
		})
	}
}

func TestRetry(t *testing.T) {
	run := start(t, build("retry", func(p *launch.Program) {
		p.Call("fcntl", launch.Status, launch.Named(unix.F_SETFL, "F_SETFL"), launch.OpenFlags(unix.O_NONBLOCK))
		p.Call("write", launch.Status, p.Str("ready"), launch.Int(5))
		buf := p.Buffer(16, "buf")
		n := p.Call("read", launch.Status, buf, launch.Int(16)).Retry(syscall.EINTR, syscall.EAGAIN).Result()
		p.Call("write", launch.Status, buf, n)
		exit(p, launch.Int(0))
	}))
	m, _, err := run.Receive(within(t), 16, 0)
	require.NoError(t, err)
	require.Equal(t, "ready", string(m))
	time.Sleep(5 * time.Millisecond)
	require.NoError(t, run.Send([]byte("at last")))
	m, _, err = run.Receive(within(t), 16, 0)
	require.NoError(t, err)
	require.Equal(t, "at last", string(m))
}

func TestKill(t *testing.T) {
	run := start(t, build("echo", echo))
	require.NoError(t, run.Kill())
	require.NoError(t, run.Kill())
	require.NoError(t, run.Reap())
	require.ErrorIs(t, unix.Kill(run.PID(), 0), syscall.ESRCH)
	_, _, err := run.Receive(within(t), 16, 0)
	require.Equal(t, io.EOF, err)
}

// A child that a wait loop of the host program has reaped is no error, and
// nobody else's process is hit.
func TestKillStolen(t *testing.T) {
	run := start(t, build("exit", func(p *launch.Program) { exit(p, launch.Int(9)) }))
	require.Equal(t, 9, waitFor(t, run.PID()))
	require.NoError(t, run.Kill())
	require.NoError(t, run.Reap())
}

// The end of the handle is the end of the file for the program.
func TestClose(t *testing.T) {
	p := build("echo", echo)
	run, err := p.Start([3]*os.File{}, t.TempDir())
	require.NoError(t, err)
	pid := run.PID()
	require.NoError(t, run.Close())
	require.NoError(t, run.Close())
	require.Equal(t, 0, waitFor(t, pid))
	_, _, err = run.Receive(context.Background(), 16, 0)
	require.Error(t, err)
	require.Error(t, run.Send(nil))
}

// A Go pipe is non-blocking; what a program has as its standard streams is not.
func TestStdioBlocks(t *testing.T) {
	r, _ := pipe(t)
	run := start(t, build("flags", func(p *launch.Program) {
		blocks := p.NewLabel("blocks")
		flags := p.Call("fcntl", launch.Int(0), launch.Named(unix.F_GETFL, "F_GETFL")).Result()
		p.IfEqual(flags, unix.O_NONBLOCK, 0, blocks)
		exit(p, launch.Int(1))
		p.Place(blocks)
		exit(p, launch.Int(0))
	}), r)
	require.Equal(t, 0, waitFor(t, run.PID()))
}

// A program has the descriptors that it was given and no others.
func TestDescriptors(t *testing.T) {
	testutil.RequireFeature(t, "busybox")
	r, w := pipe(t)
	extra, err := os.Open("/dev/zero")
	require.NoError(t, err)
	defer extra.Close()
	p := launch.New("files")
	require.Equal(t, "5", p.File(w, "pipe").Number())
	require.Equal(t, "5", p.File(w, "pipe").Number())
	require.Equal(t, "6", p.File(nil, "nothing").Number())
	require.Equal(t, "7", p.File(nil, "nothing").Number())
	require.Equal(t, "8", p.File(extra, "zero").Number())
	require.Equal(t, 9, p.FirstFree())
	p.Call("close", launch.Image)
	p.Call("dup3", p.File(w, "pipe"), launch.Int(1), launch.Int(0))
	p.Call("execve", p.Str(testutil.Busybox(t)), p.Strings([]string{"ls", "/proc/self/fd"}), p.Strings(nil))
	exit(p, launch.Int(1))
	run := start(t, p)
	require.NoError(t, w.Close())
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, run.Reap())
	known := slices.DeleteFunc(strings.Fields(string(out)), func(fd string) bool {
		n, err := strconv.Atoi(fd) // what this test has from its own starter is above
		require.NoError(t, err)
		return n >= p.FirstFree()
	})
	slices.Sort(known)
	require.Equal(t, []string{"0", "1", "3", "5", "8"}, known) // 0 is the directory's own
}

// The environment and the arguments of the host program stay there.
func TestNothingInherited(t *testing.T) {
	t.Setenv("BAREPOD_TEST_SECRET", "x")
	run := start(t, build("name in ps", echo))
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join("/proc", itoa(run.PID()), name))
		require.NoError(t, err)
		return string(data)
	}
	require.NoError(t, run.Send([]byte("up?")))
	_, _, err := run.Receive(within(t), 16, 0)
	require.NoError(t, err)
	require.Equal(t, "name in ps\x00", read("cmdline"))
	require.Empty(t, read("environ"))
}

func TestErrors(t *testing.T) {
	err := error(&launch.Error{Call: `chdir("/x")`, Errno: syscall.ENOENT})
	require.EqualError(t, err, `launch: chdir("/x"): no such file or directory`)
	require.ErrorIs(t, err, syscall.ENOENT)
	require.ErrorIs(t, err, os.ErrNotExist)
	err = &launch.Error{Call: "mount()", Errno: syscall.EPERM, Note: "mount proc on /proc"}
	require.EqualError(t, err, "launch: mount proc on /proc: operation not permitted")
	require.ErrorIs(t, err, syscall.EPERM)
}

// A report that no step can have made is one of a bug, not a panic.
func TestForeignReport(t *testing.T) {
	ours, theirs, err := launch.Socketpair()
	require.NoError(t, err)
	defer ours.Close()
	_, err = theirs.WriteString("\x09\x00\x00\x00\x01\x00\x00\x00")
	require.NoError(t, err)
	require.NoError(t, theirs.Close())
	p := build("short", func(p *launch.Program) { exit(p, launch.Int(0)) })
	_, _, err = launch.Attach(p, ours).Receive(within(t), 16, 0)
	require.EqualError(t, err, "launch: BUG: step 9 of 2 failed: operation not permitted")
}

func TestStartNotExecuted(t *testing.T) {
	p := build("nul\x00name", func(p *launch.Program) { exit(p, launch.Int(0)) })
	_, err := p.Start([3]*os.File{}, t.TempDir())
	require.ErrorIs(t, err, syscall.EINVAL)
}
