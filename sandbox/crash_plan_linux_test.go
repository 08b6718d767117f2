package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
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
		"new.claimed", "new.intent", "new.cgroup", "new.anchor", "new.volume", "new.namespaces", "new.network", "new.init", "new.init.launched",
		"new.init.reported", "new.lifeline", "new.result", "new.pin", "new.commit", "new.done",
	},
	"first": {
		"new.mount", "new.mounted", "new.claimed", "new.nursery", "new.intent", "new.cgroup", "new.anchor", "new.namespaces", "new.network", "new.init",
		"new.lifeline", "new.result", "new.pin", "new.commit", "new.done",
	},
	"start": {
		"start.claim", "start.intent", "start.layer", "start.cgroup", "start.stdio", "start.launch", "start.report", "start.record",
		"start.go", "start.done",
	},
	"kill": {"kill.processes", "kill.keeper", "kill.done"},
	"remove": {
		"remove.processes", "remove.keeper", "remove.init", "remove.network", "remove.pin", "remove.cgroup", "remove.data", "remove.volume", "remove.state",
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
			time.Sleep(time.Hour) // a bare select would be a deadlock to a runtime without cgo
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

// noRaceSleep has a child under the race detector not wait a second at its end.
const noRaceSleep = "atexit_sleep_ms=0"

// do does the plan in a process of its own and returns what it printed.
func (p plan) do(t testing.TB) (printed []string, killed bool) {
	t.Helper()
	arg, err := json.Marshal(p)
	require.NoError(t, err)
	t.Setenv("GORACE", noRaceSleep)
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
