package sandbox_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// patience bounds what should take no time at all.
const patience = 20 * time.Second

var parents atomic.Int64

// testConfig is a configuration whose state, storage and cgroups are the test's
// own.
func testConfig(t testing.TB) sandbox.Config {
	t.Helper()
	dir := t.TempDir()
	return sandbox.Config{
		Name: "web", StateDir: filepath.Join(dir, "state"), DataDir: filepath.Join(dir, "data"),
		Cgroup: sandbox.Cgroup{Parent: fmt.Sprintf("/barepod-test-%d-%d", os.Getpid(), parents.Add(1))},
	}
}

// newSandbox makes a sandbox that goes with the test; what cfg does not say is
// as in testConfig.
func newSandbox(t testing.TB, cfg sandbox.Config) *sandbox.Sandbox {
	t.Helper()
	testutil.RequireRoot(t)
	own := testConfig(t)
	if cfg.Name == "" {
		cfg.Name = own.Name
	}
	if cfg.StateDir == "" {
		cfg.StateDir, cfg.DataDir = own.StateDir, own.DataDir
	}
	if cfg.Cgroup == (sandbox.Cgroup{}) {
		cfg.Cgroup = own.Cgroup
	}
	sb, err := sandbox.New(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { destroy(t, sb) })
	return sb
}

// destroy removes a sandbox, and what all of its state directory shared.
func destroy(t testing.TB, sb *sandbox.Sandbox) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, sb.Remove(ctx))
	require.NoError(t, sb.Close())
	require.NoError(t, sandbox.Sweep(ctx, sb.Config().StateDir))
}

// busyboxRoot is a root file system with every program that the tests use.
func busyboxRoot(t testing.TB) string {
	t.Helper()
	testutil.RequireRoot(t)
	return testutil.Rootfs(t, testutil.Tree{
		"bin": testutil.Applets("cat", "chmod", "chown", "cp", "cut", "dd", "df", "echo", "env", "false", "grep", "head", "hostname", "id",
			"kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "ps", "pwd", "readlink", "rm", "sed", "seq", "setsid", "sleep", "sort", "stat",
			"tail", "test", "touch", "tr", "true", "umount", "uniq", "unshare", "usleep", "wc", "yes"),
		"usr/bin/marker": testutil.File("#!/bin/sh\necho marker\n").WithMode(0o755),
		"etc/passwd":     testutil.File("root:x:0:0::/:/bin/sh\n"),
		"tmp":            testutil.Dir().WithMode(0o777),
	})
}

// mount is a mount of a volume.
func mount(volumeName, path string) volume.Mount { return volume.Mount{Volume: volumeName, Path: path} }

// shell returns a command that runs a script in root.
func shell(sb *sandbox.Sandbox, root sandbox.Rootfs, script string, mounts ...volume.Mount) *sandbox.Cmd {
	cmd := sb.Command("/bin/sh", "-c", script)
	cmd.Rootfs, cmd.Mounts = root, mounts
	return cmd
}

// output runs a command to its end and returns what it wrote to both streams.
// It must exit with 0.
func output(t testing.TB, cmd *sandbox.Cmd) string {
	t.Helper()
	out, exit := run(t, cmd)
	require.Zero(t, exit.Code, "%s", out)
	return out
}

// run runs a command to its end and returns what it wrote to both streams.
func run(t testing.TB, cmd *sandbox.Cmd) (string, sandbox.Exit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	exit, err := cmd.Run(ctx)
	require.NoError(t, err)
	return strings.TrimSuffix(out.String(), "\n"), exit
}

// start starts a command that the test may leave running.
func start(t testing.TB, cmd *sandbox.Cmd) *sandbox.Process {
	t.Helper()
	p, err := cmd.Start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// idle starts a container that does nothing for as long as the test lasts.
func idle(t testing.TB, sb *sandbox.Sandbox, root sandbox.Rootfs, name string, mounts ...volume.Mount) *sandbox.Process {
	t.Helper()
	cmd := sb.Command("/bin/sleep", "1000")
	cmd.Name, cmd.Rootfs, cmd.Mounts = name, root, mounts
	return start(t, cmd)
}

// wait waits for the end of a process.
func wait(t testing.TB, p *sandbox.Process) sandbox.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	exit, err := p.Wait(ctx)
	require.NoError(t, err)
	return exit
}

// inside runs a script as a further command in a container.
func inside(t testing.TB, p *sandbox.Process, script string) string {
	t.Helper()
	return output(t, p.Exec("/bin/sh", "-c", script))
}

// requireField asserts that err is this package's, and about a field.
func requireField(t testing.TB, err error, field string) {
	t.Helper()
	var invalid *sandbox.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, field, invalid.Field, "%v", err)
	var e *sandbox.Error
	require.ErrorAs(t, err, &e)
}

// fields returns the "key:\tvalue" lines of a file such as /proc/self/status.
func fields(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		m[key] = strings.TrimSpace(value)
	}
	return m
}

// binVolume is the programs of a root file system as a volume, for roots that
// have none.
func binVolume(root string) volume.Volume {
	return volume.Volume{Name: "bin", Source: volume.HostPath{Path: filepath.Join(root, "bin")}}
}

// lines returns the lines of a text.
func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

// pipe is a pipe that is closed with the test.
func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}
