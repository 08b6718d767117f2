package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// plan is what a process that is to die does.
type plan struct {
	Config sandbox.Config
	Root   string
	Op     string
	// Die is the number of the point at which it kills itself; with a number
	// that is never reached it prints the points' names instead.
	Die int
	// Scripts are containers by name.
	Scripts [][2]string
}

// steps are the points of each operation. A test finds them by itself; this
// list makes sure that none gets lost.
var steps = map[string][]string{
	"new": {
		"new.claimed", "new.intent", "new.cgroup", "new.anchor", "new.volume", "new.namespaces", "new.init", "new.init.launched",
		"new.init.reported", "new.lifeline", "new.result", "new.pin", "new.commit", "new.done",
	},
	"first": {
		"new.mount", "new.mounted", "new.claimed", "new.nursery", "new.intent", "new.cgroup", "new.anchor", "new.namespaces", "new.init",
		"new.lifeline", "new.result", "new.pin", "new.commit", "new.done",
	},
	"start": {
		"start.claim", "start.intent", "start.layer", "start.cgroup", "start.stdio", "start.launch", "start.report", "start.record",
		"start.go", "start.done",
	},
	"kill": {"kill.processes", "kill.keeper", "kill.done"},
	"remove": {
		"remove.processes", "remove.keeper", "remove.init", "remove.pin", "remove.cgroup", "remove.data", "remove.volume", "remove.state",
		"remove.done",
	},
}

func init() {
	steps["restart"], steps["exec"] = steps["start"], steps["start"]
	steps["both"] = slices.Concat(steps["new"], steps["start"])
}

// operations are what a plan can do, with a sandbox in which prepare was.
var operations = map[string]func(ctx context.Context, p plan) error{
	"new":   newOnce,
	"first": newOnce,
	"both": func(ctx context.Context, p plan) error {
		sb, err := sandbox.New(ctx, p.Config)
		if err != nil {
			return err
		}
		return errors.Join(startOne(ctx, p.command(sb, "first")), sb.Close())
	},
	"start": func(ctx context.Context, p plan) error {
		return withSandbox(ctx, p, func(sb *sandbox.Sandbox) error { return startOne(ctx, p.command(sb, "second")) })
	},
	"restart": func(ctx context.Context, p plan) error {
		return withSandbox(ctx, p, func(sb *sandbox.Sandbox) error { return startOne(ctx, p.command(sb, "ended")) })
	},
	"exec": func(ctx context.Context, p plan) error {
		return withMain(ctx, p, func(main *sandbox.Process) error { return startOne(ctx, main.Exec("/bin/sleep", "1000")) })
	},
	"kill": func(ctx context.Context, p plan) error {
		return withMain(ctx, p, func(main *sandbox.Process) error { return main.Kill(ctx) })
	},
	"remove": func(ctx context.Context, p plan) error { return sandbox.Remove(ctx, p.Config.StateDir, p.Config.ID) },
}

func newOnce(ctx context.Context, p plan) error {
	sb, err := sandbox.New(ctx, p.Config)
	if err != nil {
		return err
	}
	return sb.Close()
}

func startOne(ctx context.Context, cmd *sandbox.Cmd) error {
	p, err := cmd.Start(ctx)
	if err != nil {
		return err
	}
	return p.Close()
}

func withSandbox(ctx context.Context, p plan, f func(*sandbox.Sandbox) error) error {
	sb, err := sandbox.Open(ctx, p.Config.StateDir, p.Config.ID)
	if err != nil {
		return err
	}
	return errors.Join(f(sb), sb.Close())
}

func withMain(ctx context.Context, p plan, f func(*sandbox.Process) error) error {
	return withSandbox(ctx, p, func(sb *sandbox.Sandbox) error {
		main, err := sb.Process(ctx, "main")
		if err != nil {
			return err
		}
		return errors.Join(f(main), main.Close())
	})
}

// command is a container that has all kinds of things to clean up.
func (p plan) command(sb *sandbox.Sandbox, name string) *sandbox.Cmd {
	cmd := sb.Command("/bin/sleep", "1000")
	cmd.Name, cmd.Rootfs = name, sandbox.Dir{Path: p.Root}
	for _, v := range p.Config.Volumes {
		cmd.Mounts = append(cmd.Mounts, mount(v.Name, "/tmp/"+v.Name))
	}
	return cmd
}

// makes reports whether the operation makes the sandbox.
func (p plan) makes() bool { return slices.Contains([]string{"new", "first", "both"}, p.Op) }

// prepare makes what an operation finds: nothing for New, else a sandbox with a
// container that runs and one that has ended.
func (p plan) prepare(t testing.TB) {
	t.Helper()
	if p.makes() {
		return
	}
	sb, err := sandbox.New(t.Context(), p.Config)
	require.NoError(t, err)
	require.NoError(t, startOne(t.Context(), p.command(sb, "main")))
	ended := p.command(sb, "ended")
	ended.Path, ended.Args = "/bin/true", nil
	_, err = ended.Run(t.Context())
	require.NoError(t, err)
	require.NoError(t, sb.Close())
}

var _ = testutil.Child("crash", func(args []string) {
	var p plan
	if err := json.Unmarshal([]byte(args[0]), &p); err != nil {
		panic(err)
	}
	n := 0
	fault.Set(func(point string) error {
		if n == p.Die {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		n++
		if p.Die < 0 {
			fmt.Println(point)
		}
		return nil
	})
	if err := operations[p.Op](context.Background(), p); err != nil {
		panic(err)
	}
})

// do does the plan in a process of its own and returns what it printed.
func (p plan) do(t testing.TB) (printed []string, killed bool) {
	t.Helper()
	arg, err := json.Marshal(p)
	require.NoError(t, err)
	cmd := testutil.ChildCommand("crash", string(arg))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	if !status.Signaled() {
		require.NoError(t, err)
	}
	return strings.Fields(string(out)), status.Signaled() && status.Signal() == syscall.SIGKILL
}

// everyVolume has one of each kind.
func everyVolume(t testing.TB) []volume.Volume {
	t.Helper()
	return []volume.Volume{
		{Name: "disk", Source: volume.EmptyDir{}},
		{Name: "memory", Source: volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: 1 << 20}},
		{Name: "files", Source: volume.Files{Items: map[string]volume.File{"a": {Content: []byte("a")}}}},
		{Name: "host", Source: volume.HostPath{Path: t.TempDir()}},
	}
}

// names lists all files below a directory.
func names(t testing.TB, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		storage := err == nil && d.IsDir() && slices.Contains([]string{"data", "data/pods"}, strings.TrimPrefix(path, dir+"/"))
		if err == nil && !storage && path != dir { // DataDir itself stays
			list = append(list, path)
		}
		return err
	})
	require.NoError(t, err)
	return list
}

// forEachCrash kills a process at every point of an operation, and asserts that
// nothing is left then but what Remove finds.
func forEachCrash(t *testing.T, p plan) {
	t.Helper()
	gone := func(t *testing.T, before testutil.State, files []string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		require.NoError(t, sandbox.Remove(ctx, p.Config.StateDir, p.Config.ID))
		_, err := sandbox.Open(ctx, p.Config.StateDir, p.Config.ID)
		require.ErrorIs(t, err, sandbox.ErrNotExist)
		if p.Op == "first" {
			require.NoError(t, sandbox.Sweep(ctx, p.Config.StateDir))
		}
		require.Equal(t, files, names(t, filepath.Dir(p.Config.StateDir)))
		requireNothingLeft(t, before, p.Config)
	}
	before, files := testutil.Snapshot(), names(t, filepath.Dir(p.Config.StateDir))
	p.prepare(t)
	p.Die = -1
	points, killed := p.do(t)
	require.False(t, killed)
	gone(t, before, files)
	for i, point := range points {
		t.Run(fmt.Sprintf("%d_%s", i, point), func(t *testing.T) {
			before := testutil.Snapshot()
			p.prepare(t)
			p.Die = i
			_, killed := p.do(t)
			require.True(t, killed)
			gone(t, before, files)
		})
	}
	known := slices.Clone(steps[p.Op])
	if !p.Config.ShareProcessNamespace {
		known = slices.DeleteFunc(known, func(s string) bool { return strings.HasPrefix(s, "new.init.") || s == "remove.init" })
	}
	if len(p.Config.Volumes) == 0 {
		known = slices.DeleteFunc(known, func(s string) bool { return strings.HasSuffix(s, ".volume") })
	}
	slices.Sort(known)
	slices.Sort(points)
	require.Equal(t, known, slices.Compact(points), "the points are not those that this test knows")
}

// crashVariants are the sandboxes to be tried.
func crashVariants(t testing.TB) map[string]sandbox.Config {
	t.Helper()
	return map[string]sandbox.Config{
		"plain":  {},
		"shared": {ShareProcessNamespace: true, Volumes: everyVolume(t)},
		"dying":  {ShareProcessNamespace: true, DieWithCreator: true},
	}
}

// crashPlan completes a variant; another sandbox of the state directory stands by.
func crashPlan(t *testing.T, op string, cfg sandbox.Config) plan {
	t.Helper()
	testutil.RequireRoot(t)
	p := plan{Op: op, Root: busyboxRoot(t), Config: cfg}
	own := testConfig(t)
	p.Config.ID, p.Config.Name = "victim", "victim"
	p.Config.StateDir, p.Config.DataDir, p.Config.Cgroup = own.StateDir, own.DataDir, own.Cgroup
	if op == "first" {
		return p
	}
	own.ID = "bystander"
	sb := newSandbox(t, own)
	main := idle(t, sb, sandbox.Dir{Path: p.Root}, "main")
	t.Cleanup(func() {
		require.NoError(t, sandbox.Remove(context.Background(), own.StateDir, "victim"))
		reopened, err := sandbox.Open(context.Background(), own.StateDir, "bystander")
		require.NoError(t, err, "the bystander must not have noticed")
		require.NoError(t, reopened.Close())
		st, err := main.Status()
		require.NoError(t, err)
		require.Equal(t, sandbox.Running, st.State)
	})
	return p
}

func TestCrash(t *testing.T) {
	testutil.RequireRoot(t)
	for name, cfg := range crashVariants(t) {
		for _, op := range []string{"new", "start", "restart", "exec", "kill", "remove"} {
			if name == "dying" { // with whoever prepares it
				continue
			}
			t.Run(name+"/"+op, func(t *testing.T) { forEachCrash(t, crashPlan(t, op, cfg)) })
		}
	}
	t.Run("dying", func(t *testing.T) { forEachCrash(t, crashPlan(t, "both", crashVariants(t)["dying"])) })
}

func TestCrashFirst(t *testing.T) {
	forEachCrash(t, crashPlan(t, "first", sandbox.Config{}))
}

// A process that dies at its worst moment leaves nothing for the next one to
// trip over: the same ID and name can be used at once.
func TestCrashAndAgain(t *testing.T) {
	p := crashPlan(t, "start", sandbox.Config{})
	for i := range len(steps["start"]) {
		p.prepare(t)
		p.Die = i
		_, killed := p.do(t)
		require.True(t, killed)
		err := withSandbox(t.Context(), p, func(sb *sandbox.Sandbox) error {
			cmd := p.command(sb, "second")
			cmd.Path, cmd.Args = "/bin/true", nil
			exit, err := cmd.Run(t.Context())
			if errors.Is(err, sandbox.ErrExist) { // it was executed already
				require.GreaterOrEqual(t, i, slices.Index(steps["start"], "start.go"))
				return nil
			}
			require.Zero(t, exit.Code)
			return err
		})
		require.NoError(t, err, "point %d", i)
		require.NoError(t, sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID))
	}
}

var _ = testutil.Child("life", func(args []string) {
	var p plan
	if err := json.Unmarshal([]byte(args[0]), &p); err != nil {
		panic(err)
	}
	fmt.Println("ready")
	for {
		sb, err := sandbox.New(context.Background(), p.Config)
		if err != nil {
			panic(err)
		}
		for _, name := range []string{"a", "b"} {
			if err := startOne(context.Background(), p.command(sb, name)); err != nil {
				panic(err)
			}
		}
		if err := errors.Join(sb.Remove(context.Background()), sb.Close()); err != nil {
			panic(err)
		}
	}
})

func TestCrashAnytime(t *testing.T) {
	for name, cfg := range crashVariants(t) {
		t.Run(name, func(t *testing.T) {
			p := crashPlan(t, "life", cfg)
			arg, err := json.Marshal(p)
			require.NoError(t, err)
			for range 12 {
				before, files := testutil.Snapshot(), names(t, filepath.Dir(p.Config.StateDir))
				child := testutil.StartChild(t, "life", string(arg))
				require.Equal(t, "ready", child.ReadLine())
				time.Sleep(time.Duration(rand.IntN(30_000)) * time.Microsecond)
				child.Kill()
				_ = child.In.Close()
				require.NoError(t, sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID))
				require.Equal(t, files, names(t, filepath.Dir(p.Config.StateDir)))
				requireNothingLeft(t, before, p.Config)
			}
		})
	}
}
