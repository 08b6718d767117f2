package sandbox_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/sandbox"
)

func countMounts(t testing.TB, under string) int {
	t.Helper()
	return strings.Count(read(t, "/proc/self/mountinfo"), " "+under+"/")
}

// Up to the pin, a creator that dies leaves no mount and no namespace, only
// names: whoever comes next needs no more than the ID.
func TestCase_R02_AnonymousUntilCommit(t *testing.T) {
	p := crashPlan(t, "new", sandbox.Config{Volumes: everyVolume(t), ShareProcessNamespace: true})
	points, err := p.points(t.Context(), never)
	require.NoError(t, err)
	require.NoError(t, sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID))
	before := testutil.Snapshot()
	mounts := countMounts(t, p.Config.StateDir)
	p.Die = slices.Index(points, "new.pin") // the last moment
	_, killed := p.do(t)
	require.True(t, killed)
	require.Equal(t, mounts, countMounts(t, p.Config.StateDir))
	_, err = sandbox.Open(t.Context(), p.Config.StateDir, p.Config.ID)
	require.ErrorIs(t, err, sandbox.ErrIncomplete)
	require.NoError(t, sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID))
	requireNothingLeft(t, before, p.Config)
}

// A record that does not fit what is there is an error, never somebody else's
// namespace.
func TestCase_R04_IdentityVerified(t *testing.T) {
	cases := map[string]struct {
		edit func(state, made map[string]any)
		want string
	}{
		"anchor":    {func(_, made map[string]any) { inode(made["anchor"]) }, "anchor is mnt:["},
		"namespace": {func(_, made map[string]any) { inode(at(made["namespaces"], "net")) }, "namespace is net:["},
		"boot":      {func(state, _ map[string]any) { state["bootId"] = "another" }, sandbox.ErrIncomplete.Error()},
		"version":   {func(state, _ map[string]any) { state["version"] = 99 }, "version 99"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			sb := newSandbox(t, cfg)
			path := filepath.Join(cfg.StateDir, sb.ID(), "sandbox")
			editState(t, path, func(state map[string]any) {
				made, ok := state["made"].(map[string]any)
				require.True(t, ok)
				c.edit(state, made)
			})
			_, err := sandbox.Open(t.Context(), cfg.StateDir, sb.ID())
			require.ErrorContains(t, err, c.want)
			require.NoError(t, sandbox.Remove(t.Context(), cfg.StateDir, sb.ID()))
			_, err = sandbox.Open(t.Context(), cfg.StateDir, sb.ID())
			require.ErrorIs(t, err, sandbox.ErrNotExist)
		})
	}
}

// at returns an element of a JSON object, whose keys may be names or numbers.
func at(object any, name string) any {
	m, ok := object.(map[string]any)
	if !ok {
		return nil
	}
	if v, ok := m[name]; ok {
		return v
	}
	return m[fmt.Sprint(uint64(namespace.Net))]
}

func inode(id any) {
	if m, ok := id.(map[string]any); ok {
		for key := range m {
			if strings.EqualFold(key, "ino") {
				m[key] = 1
			}
		}
	}
}

// What is in the place of the pin is looked at before it is used, and removed
// whatever it is.
func TestCase_R06_FakePin(t *testing.T) {
	cases := map[string]func(t *testing.T, pin string){
		"empty file":         func(t *testing.T, pin string) { require.NoError(t, os.WriteFile(pin, nil, 0o600)) },
		"file with content":  func(t *testing.T, pin string) { require.NoError(t, os.WriteFile(pin, []byte("x"), 0o600)) },
		"directory":          func(t *testing.T, pin string) { require.NoError(t, os.MkdirAll(pin+"/a/b", 0o700)) },
		"link":               func(t *testing.T, pin string) { require.NoError(t, os.Symlink("/proc/self/ns/mnt", pin)) },
		"link into nowhere":  func(t *testing.T, pin string) { require.NoError(t, os.Symlink("/nowhere", pin)) },
		"fifo":               func(t *testing.T, pin string) { require.NoError(t, unix.Mkfifo(pin, 0o600)) },
		"nothing":            func(*testing.T, string) {},
		"other kind":         func(t *testing.T, pin string) { pinOf(t, namespace.UTS, pin) },
		"other of this kind": func(t *testing.T, pin string) { pinOf(t, namespace.Mount, pin) },
	}
	for name, fake := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			sb := newSandbox(t, cfg)
			pin := filepath.Join(cfg.StateDir, sb.ID(), "anchor")
			require.NoError(t, namespace.Unpin(pin))
			fake(t, pin)
			_, err := sandbox.Open(t.Context(), cfg.StateDir, sb.ID())
			var e *sandbox.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, sb.ID(), e.ID)
			require.NoError(t, sandbox.Remove(t.Context(), cfg.StateDir, sb.ID()))
			require.NoFileExists(t, filepath.Dir(pin))
			require.NoDirExists(t, filepath.Dir(pin))
		})
	}
}

func pinOf(t *testing.T, kind namespace.Kind, pin string) {
	t.Helper()
	set, err := namespace.Unshare(kind, nil)
	require.NoError(t, err)
	require.NoError(t, set.Of(kind).Pin(pin))
	require.NoError(t, set.Close())
}

// A mount namespace that was copied meanwhile has a copy of the pin. It holds
// nobody up.
func TestCase_R07_PinLeakedIntoAnotherNamespace(t *testing.T) {
	cfg := testConfig(t)
	sb := newSandbox(t, cfg)
	var copies []*exec.Cmd
	for range 3 {
		cmd := exec.Command(testutil.Busybox(t), "sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		require.NoError(t, cmd.Start())
		copies = append(copies, cmd)
	}
	defer func() {
		for _, cmd := range copies {
			require.NoError(t, cmd.Process.Kill())
			_ = cmd.Wait()
		}
	}()
	require.NoError(t, sb.Remove(t.Context()))
	require.NoDirExists(t, filepath.Join(cfg.StateDir, sb.ID()))
	require.Zero(t, strings.Count(read(t, "/proc/self/mountinfo"), sb.ID()))
	for _, cmd := range copies {
		require.Zero(t, strings.Count(read(t, fmt.Sprintf("/proc/%d/mountinfo", cmd.Process.Pid)), sb.ID()))
	}
}

// The host's mount table grows by one entry a pod, whatever the pod has.
func TestCase_R09_OneMountAPod(t *testing.T) {
	cfg := testConfig(t)
	newSandbox(t, cfg)
	root := trueRoot(t)
	first := countMounts(t, cfg.StateDir)
	const pods = 50
	for i := range pods {
		c := cfg
		c.ID = fmt.Sprintf("pod-%d", i)
		if i%5 == 0 {
			c.Volumes, c.ShareProcessNamespace = everyVolume(t), true
		}
		sb := newSandbox(t, c)
		require.Equal(t, first+i+1, countMounts(t, cfg.StateDir))
		if i%5 == 0 {
			cmd := sb.Command("/true")
			cmd.Rootfs = root
			require.True(t, wait(t, start(t, cmd)).Success())
			require.Equal(t, first+i+1, countMounts(t, cfg.StateDir), "of a container there is none")
		}
	}
}

// Open looks and changes nothing: no network is set up again, no file touched.
func TestCase_R16_OpenChangesNothing(t *testing.T) {
	cfg := testConfig(t)
	cfg.ShareProcessNamespace, cfg.Volumes = true, everyVolume(t)
	sb := newSandbox(t, cfg)
	main := idle(t, sb, sandbox.Dir{Path: busyboxRoot(t)}, "main")
	network := func() string {
		return inside(t, main, "cat /proc/net/dev /proc/net/route /proc/net/if_inet6; ls /sys/class/net")
	}
	groups := "/sys/fs/cgroup/pids" + cfg.Cgroup.Parent
	if _, err := os.Stat(groups); err != nil { // cgroup v2
		groups = "/sys/fs/cgroup" + cfg.Cgroup.Parent
	}
	look := func() [3]string {
		return [3]string{fingerprint(t, filepath.Dir(cfg.StateDir)), read(t, "/proc/self/mountinfo"), fingerprint(t, groups)}
	}
	was := network()
	before := look()
	for range 3 {
		reopened, err := sandbox.Open(t.Context(), cfg.StateDir, sb.ID())
		require.NoError(t, err)
		require.Equal(t, sb.Config(), reopened.Config())
		st, err := reopened.Status(t.Context())
		require.NoError(t, err)
		require.Len(t, st.Processes, 1)
		require.NoError(t, reopened.Close())
	}
	after := look()
	require.Equal(t, before[0], after[0], "files")
	require.Equal(t, before[2], after[2], "cgroups")
	require.Equal(t, strings.Count(before[1], cfg.StateDir), strings.Count(after[1], cfg.StateDir), "mounts")
	require.Equal(t, was, network())
}

// fingerprint is what stat and the content say of a directory's files.
func fingerprint(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() && info.Size() > 0 {
			content, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%x\n", sha256.Sum256(content))
			return err
		}
		return nil
	}))
	return b.String()
}

func TestRemovedSandbox(t *testing.T) {
	cfg := testConfig(t)
	sb := newSandbox(t, cfg)
	main := idle(t, sb, sandbox.Dir{Path: busyboxRoot(t)}, "main")
	require.NoError(t, sb.Remove(t.Context()))
	require.NoError(t, sb.Remove(t.Context()))
	require.NoError(t, sandbox.Remove(context.Background(), cfg.StateDir, "never-made"))

	_, err := sandbox.Open(t.Context(), cfg.StateDir, sb.ID())
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	require.ErrorIs(t, err, fs.ErrNotExist)
	cmd := sb.Command("/true")
	cmd.Rootfs = trueRoot(t)
	_, err = cmd.Start(t.Context())
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	_, err = main.Exec("/bin/true").Start(t.Context())
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	_, err = sb.Process(t.Context(), "main")
	require.ErrorIs(t, err, sandbox.ErrNotExist)
	require.ErrorIs(t, main.Signal(syscall.SIGTERM), sandbox.ErrProcessDone)
	require.NoError(t, main.Kill(t.Context()))
}
