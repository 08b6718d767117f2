package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// TestNewRefuses: what is wrong with a configuration is said before anything is
// made, by whoever asks.
func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range badConfigs() {
		t.Run(tt.name, func(t *testing.T) {
			cfg := sandbox.Config{Name: "web", StateDir: filepath.Join(dir, "state"), DataDir: filepath.Join(dir, "data")}
			tt.change(&cfg)
			require.Error(t, cfg.Validate()) // New might do as it is told
			sb, err := sandbox.New(t.Context(), cfg)
			require.Nil(t, sb)
			requireField(t, err, tt.field)
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, entries)
		})
	}
}

func TestNewCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	_, err := sandbox.New(ctx, sandbox.Config{Name: "web", StateDir: filepath.Join(dir, "state"), DataDir: filepath.Join(dir, "data")})
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, filepath.Join(dir, "state"))
}

// TestStartRefuses: what is wrong with a command is said before anything is
// made.
func TestStartRefuses(t *testing.T) {
	sb := sandbox.Unmade(sandbox.Config{Name: "web", StateDir: "/nonexistent", Volumes: []volume.Volume{emptyDir("a"), emptyDir("b")}})
	mounts := func(m ...volume.Mount) func(*sandbox.Cmd) { return func(c *sandbox.Cmd) { c.Mounts = m } }
	root := func(r sandbox.Rootfs) func(*sandbox.Cmd) { return func(c *sandbox.Cmd) { c.Rootfs = r } }
	rlimits := func(r ...sandbox.Rlimit) func(*sandbox.Cmd) { return func(c *sandbox.Cmd) { c.Rlimits = r } }
	tests := []struct {
		name   string
		change func(c *sandbox.Cmd)
		field  string
	}{
		{"name with slash", func(c *sandbox.Cmd) { c.Name = "a/b" }, "Name"},
		{"name that climbs", func(c *sandbox.Cmd) { c.Name = ".." }, "Name"},
		{"name in capitals", func(c *sandbox.Cmd) { c.Name = "A" }, "Name"},
		{"long name", func(c *sandbox.Cmd) { c.Name = strings.Repeat("a", 64) }, "Name"},
		{"no path", func(c *sandbox.Cmd) { c.Path = "" }, "Path"},
		{"path with NUL", func(c *sandbox.Cmd) { c.Path = "/bin/sh\x00" }, "Path"},
		{"path that no directory can have", func(c *sandbox.Cmd) { c.Path, c.Env = "sh", []string{"PATH="} }, "Path"},
		{"path of relative directories", func(c *sandbox.Cmd) { c.Path, c.Env = "sh", []string{"PATH=.:bin"} }, "Path"},
		{"argument with NUL", func(c *sandbox.Cmd) { c.Args = []string{"a", "b\x00"} }, "Args"},
		{"variable with NUL", func(c *sandbox.Cmd) { c.Env = []string{"a=b\x00c"} }, "Env"},
		{"variable without value", func(c *sandbox.Cmd) { c.Env = []string{"a=b", "PATH"} }, "Env[1]"},
		{"variable without name", func(c *sandbox.Cmd) { c.Env = []string{"=b"} }, "Env[0]"},
		{"relative directory", func(c *sandbox.Cmd) { c.Dir = "tmp" }, "Dir"},
		{"directory with ..", func(c *sandbox.Cmd) { c.Dir = "/tmp/.." }, "Dir"},
		{"directory with newline", func(c *sandbox.Cmd) { c.Dir = "/tmp\n" }, "Dir"},
		{"no root", root(nil), "Rootfs"},
		{"root by pointer", root(&sandbox.Dir{Path: "/x"}), "Rootfs"},
		{"Scratch by pointer", root(&sandbox.Scratch{}), "Rootfs"},
		{"the host's root as a Dir", root(sandbox.Dir{Path: "/"}), "Rootfs.Path"},
		{"the host's root as a layer", root(sandbox.Overlay{Lower: []string{"/"}}), "Rootfs.Lower[0]"},
		{"the host's root, hidden", root(sandbox.Dir{Path: "/usr/.."}), "Rootfs.Path"},
		{"Dir without path", root(sandbox.Dir{}), "Rootfs.Path"},
		{"relative Dir", root(sandbox.Dir{Path: "x"}), "Rootfs.Path"},
		{"Dir with ..", root(sandbox.Dir{Path: "/x/../y"}), "Rootfs.Path"},
		{"Dir with newline", root(sandbox.Dir{Path: "/x\n"}), "Rootfs.Path"},
		{"Overlay without layers", root(sandbox.Overlay{}), "Rootfs.Lower"},
		{"too many layers", root(sandbox.Overlay{Lower: make([]string, 1000)}), "Rootfs.Lower"},
		{"relative layer", root(sandbox.Overlay{Lower: []string{"/x", "y"}}), "Rootfs.Lower[1]"},
		{"layer with ..", root(sandbox.Overlay{Lower: []string{"/x/../y"}}), "Rootfs.Lower[0]"},
		{"unknown volume", mounts(mount("c", "/c")), "Mounts[0].Volume"},
		{"relative mount", mounts(mount("a", "a")), "Mounts[0].Path"},
		{"mount with ..", mounts(mount("a", "/x/../a")), "Mounts[0].Path"},
		{"mount with NUL", mounts(mount("a", "/a\x00")), "Mounts[0].Path"},
		{"mount with newline", mounts(mount("a", "/a\nb")), "Mounts[0].Path"},
		{"mount on the root", mounts(mount("a", "/")), "Mounts[0].Path"},
		{"mount on /proc", mounts(mount("a", "/a"), mount("b", "/proc")), "Mounts[1].Path"},
		{"mount in /proc", mounts(mount("a", "/proc/sys/kernel")), "Mounts[0].Path"},
		{"two mounts in one place", mounts(mount("a", "/a"), mount("b", "/a")), "Mounts[1].Path"},
		{"subpath that climbs", mounts(volume.Mount{Volume: "a", Path: "/a", SubPath: "../b"}), "Mounts[0].SubPath"},
		{"absolute subpath", mounts(volume.Mount{Volume: "a", Path: "/a", SubPath: "/etc"}), "Mounts[0].SubPath"},
		{"propagation", mounts(volume.Mount{Volume: "a", Path: "/a", Propagation: "rshared"}), "Mounts[0].Propagation"},
		{"capability", func(c *sandbox.Cmd) { c.Capabilities.Add = []string{"CHOWN", "NONSENSE"} }, "Capabilities.Add[1]"},
		{"capability to drop", func(c *sandbox.Cmd) { c.Capabilities.Drop = []string{"chown"} }, "Capabilities.Drop[0]"},
		{"resource limit", rlimits(sandbox.Rlimit{Type: "NOFILE"}), "Rlimits[0].Type"},
		{"resource limit twice", rlimits(sandbox.Rlimit{Type: "RLIMIT_CORE"}, sandbox.Rlimit{Type: "RLIMIT_CORE"}), "Rlimits[1].Type"},
		{"soft above hard", rlimits(sandbox.Rlimit{Type: "RLIMIT_CORE", Soft: 2, Hard: 1}), "Rlimits[0].Soft"},
		{"negative memory", func(c *sandbox.Cmd) { c.Resources.Memory = -1 }, "Resources.Memory"},
		{"group that is none", func(c *sandbox.Cmd) { c.User.Groups = []uint32{1, 1<<32 - 1} }, "User.Groups[1]"},
		{"user that is none", func(c *sandbox.Cmd) { c.User.UID = 1<<32 - 1 }, "User.UID"},
		{"primary group that is none", func(c *sandbox.Cmd) { c.User.GID = 1<<32 - 1 }, "User.GID"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := sb.Command("/bin/sh")
			cmd.Name, cmd.Rootfs = "main", sandbox.Scratch{}
			tt.change(cmd)
			err := cmd.Validate(sb.Config())
			var invalid *sandbox.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, tt.field, invalid.Field)
			p, err := cmd.Start(t.Context())
			require.Nil(t, p)
			requireField(t, err, tt.field)
		})
	}
}

func TestStartForeignCmd(t *testing.T) {
	var cmd sandbox.Cmd
	_, err := cmd.Start(t.Context())
	var e *sandbox.Error
	require.ErrorAs(t, err, &e)
	_, err = (&sandbox.Cmd{Path: "/bin/sh", Rootfs: sandbox.Scratch{}}).Run(t.Context())
	require.ErrorAs(t, err, &e)
}
