package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

var _ = testutil.Child("private", func(args []string) {
	p := readPlan(args)
	var all unix.CPUSet
	for n := range runtime.NumCPU() + 64 {
		all.Set(n)
	}
	threads := must(os.ReadDir("/proc/self/task"))
	for _, thread := range threads {
		if err := unix.SchedSetaffinity(must(strconv.Atoi(thread.Name())), &all); err != nil {
			panic(err)
		}
	}
	ctx := context.Background()
	for range 8 {
		sb := must(sandbox.New(ctx, p.Config))
		cmd := sb.Command("/bin/true")
		cmd.Rootfs = sandbox.Dir{Path: p.Root}
		if exit := must(cmd.Run(ctx)); !exit.Success() {
			panic(exit)
		}
		if err := sb.Remove(ctx); err != nil {
			panic(err)
		}
		if err := sb.Close(); err != nil {
			panic(err)
		}
	}
	fmt.Println("done")
})

// TestPrivateMountNamespace makes sandboxes from a program in a mount namespace
// of its own, as those of services are, that was made on each of the processors:
// see sys.UnshareMount.
func TestPrivateMountNamespace(t *testing.T) {
	testutil.RequireRoot(t)
	var may unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &may))
	for n := range 2 {
		if !may.IsSet(n) {
			continue
		}
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			plan, err := json.Marshal(crashPlan(t, "private", sandbox.Config{}))
			require.NoError(t, err)
			cmd := testutil.ChildCommand("private", string(plan))
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}

			runtime.LockOSThread() // and with it the child, until it says otherwise
			defer runtime.UnlockOSThread()
			var one unix.CPUSet
			one.Set(n)
			require.NoError(t, unix.SchedSetaffinity(0, &one))
			out, err := cmd.CombinedOutput()
			require.NoError(t, unix.SchedSetaffinity(0, &may))
			require.NoError(t, err, string(out))
			require.Equal(t, "done\n", string(out))
		})
	}
}
