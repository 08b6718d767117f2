//go:build linux && (amd64 || arm64)

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

// TestMain makes the test binary the quickstart when it is called so: by the
// tests, by its own parts, and in containers.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == podName {
		main()
	}
	testutil.Main(m)
}

// quickstart returns the command with these arguments.
func quickstart(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return self(t.Context(), args...)
}

// output returns what the command prints on its two streams, and its exit status.
func output(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); !ok { //nolint:errorlint // Run does not wrap it
		require.NoError(t, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestQuickstart(t *testing.T) {
	testutil.RequireRoot(t)
	stdout, stderr, code := output(t, quickstart(t))
	require.Empty(t, stderr, stdout)
	require.Equal(t, 0, code, stdout)
	for _, want := range []string{
		`POD         quickstart-[0-9a-f]{8}\n`,
		`hostname    quickstart\n`,
		`namespaces  ipc:\[\d+\] net:\[\d+\] pid:\[\d+\] uts:\[\d+\]\n`,
		`IPs         10\.213\.\d+\.\d+( and fd62:[0-9a-f:]+)?\n`,
		`cgroup      /barepod/quickstart-[0-9a-f]{8}\n`,
		`server +running +\d+ +0 +Scratch +mnt:\[\d+\]\n`,
		`loader +running +\d+ +0 +HostRoot +mnt:\[\d+\]\n`,
		`checker +running +\d+ +0 +Scratch +mnt:\[\d+\]\n`,
		`✓ 1  server .*linked`,
		`✓ 2  loader .*read-only`,
		`✓ 3  checker .*\n.* checker, loader, server`,
		`✓ 4  The host fetched .* 10\.213(.*\n)+.* 127\.0\.0\.1:\d+.*\n.*Another pod with 10\.213`,
		`✓ 5  server was killed \(signal 9\)`,
		`✓ 6  .*SIGKILL(.*\n)+.*exit status 42`,
		`✓ 7  Nothing is left`,
	} {
		require.Regexp(t, want, stdout)
	}
}

// What is left of a pod is found while it is there, of each kind.
func TestKeep(t *testing.T) {
	testutil.RequireRoot(t)
	before, err := look()
	require.NoError(t, err)
	stdout, stderr, code := output(t, quickstart(t, "-keep"))
	require.Empty(t, stderr, stdout)
	require.Equal(t, 0, code, stdout)
	found := regexp.MustCompile(`-remove (quickstart-\w+)`).FindStringSubmatch(stdout)
	require.NotNil(t, found, stdout)
	id := found[1]
	t.Cleanup(func() { _ = removePod(context.Background(), id) })

	p, err := pod.Open(t.Context(), "", id)
	require.NoError(t, err)
	status, err := p.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, pod.PhaseRunning, status.Phase)
	tour := tour{pod: p, namespaces: map[string]bool{}}
	require.NoError(t, tour.collect(t.Context()))
	require.NoError(t, p.Close())
	m := made{Namespaces: slices.Collect(maps.Keys(tour.namespaces)), IPs: status.PodIPs, HostPort: tour.hostPort()}
	require.GreaterOrEqual(t, len(m.Namespaces), 8, "four shared, three of containers, one that holds them: %q", m.Namespaces)
	all, err := running()
	require.NoError(t, err)
	left, err := own(id, m, all)
	require.NoError(t, err)
	text := strings.Join(left, "\n")
	for _, want := range []string{
		"file " + filepath.Join(sandbox.DefaultStateDir, id),
		"file " + filepath.Join(sandbox.DefaultDataDir, "pods", id),
		"file " + logFile(id),
		"mount of mnt:[",
		"cgroup /sys/fs/cgroup/",
		"(barepod-init: " + id,
		"(barepod: " + id + "/server",
		"namespace net:[",
		"namespace mnt:[",
		"link bp",
		"lease " + filepath.Join(sandbox.DefaultStateDir, ".network", network.DefaultBridge),
		"element of the nftables table barepod",
	} {
		require.Contains(t, text, want)
	}

	_, stderr, code = output(t, quickstart(t, "-remove", id))
	require.Empty(t, stderr)
	require.Equal(t, 0, code)
	left, err = before.left(t.Context(), id, m)
	require.NoError(t, err)
	require.Empty(t, left)
}

// Whatever part of it is ended early, nothing is left.
func TestInterrupted(t *testing.T) {
	testutil.RequireRoot(t)
	for _, test := range []struct {
		name   string
		signal syscall.Signal
		after  string // what it has printed by then
		code   int
	}{
		{"interrupt when the pod is made", syscall.SIGINT, "CONTAINER", 1},
		{"terminate in the middle", syscall.SIGTERM, "✓ 2", 1},
		{"kill when the pod is made", syscall.SIGKILL, "CONTAINER", -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, err := look()
			require.NoError(t, err)
			cmd := quickstart(t)
			stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
			require.NoError(t, err)
			defer stderr.Close()
			cmd.Stderr = stderr
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			lines := bufio.NewScanner(stdout)
			var id string
			for lines.Scan() {
				if rest, ok := strings.CutPrefix(lines.Text(), "POD "); ok {
					id = strings.TrimSpace(rest)
				}
				if strings.HasPrefix(lines.Text(), test.after) {
					break
				}
			}
			require.NoError(t, lines.Err())
			require.NotEmpty(t, id)
			require.NoError(t, cmd.Process.Signal(test.signal))
			// The creator has the pipe, too: the end of it is its own.
			_, err = io.Copy(io.Discard, stdout)
			require.NoError(t, err)
			_ = cmd.Wait()
			require.Equal(t, test.code, cmd.ProcessState.ExitCode())
			left, err := before.left(t.Context(), id, made{})
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestOrdinaryUser(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	sudo := filepath.Join(dir, "sudo")
	require.NoError(t, os.WriteFile(sudo, []byte("#!/bin/sh\necho \"$@\"\nexit 7\n"), 0o755)) //nolint:gosec // executed
	require.NoError(t, os.Chmod(sudo, 0o755))
	exe, err := os.Executable()
	require.NoError(t, err)
	for _, test := range []struct {
		name, path     string
		stdout, stderr string
		code           int
	}{
		{"with sudo", dir, "A pod needs root (CAP_SYS_ADMIN): running this again through sudo.\n-- " + exe + " -keep\n", "", 7},
		{"without sudo", "/nowhere", "", "quickstart: a pod needs root (CAP_SYS_ADMIN), and there is no sudo to get it: run this as root\n", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := quickstart(t, "-keep")
			cmd.Env = []string{"PATH=" + test.path}
			if os.Geteuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			stdout, stderr, code := output(t, cmd)
			require.Equal(t, test.stdout, stdout)
			require.Equal(t, test.stderr, stderr)
			require.Equal(t, test.code, code)
		})
	}
}

// What the program needs beside itself is found, however it is linked: it runs
// with nothing else in its root directory.
func TestLibraries(t *testing.T) {
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, "go")
	for _, test := range []struct{ name, cgo, linked string }{
		{"without cgo", "0", "(statically linked)"},
		{"with cgo", "1", "(dynamically linked, with "},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.cgo == "1" {
				testutil.RequireFeature(t, "gcc")
			}
			exe := filepath.Join(t.TempDir(), podName)
			build := exec.Command("go", "build", "-o", exe, ".")
			build.Env = append(os.Environ(), "CGO_ENABLED="+test.cgo)
			out, err := build.CombinedOutput()
			require.NoError(t, err, "%s", out)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			stdout, stderr, code := output(t, exec.CommandContext(ctx, exe))
			require.Empty(t, stderr, stdout)
			require.Equal(t, 0, code, stdout)
			require.Contains(t, stdout, test.linked)
		})
	}
}
