package cgroup_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/testutil"
)

// allocate makes the test binary a program that touches 64 MiB.
const allocate = "BAREPOD_TEST_ALLOCATE"

// alone makes the test binary one that may keep things to its end: systemd's
// connections, which the cgroups library never closes.
const alone = "BAREPOD_TEST_ALONE"

var prefix = "/barepod-test-" + strings.ToLower(rand.Text()[:8])

func TestMain(m *testing.M) {
	if os.Getenv(allocate) != "" {
		data := make([]byte, 64<<20)
		for i := range data {
			data[i] = 1
		}
		fmt.Println(len(data))
		return
	}
	if os.Getenv(alone) != "" {
		os.Exit(m.Run())
	}
	// The library opens /sys/fs/cgroup with its first access and keeps it for
	// good: that comes before the descriptors are counted.
	_, _ = cgroups.ReadFile("/sys/fs/cgroup", "none")
	testutil.Main(m)
}

// host is a kind of machine. One machine can stand in for others with a part of
// its hierarchies.
type host struct {
	name string
	*cgroup.Host
}

// hosts returns the kinds of machines that this one can be.
func hosts(t testing.TB) []host {
	t.Helper()
	testutil.RequireRoot(t)
	h, err := cgroup.Detect()
	require.NoError(t, err)
	var v1, v2 []cgroup.Hierarchy
	for _, x := range h.Hierarchies {
		if x.Unified {
			v2 = append(v2, x)
		} else {
			v1 = append(v1, x)
		}
	}
	list := []host{{"all", h}}
	if len(v1) > 0 && len(v2) > 0 {
		list = append(list, host{"v1", &cgroup.Host{Hierarchies: v1}}, host{"v2", &cgroup.Host{Hierarchies: v2}})
	}
	if len(v1) > 0 {
		var bare []cgroup.Hierarchy
		for _, x := range v1 {
			if len(x.Controllers) != 1 || x.Controllers[0] != "freezer" {
				bare = append(bare, x)
			}
		}
		list = append(list, host{"no freezer", &cgroup.Host{Hierarchies: bare}})
	}
	return list
}

func eachHost(t *testing.T, f func(t *testing.T, h host)) {
	for _, h := range hosts(t) {
		t.Run(h.name, func(t *testing.T) { f(t, h) })
	}
}

// has reports whether groups on h have the controller.
func (h host) has(controller string) bool {
	for _, x := range h.Hierarchies {
		for _, c := range x.Controllers {
			if c == controller {
				return true
			}
		}
	}
	return false
}

// unified reports whether h has the cgroup v2 hierarchy.
func (h host) unified() bool {
	return slices.ContainsFunc(h.Hierarchies, func(x cgroup.Hierarchy) bool { return x.Unified })
}

// newParent returns a config with a parent of its own, gone after the test.
func newParent(t testing.TB, h host) cgroup.Config {
	t.Helper()
	cfg := cgroup.Config{Parent: prefix + "-" + strings.ToLower(rand.Text()[:8])}
	t.Cleanup(func() {
		if err := h.RemoveParent(cfg); err != nil {
			t.Error(err)
		}
		if left := dirs(h, cfg.Parent); len(left) > 0 {
			t.Error("left over:", left)
		}
	})
	return cfg
}

// newGroup makes a group that is gone after the test.
func newGroup(t testing.TB, h host, cfg cgroup.Config, elems ...string) *cgroup.Group {
	t.Helper()
	g, err := h.Create(cfg, elems...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := bound(t, 10*time.Second)
		if err := g.Kill(ctx); err != nil {
			t.Error(err)
		}
		if err := g.Remove(ctx); err != nil {
			t.Error(err)
		}
	})
	return g
}

func bound(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), d)
	t.Cleanup(cancel)
	return ctx
}

// dirs returns the hierarchies' directories for path that exist.
func dirs(h host, path string) []string {
	var list []string
	for _, x := range h.Hierarchies {
		if _, err := os.Stat(x.Mountpoint + path); err == nil {
			list = append(list, x.Mountpoint+path)
		}
	}
	return list
}

// start runs a shell script that first joins the group, and waits for the
// join's end.
func start(t testing.TB, g *cgroup.Group, script string, env ...string) *exec.Cmd {
	t.Helper()
	j, err := g.Join()
	require.NoError(t, err)
	exe, err := os.Executable()
	require.NoError(t, err)
	join := "for f; do echo 0 > $f || exit 99; done; echo joined; "
	cmd := exec.Command("/bin/sh", append([]string{"-c", join + script, exe}, j.Tasks...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if j.Dir != nil {
		require.Equal(t, j.Dir.Name()+"/cgroup.procs", j.Procs)
		defer j.Dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(j.Dir.Fd())
	}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	buf := make([]byte, 64)
	n, _ := out.Read(buf)
	require.Equal(t, "joined\n", string(buf[:n]))
	return cmd
}

func requireKilled(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	err := cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%v", err)
}
