package program_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	"github.com/barepod/barepod/namespace"
)

// anchor makes a mount namespace with all that a container takes from a pod's.
func anchor(t *testing.T) *os.File {
	t.Helper()
	set, err := namespace.Unshare(namespace.Mount, func() error {
		root, err := sys.OpenPath(nil, "/", true)
		if err != nil {
			return err
		}
		defer root.Close()
		if err := sys.SetMountAttr(root, 0, 0, unix.MS_PRIVATE, true); err != nil {
			return err
		}
		fs, err := sys.NewFS("tmpfs", 0, sys.Option{Key: "size", Value: "1m"}, sys.Option{Key: "mode", Value: "755"})
		if err != nil {
			return err
		}
		defer fs.Close()
		return errors.Join(fill(fs), sys.MoveMount(fs, nil, "/"), sys.PivotInto(fs))
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	return set.Of(namespace.Mount).File()
}

// fill puts an anchor's directories, files and device nodes into fs.
func fill(fs *os.File) error {
	var errs []error
	for _, dir := range []string{
		"pod", program.AnchorEtc, program.AnchorShm, program.AnchorMqueue, program.AnchorSys, program.AnchorVolumes,
		program.AnchorDev, program.AnchorEmpty, program.AnchorRoot, program.AnchorWork,
	} {
		errs = append(errs, sys.MkdirAt(fs, strings.TrimPrefix(dir, "/"), 0o755))
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		f, err := sys.CreateAt(fs, strings.TrimPrefix(program.AnchorEtc+"/"+name, "/"), 0o644)
		if err == nil {
			_, err = f.WriteString("the pod's " + name + "\n")
			err = errors.Join(err, f.Close())
		}
		errs = append(errs, err)
	}
	for i, name := range map[uint32]string{3: "null", 5: "zero", 7: "full", 8: "random", 9: "urandom", 4: "tty"} {
		errs = append(errs, sys.MknodAt(fs, strings.TrimPrefix(program.AnchorDev+"/"+name, "/"), unix.S_IFCHR|0o666, 1, i))
	}
	return errors.Join(errs...)
}

// world is where a test starts containers.
type world struct {
	anchor, root, record *os.File
}

func newWorld(t *testing.T, more testutil.Tree) world {
	t.Helper()
	testutil.RequireRoot(t)
	tree := testutil.Tree{"bin": testutil.Applets("cat", "ls", "readlink", "sleep", "stat", "true")}
	for name, node := range more {
		tree[name] = node
	}
	dir, err := os.Open(testutil.Rootfs(t, tree))
	require.NoError(t, err)
	record, err := os.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = dir.Close(), record.Close() })
	return world{anchor(t), dir, record}
}

// birth is that of a process with the usual capabilities.
func (w world) birth(argv ...string) program.Birth {
	return program.Birth{Record: w.record, Argv: argv, Dir: "/", Caps: 0xa80425fb, LastCap: sys.LastCap()}
}

// container is one with a PID namespace of its own.
func (w world) container(t *testing.T, argv ...string) *program.Container {
	t.Helper()
	root, err := sys.CloneMount(w.root, false)
	require.NoError(t, err)
	require.NoError(t, sys.SetMountAttr(root, 0, 0, unix.MS_PRIVATE, false))
	t.Cleanup(func() { _ = root.Close() })
	return &program.Container{
		Birth: w.birth(argv...), Name: "barepod: test", Anchor: w.anchor, Nursery: w.anchor, NewPID: true, Root: program.Root{Dir: root},
		MaskedPaths: []string{"kcore"}, ReadonlyPaths: []string{"sys"},
	}
}

// process is one that was started; its program waits for the starter's word.
type process struct {
	t             *testing.T
	run           *launch.Run
	keeper, child int
	keeperFD, fd  *os.File
	out           *os.File
	record        *os.File
	failed        *launch.Error // of the child, which overtook the keeper's report
}

func (w world) start(t *testing.T, p *launch.Program) *process {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	defer null.Close()
	r, out, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	run, err := p.Start([3]*os.File{null, out, out}, t.TempDir())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	msg, files, err := run.Receive(ctx, program.ReportSize, 2)
	var failed *launch.Error
	if errors.As(err, &failed) {
		msg, files, err = run.Receive(ctx, program.ReportSize, 2)
	}
	require.NoError(t, err)
	require.Len(t, msg, program.ReportSize)
	require.Len(t, files, 2)
	require.NoError(t, run.Reap())
	proc := &process{
		t: t, run: run, keeperFD: files[0], fd: files[1], out: r, record: w.record, failed: failed,
		keeper: int(binary.LittleEndian.Uint32(msg[4:])), child: int(binary.LittleEndian.Uint32(msg[8:])),
	}
	t.Cleanup(func() {
		_ = sys.PidfdSendSignal(proc.fd, syscall.SIGKILL)
		proc.ended()
		_, _, _, _ = run.Close(), r.Close(), files[0].Close(), files[1].Close()
	})
	return proc
}

// execute lets the program run.
func (p *process) execute() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	sent := p.run.Send([]byte(program.Go)) // fails if the child ended before
	_, _, err := p.run.Receive(ctx, program.ReportSize, 0)
	require.NoError(p.t, p.run.Close())
	if p.failed != nil {
		return p.failed
	}
	if err == io.EOF { //nolint:errorlint // never wrapped
		return sent
	}
	return err
}

// ended waits for the end of both processes.
func (p *process) ended() {
	p.t.Helper()
	requireEnd(p.t, p.fd)
	requireEnd(p.t, p.keeperFD)
}

// requireEnd waits for the end of a process, which makes its pidfd readable;
// somebody else reaps it.
func requireEnd(t *testing.T, pidfd *os.File) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, state.WaitPidfd(ctx, pidfd))
}

// wait returns the exit record.
func (p *process) wait() program.Record {
	p.t.Helper()
	p.ended()
	data, err := os.ReadFile(filepath.Join(p.record.Name(), program.RecordName))
	require.NoError(p.t, err)
	require.NoError(p.t, os.Remove(filepath.Join(p.record.Name(), program.RecordName)))
	rec, err := program.ParseRecord(data)
	require.NoError(p.t, err)
	return rec
}

// output runs a program to its end and returns what it prints.
func (w world) output(t *testing.T, prog *launch.Program) string {
	t.Helper()
	p := w.start(t, prog)
	require.NoError(t, p.execute())
	out, err := io.ReadAll(p.out)
	require.NoError(t, err)
	require.Zero(t, p.wait().Status, string(out))
	return string(out)
}
