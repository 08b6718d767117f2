package program_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/program"
	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
)

func TestRecord(t *testing.T) {
	w := newWorld(t, nil)
	for _, tt := range []struct {
		script string
		status uint32
	}{
		{"exit 0", 0},
		{"exit 42", 42 << 8},
		{"while :; do :; done & sleep 0.05; kill $!; exit 1", 1 << 8},
	} {
		p := w.start(t, w.container(t, "/bin/sh", "-c", tt.script).Program())
		before := time.Now()
		require.NoError(t, p.execute())
		rec := p.wait()
		require.Equal(t, tt.status, rec.Status, tt.script)
		require.WithinDuration(t, before, rec.StartedAt, 5*time.Second)
		require.WithinRange(t, rec.FinishedAt, rec.StartedAt, time.Now())
		require.Positive(t, rec.MaxRSS)
		require.Empty(t, rec.OOM)
	}
	p := w.start(t, w.container(t, "/bin/sleep", "1000").Program())
	require.NoError(t, p.execute())
	require.NoError(t, sys.PidfdSendSignal(p.fd, syscall.SIGKILL))
	require.EqualValues(t, syscall.SIGKILL, p.wait().Status)
}

// Control files may be there or not.
func TestRecordOfCgroup(t *testing.T) {
	w := newWorld(t, nil)
	file := filepath.Join(t.TempDir(), "control")
	for content, want := range map[string]string{"": "", "oom_kill 3\n": "oom_kill 3\n", strings.Repeat("x", 300): strings.Repeat("x", 256)} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		c := w.container(t, "/bin/true")
		c.OOM, c.KillRest = file, file+".kill"
		require.NoError(t, os.WriteFile(c.KillRest, nil, 0o600))
		p := w.start(t, c.Program())
		require.NoError(t, p.execute())
		require.Equal(t, want, string(p.wait().OOM))
		kill, err := os.ReadFile(c.KillRest)
		require.NoError(t, err)
		require.Equal(t, "1", string(kill))
	}
	c := w.container(t, "/bin/true")
	c.OOM, c.KillRest = file+".gone", file+".gone"
	p := w.start(t, c.Program())
	require.NoError(t, p.execute())
	require.Empty(t, p.wait().OOM)
}

// A program whose starter is gone before it could write down who runs does not
// run; its keeper still leaves the record.
func TestStarterGone(t *testing.T) {
	w := newWorld(t, nil)
	p := w.start(t, w.container(t, "/bin/sh", "-c", "echo it runs").Program())
	require.NoError(t, p.run.Close())
	require.EqualValues(t, 126<<8, p.wait().Status)
	out, err := io.ReadAll(p.out)
	require.NoError(t, err)
	require.Empty(t, out)
}

// What is the caller's mistake is told apart by its note.
func TestCannotExecute(t *testing.T) {
	w := newWorld(t, nil)
	for _, tt := range []struct {
		change func(b *program.Birth)
		note   string
		errno  syscall.Errno
	}{
		{func(b *program.Birth) { b.Argv = []string{"/no/such"} }, program.NoteExec + "/no/such", syscall.ENOENT},
		{func(b *program.Birth) { b.Argv, b.Search = []string{"x"}, []string{"/no/x", "/bin/sh/x", "/bin"} }, program.NoteExec + "x", syscall.EACCES},
		{func(b *program.Birth) { b.Dir = "/no/such" }, program.NoteDir + "/no/such", syscall.ENOENT},
	} {
		c := w.container(t, "/bin/true")
		tt.change(&c.Birth)
		p := w.start(t, c.Program())
		var e *launch.Error
		require.ErrorAs(t, p.execute(), &e)
		require.Equal(t, tt.note, e.Note)
		require.Equal(t, tt.errno, e.Errno)
		require.EqualValues(t, 127<<8, p.wait().Status)
	}
}

// status returns fields of /proc/<pid>/status.
func status(text string, names ...string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		for _, name := range names {
			if ok && key == name {
				found[key] = strings.TrimSpace(value)
			}
		}
	}
	return found
}

// A container and a further command in it have the standard streams, nothing
// else of the host, and the credentials asked for.
func TestCVE_2024_21626_NothingOfTheHostIsOpen(t *testing.T) {
	w := newWorld(t, nil)
	signal.Ignore(syscall.SIGUSR1) // which children inherit
	defer signal.Reset(syscall.SIGUSR1)
	r, line, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer line.Close()
	become := func(b *program.Birth) {
		b.UID, b.GID, b.Groups, b.Lifeline = 1000, 1001, []uint32{7}, r
		b.Rlimits = []program.Rlimit{{Resource: unix.RLIMIT_NOFILE, Name: "RLIMIT_NOFILE", Soft: 64, Hard: 64}}
	}
	main := w.start(t, w.container(t, "/bin/sleep", "1000").Program())
	require.NoError(t, main.execute())
	for name, compile := range map[string]func(argv ...string) *launch.Program{
		"container": func(argv ...string) *launch.Program {
			c := w.container(t, argv...)
			become(&c.Birth)
			return c.Program()
		},
		"exec": func(argv ...string) *launch.Program {
			e := &program.Exec{Birth: w.birth(argv...), Name: "barepod: test", Target: main.fd}
			become(&e.Birth)
			return e.Program()
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(argv ...string) string { return w.output(t, compile(argv...)) }
			require.Equal(t, "0\n1\n2\n3\n", run("/bin/ls", "/proc/self/fd"), "3 is the directory's own")
			require.Equal(t, "/\n", run("/bin/readlink", "/proc/self/cwd"))
			require.Equal(t, "/\n", run("/bin/readlink", "/proc/self/root"))
			require.Equal(t, "64\n", run("/bin/sh", "-c", "ulimit -n"))
			text := run("/bin/cat", "/proc/self/status")
			require.Equal(t, map[string]string{
				"Uid": "1000\t1000\t1000\t1000", "Gid": "1001\t1001\t1001\t1001", "Groups": "7", "Umask": "0022",
				"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
				"CapBnd": "00000000a80425fb", "CapAmb": "0000000000000000", "NoNewPrivs": "1",
				"SigBlk": "0000000000000000", "SigIgn": "0000000000000000",
			}, status(text, "Uid", "Gid", "Groups", "Umask", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "SigBlk", "SigIgn"))
		})
	}
}

// The keeper stays in the host's namespaces and holds on to nothing but what the
// exit record needs.
func TestKeeper(t *testing.T) {
	w := newWorld(t, nil)
	control := filepath.Join(t.TempDir(), "control")
	require.NoError(t, os.WriteFile(control, nil, 0o600))
	r, line, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer line.Close()
	link := func(path string) string {
		to, err := os.Readlink(path)
		require.NoError(t, err)
		return to
	}
	c := w.container(t, "/bin/sleep", "1000")
	c.OOM, c.Lifeline = control, r
	p := w.start(t, c.Program())
	require.NoError(t, p.execute())
	proc := fmt.Sprintf("/proc/%d/", p.keeper)
	name, err := os.ReadFile(proc + "comm")
	require.NoError(t, err)
	require.Equal(t, "barepod-keeper\n", string(name))
	require.True(t, testutil.Await(func() bool { // it closes the others after its report
		var open []string
		fds, err := os.ReadDir(proc + "fd")
		require.NoError(t, err)
		for _, fd := range fds {
			to, err := os.Readlink(proc + "fd/" + fd.Name())
			require.NoError(t, err)
			open = append(open, to)
		}
		return fmt.Sprint(open) == fmt.Sprint([]string{control, w.record.Name(), link(fmt.Sprintf("/proc/self/fd/%d", r.Fd()))})
	}))
	for _, ns := range []string{"mnt", "net", "ipc", "uts", "pid", "user", "cgroup"} {
		require.Equal(t, link("/proc/self/ns/"+ns), link(proc+"ns/"+ns))
	}
	require.Equal(t, "/", link(proc+"cwd"))
	require.NotEqual(t, link("/proc/self/ns/pid"), link(fmt.Sprintf("/proc/%d/ns/pid", p.child)))

	// And with the lifeline both end: the keeper by a signal, too.
	require.NoError(t, line.Close())
	p.ended()
	require.NoFileExists(t, filepath.Join(w.record.Name(), program.RecordName))
}

// Mount points that are symbolic links are looked up as if the container's root
// were the root directory; one that leads nowhere is a mount point itself, and
// what is missing is made.
func TestTree(t *testing.T) {
	outside := t.TempDir()
	w := newWorld(t, testutil.Tree{
		"etc":                 testutil.Symlink("/usr/etc"),
		"usr/etc/hosts":       testutil.Symlink("../../../../../run/hosts"),
		"run/hosts":           testutil.File("the image's\n"),
		"usr/etc/resolv.conf": testutil.Symlink(outside + "/resolv.conf"),
		"proc":                testutil.Symlink("usr/../data/proc"),
		"data/proc":           testutil.Dir(),
		"dev":                 testutil.Symlink("/data/dev"),
		"data/dev":            testutil.Dir(),
	})
	c := w.container(t, "/bin/sh", "-c", `cat /run/hosts /usr/etc/resolv.conf /etc/hostname
		readlink /data/proc/self/exe; stat -c %t:%T /data/dev/null; readlink /dev`)
	c.ReadOnly = true // which a file left open for writing would forbid
	require.Equal(t, "the pod's hosts\nthe pod's resolv.conf\nthe pod's hostname\n/bin/busybox\n1:3\n/data/dev\n", w.output(t, c.Program()))

	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, left)
	image, err := os.ReadFile(filepath.Join(w.root.Name(), "run/hosts"))
	require.NoError(t, err)
	require.Equal(t, "the image's\n", string(image))
}

// openat2 says EAGAIN for a ".." in a link whenever something on the machine is
// renamed at the same time; that is no reason to fail.
func TestStartWhileOthersRename(t *testing.T) {
	link := testutil.Symlink(strings.Repeat("../run/", 12) + "file")
	w := newWorld(t, testutil.Tree{
		"run/file": testutil.File(""), "etc/hosts": link, "etc/hostname": link, "etc/resolv.conf": link,
	})
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/a", nil, 0o600))
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = unix.Rename(dir+"/a", dir+"/b"), unix.Rename(dir+"/b", dir+"/a")
			}
		}
	})
	defer work.Wait()
	defer close(stop)
	for range 40 {
		w.output(t, w.container(t, "/bin/true").Program())
	}
}

// PID 1 of a shared PID namespace reaps, ends with its starter before the commit
// and not after it.
func TestInit(t *testing.T) {
	w := newWorld(t, nil)
	for _, commit := range []bool{false, true} {
		prog := (&program.Init{Name: "barepod-init: test", Nursery: w.anchor}).Program()
		run, err := prog.Start([3]*os.File{}, t.TempDir())
		require.NoError(t, err)
		defer run.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		msg, files, err := run.Receive(ctx, program.ReportSize, 1)
		require.NoError(t, err)
		require.Len(t, files, 1)
		defer files[0].Close()
		require.NoError(t, run.Reap())
		if commit {
			require.NoError(t, run.Send([]byte(program.Go)))
			requireIdle(t, int(binary.LittleEndian.Uint32(msg[8:])))
		}
		require.NoError(t, run.Close())
		if commit {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, state.WaitPidfd(ctx, files[0]), context.DeadlineExceeded)
			require.NoError(t, sys.PidfdSendSignal(files[0], syscall.SIGKILL))
		}
		requireEnd(t, files[0])
	}
}

// requireIdle waits until a process has no descriptor, as PID 1 after its commit.
func requireIdle(t *testing.T, pid int) {
	t.Helper()
	require.True(t, testutil.Await(func() bool {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		return err == nil && len(fds) == 0
	}))
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	require.NoError(t, err)
	require.Equal(t, "barepod-init", string(bytes.TrimSpace(comm)))
}
