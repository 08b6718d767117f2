package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

// systemdSlice is the parent of the test's pods.
const systemdSlice = "barepodtest.slice"

// TestSystemd leads a pod's life with systemd as the cgroup driver, in a process
// of its own: the cgroups library keeps its connection to systemd for good.
func TestSystemd(t *testing.T) {
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, "systemd")
	t.Cleanup(func() { _ = exec.Command("systemctl", "stop", systemdSlice).Run() })
	root := testutil.Rootfs(t, testutil.Tree{"bin": testutil.Applets("sh", "sleep", "cat", "true")})
	for _, mode := range []string{"own", "shared"} {
		t.Run(mode, func(t *testing.T) {
			out, err := testutil.ChildCommand("systemd", t.TempDir(), root, mode).CombinedOutput()
			require.NoError(t, err, "%s", out)
		})
	}
}

var _ = testutil.Child("systemd", func(args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, root, mode := args[0], args[1], args[2]
	cfg := sandbox.Config{
		Name: "systemd", StateDir: dir + "/state", DataDir: dir + "/data",
		ShareProcessNamespace: mode == "shared", Resources: sandbox.Resources{Memory: 256 << 20},
		Cgroup: sandbox.Cgroup{Driver: cgroup.Systemd, Parent: systemdSlice},
	}
	sb, err := sandbox.New(ctx, cfg)
	if err == nil {
		err = errors.Join(systemdLife(ctx, sb, root), sb.Remove(ctx), sb.Close(), sandbox.Sweep(ctx, cfg.StateDir))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
})

// systemdLife starts a container, a command in it, kills it and starts it anew.
func systemdLife(ctx context.Context, sb *sandbox.Sandbox, root string) error {
	cmd := sb.Command("/bin/sleep", "1000")
	cmd.Name, cmd.Rootfs, cmd.Resources = "main", sandbox.Dir{Path: root}, sandbox.Resources{Memory: 64 << 20, PIDs: 20}
	p, err := cmd.Start(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	if stats, err := p.Stats(ctx); err != nil || stats.MemoryLimit != 64<<20 || stats.PIDs != 1 {
		return fmt.Errorf("stats: %+v, %w", stats, err)
	}
	var out strings.Builder
	further := p.Exec("/bin/cat", "/proc/self/cgroup")
	further.Stdout = &out
	if exit, err := further.Run(ctx); err != nil || !exit.Success() || strings.Contains(out.String(), "barepod") {
		return fmt.Errorf("exec: %+v, %s, %w", exit, out.String(), err)
	}
	if err := p.Kill(ctx); err != nil {
		return err
	}
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 137 {
		return fmt.Errorf("wait: %+v, %w", exit, err)
	}
	again := sb.Command("/bin/true")
	again.Name, again.Rootfs = "main", sandbox.Dir{Path: root}
	if exit, err := again.Run(ctx); err != nil || !exit.Success() {
		return fmt.Errorf("again: %+v, %w", exit, err)
	}
	return nil
}
