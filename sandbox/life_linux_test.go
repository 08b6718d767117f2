package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

func TestStatus(t *testing.T) {
	root := busyboxRoot(t)
	cfg := testConfig(t)
	cfg.ID, cfg.Hostname = "My_pod.1", "web.example.com"
	cfg.Labels, cfg.Annotations = map[string]string{"app": "web"}, map[string]string{"note": "a\nb"}
	cfg.Volumes = []volume.Volume{emptyDir("b"), emptyDir("a")}
	before := time.Now()
	sb := newSandbox(t, cfg)
	idle(t, sb, sandbox.Dir{Path: root}, "second")
	idle(t, sb, sandbox.Dir{Path: root}, "first")
	again, err := sandbox.Open(t.Context(), cfg.StateDir, cfg.ID)
	require.NoError(t, err)
	defer again.Close()
	for _, s := range []*sandbox.Sandbox{sb, again} {
		status, err := s.Status(t.Context())
		require.NoError(t, err)
		require.WithinRange(t, status.CreatedAt, before, time.Now())
		require.Len(t, status.Namespaces, 3)
		require.Len(t, status.Processes, 2)
		require.Equal(t, "first", status.Processes[0].Name)
		require.Contains(t, status.Cgroup, cfg.Cgroup.Parent+"/")
		require.Contains(t, status.Cgroup, "My_pod.1")
		require.Zero(t, status.InitPID)
		require.Equal(t, []any{"My_pod.1", "web", "web.example.com", []string{"b", "a"}, cfg.Labels, cfg.Annotations},
			[]any{status.ID, status.Name, status.Hostname, status.Volumes, status.Labels, status.Annotations})
		status.Labels["app"] = "changed"
		got := s.Config()
		require.Equal(t, cfg.Complete(), got)
		got.Labels["app"] = "changed"
		require.Equal(t, "web", s.Config().Labels["app"])
	}
}

// TestOpen: another handle does what the first one does.
func TestOpen(t *testing.T) {
	root := busyboxRoot(t)
	cfg := testConfig(t)
	cfg.ShareProcessNamespace, cfg.Volumes = true, []volume.Volume{memory("mem", 0)}
	sb := newSandbox(t, cfg)
	require.NoError(t, sb.Close())
	again, err := sandbox.Open(t.Context(), cfg.StateDir, sb.ID())
	require.NoError(t, err)
	defer again.Close()
	require.Equal(t, "web", output(t, shell(again, sandbox.Dir{Path: root}, "hostname; touch /mem/x", mount("mem", "/mem"))))
	require.Equal(t, "x", output(t, shell(again, sandbox.Dir{Path: root}, "ls /mem", mount("mem", "/mem"))))
	h, err := again.Namespace(namespace.PID)
	require.NoError(t, err)
	require.NoError(t, h.Close())
	usage, err := again.Usage(t.Context(), "mem")
	require.NoError(t, err)
	require.Equal(t, int64(2), usage.Inodes)
	require.NoError(t, again.Do(func() error { return nil }))

	for _, id := range []string{"", "..", "a/b", ".lock", "none\n"} {
		_, err := sandbox.Open(t.Context(), cfg.StateDir, id)
		requireField(t, err, "ID")
	}
	_, err = sandbox.Open(t.Context(), cfg.StateDir, "none")
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = sandbox.Open(t.Context(), filepath.Join(cfg.StateDir, "none"), "none")
	require.ErrorIs(t, err, sandbox.ErrNotExist)
}

func TestNewExists(t *testing.T) {
	cfg := testConfig(t)
	cfg.ID = "same"
	sb := newSandbox(t, cfg)
	_, err := sandbox.New(t.Context(), cfg)
	require.ErrorIs(t, err, sandbox.ErrExist)
	require.ErrorIs(t, err, fs.ErrExist)
	var e *sandbox.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, sandbox.Error{Op: "new", ID: "same", Err: sandbox.ErrExist}, *e)
	require.EqualError(t, err, "sandbox: new same: exists already")
	_, err = sb.Status(t.Context())
	require.NoError(t, err, "the first one is undisturbed")
	require.NoError(t, sb.Remove(t.Context()))
	second := newSandbox(t, cfg)
	require.Equal(t, "same", second.ID(), "it is free again")
}

func TestList(t *testing.T) {
	testutil.RequireRoot(t)
	cfg := testConfig(t)
	list := func() []string {
		ids := []string{}
		for id, err := range sandbox.List(cfg.StateDir) {
			require.NoError(t, err)
			ids = append(ids, id)
		}
		return ids
	}
	require.Empty(t, list(), "no directory")
	for _, id := range []string{"c", "a", "b"} {
		cfg.ID = id
		newSandbox(t, cfg)
	}
	require.Equal(t, []string{"a", "b", "c"}, list())
	for range sandbox.List(cfg.StateDir) {
		break
	}
	require.NoError(t, sandbox.Remove(t.Context(), cfg.StateDir, "b"))
	require.Equal(t, []string{"a", "c"}, list())
}

// TestRemove: it can be repeated, with or without a handle, and takes all.
func TestRemove(t *testing.T) {
	root := busyboxRoot(t)
	cfg := testConfig(t)
	cfg.ShareProcessNamespace, cfg.Volumes = true, []volume.Volume{emptyDir("disk"), memory("mem", 0)}
	sb := newSandbox(t, cfg)
	p := idle(t, sb, sandbox.Overlay{Lower: []string{root}}, "main", mount("disk", "/disk"))
	status, err := sb.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, sb.Remove(t.Context()))
	require.NoError(t, sb.Remove(t.Context()))
	require.NoError(t, sandbox.Remove(t.Context(), cfg.StateDir, sb.ID()))
	for _, pid := range []int{p.PID(), status.InitPID} {
		require.True(t, testutil.Await(func() bool { // whoever reaps orphans here comes to it
			_, err := os.Stat(fmt.Sprint("/proc/", pid))
			return errors.Is(err, fs.ErrNotExist)
		}))
	}
	require.NoDirExists(t, filepath.Join(cfg.StateDir, sb.ID()))
	require.NoDirExists(t, filepath.Join(cfg.DataDir, "pods", sb.ID()))
	groups, err := filepath.Glob("/sys/fs/cgroup/*" + status.Cgroup)
	require.NoError(t, err)
	require.Empty(t, groups)
	text, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.NotContains(t, string(text), sb.ID())

	require.NoError(t, sandbox.Remove(t.Context(), cfg.StateDir, "never-was"))
	require.NoError(t, sandbox.Remove(t.Context(), filepath.Join(cfg.StateDir, "none"), "never-was"))
	for _, id := range []string{"", ".", "..", "../x", "a/b", ".nursery", strings.Repeat("a", 65)} {
		requireField(t, sandbox.Remove(t.Context(), cfg.StateDir, id), "ID")
	}
}

// TestRemoveForeign: a directory that is no sandbox's is not removed, nor swept,
// whatever the mistake.
func TestRemoveForeign(t *testing.T) {
	testutil.RequireRoot(t)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "precious/deep"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "precious/file"), nil, 0o600))
	require.ErrorContains(t, sandbox.Remove(t.Context(), dir, "precious"), "not a sandbox's directory")
	require.FileExists(t, filepath.Join(dir, "precious/file"))
	require.DirExists(t, filepath.Join(dir, "precious/deep"))
	require.ErrorContains(t, sandbox.Sweep(t.Context(), dir), "not a sandbox's directory")
	require.FileExists(t, filepath.Join(dir, "precious/file"))
	require.DirExists(t, filepath.Join(dir, "precious/deep"))
}

// TestAfterRemove: every call on the handle of a removed sandbox is a typed
// error.
func TestAfterRemove(t *testing.T) {
	root := busyboxRoot(t)
	for name, end := range map[string]func(*sandbox.Sandbox) error{
		"removed": func(sb *sandbox.Sandbox) error { return sb.Remove(context.Background()) },
		"removed and closed": func(sb *sandbox.Sandbox) error {
			if err := sb.Remove(context.Background()); err != nil {
				return err
			}
			return sb.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{emptyDir("disk")}})
			p := idle(t, sb, sandbox.Dir{Path: root}, "main")
			require.NoError(t, end(sb))
			calls := map[string]func() error{
				"Status":   func() error { _, err := sb.Status(t.Context()); return err },
				"Stats":    func() error { _, err := sb.Stats(t.Context()); return err },
				"Usage":    func() error { _, err := sb.Usage(t.Context(), "disk"); return err },
				"StorePut": func() error { return sb.StorePut("x", 1) },
				"StoreGet": func() error { var v int; return sb.StoreGet("x", &v) },
				"Process":  func() error { _, err := sb.Process(t.Context(), "main"); return err },
				"Start":    func() error { _, err := shell(sb, sandbox.Dir{Path: root}, "true").Start(t.Context()); return err },
				"Exec":     func() error { _, err := p.Exec("/bin/true").Start(t.Context()); return err },
				"Signal":   func() error { return p.Signal(0) },
				"P.Stats":  func() error { _, err := p.Stats(t.Context()); return err },
				"P.Status": func() error { _, err := p.Status(); return err },
			}
			for call, f := range calls {
				err := f()
				var e *sandbox.Error
				require.ErrorAs(t, err, &e, call)
				if name == "removed" && call != "Signal" {
					require.ErrorIs(t, err, fs.ErrNotExist, call)
				}
			}
			require.NoError(t, p.Kill(t.Context()), "dead it is")
			require.Equal(t, "web", sb.Name())
			require.NoError(t, sb.Close())
			require.NoError(t, sb.Close())
		})
	}
}

func TestStore(t *testing.T) {
	testutil.RequireRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	type data struct {
		A string
		B []int
	}
	require.ErrorIs(t, sb.StoreGet("pod", &data{}), fs.ErrNotExist)
	for _, want := range []data{{"x", []int{1, 2}}, {"", nil}} {
		require.NoError(t, sb.StorePut("pod", want))
		again, err := sandbox.Open(t.Context(), sb.Config().StateDir, sb.ID())
		require.NoError(t, err)
		var got data
		require.NoError(t, again.StoreGet("pod", &got))
		require.Equal(t, want, got)
		require.NoError(t, again.Close())
	}
	for _, bad := range []string{"", "..", "../sandbox", "a/b", "A", ".x"} {
		requireField(t, sb.StorePut(bad, 1), "name")
		requireField(t, sb.StoreGet(bad, new(int)), "name")
	}
	require.Error(t, sb.StorePut("pod", func() {}))
	var got data
	require.NoError(t, sb.StoreGet("pod", &got), "the last good one")
}

// TestCVE_2022_4318_Injection: no text of the configuration becomes another line
// of a file, or another file.
func TestCVE_2022_4318_Injection(t *testing.T) {
	bad := []string{"a\nb", "a\rb", "a\x00b", "a b", "a\tb", "../x", "a/b", "a#b", ""}
	for _, s := range bad {
		for name, cfg := range map[string]sandbox.Config{
			"Name":     {Name: s},
			"Hostname": {Name: "web", Hostname: s},
			"Searches": {Name: "web", DNS: sandbox.DNS{Searches: []string{s}}},
			"Options":  {Name: "web", DNS: sandbox.DNS{Options: []string{s}}},
		} {
			if slices.Contains([]string{"../x", "a/b"}, s) && (name == "Searches" || name == "Options") || s == "" && name == "Hostname" {
				continue // a word, and the default
			}
			require.ErrorIs(t, cfg.Validate(), fs.ErrInvalid, "%s %q", name, s)
		}
	}
}

// TestCVE_2022_0811_Sysctl: only the pod's own parameters can be named, in one
// spelling.
func TestCVE_2022_0811_Sysctl(t *testing.T) {
	before, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	for _, bad := range badSysctls() {
		cfg := sandbox.Config{Name: "web", StateDir: filepath.Join(t.TempDir(), "s"), DataDir: "/nonexistent"}
		bad.change(&cfg)
		require.Error(t, cfg.Validate(), bad.name)
		_, err := sandbox.New(t.Context(), cfg)
		requireField(t, err, "Sysctls")
	}
	after, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}
