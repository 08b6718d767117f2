package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

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
		if len(p.Config.Networks) > 0 {
			requireNetworkOf(t, p.Config.StateDir, "bystander")
		}
	}
	before, files := testutil.Snapshot(), names(t, filepath.Dir(p.Config.StateDir))
	p.prepare(t)
	p.Die = -1
	points, killed := p.do(t)
	require.False(t, killed)
	gone(t, before, files)
	for i, point := range points {
		if testing.Short() && i%4 != 0 {
			continue
		}
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
	// Those of package network are tested there, one by one.
	points = slices.DeleteFunc(points, func(s string) bool { return strings.HasPrefix(s, "attach.") || strings.HasPrefix(s, "detach.") })
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
		"network": {NetNSPath: true, Networks: network.Attachments{network.Bridge{
			Isolate: true, Ports: []network.Port{{HostPort: 8080}, {HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 53, Range: 2, Protocol: network.UDP}},
		}}},
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
	if len(cfg.Networks) > 0 {
		own.Networks, own.NetNSPath = network.Attachments{network.Bridge{}}, true
		t.Cleanup(func() { require.NoError(t, sandbox.Sweep(context.Background(), own.StateDir)) })
	}
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
			if name == "network" && op != "new" && op != "remove" { // as without
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
			for range 10 {
				before, files := testutil.Snapshot(), names(t, filepath.Dir(p.Config.StateDir))
				child := runPlan(t, "life", p)
				require.Equal(t, "ready", child.ReadLine())
				time.Sleep(time.Duration(rand.IntN(30_000)) * time.Microsecond)
				child.Kill()
				require.NoError(t, sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID))
				require.Equal(t, files, names(t, filepath.Dir(p.Config.StateDir)))
				requireNothingLeft(t, before, p.Config)
			}
		})
	}
}
