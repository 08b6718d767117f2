package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// cycles is how often what must not grow is done.
const cycles = 1000

// trueRoot is a root directory with a program that does nothing.
func trueRoot(t testing.TB) sandbox.Rootfs {
	t.Helper()
	testutil.RequireRoot(t)
	return sandbox.Dir{Path: testutil.Rootfs(t, testutil.Tree{
		"true": testutil.True(), "proc": testutil.Dir(), "sys": testutil.Dir(), "dev": testutil.Dir(), "etc": testutil.Dir(),
	})}
}

// footprint is what could grow: numbers that are the same after a cycle and
// after a thousand, give or take a margin.
type footprint map[string]int64

// margins are what is no growth. What is not here must not grow at all.
var margins = map[string]int64{
	"threads":     32,       // the Go runtime keeps some for later
	"rss":         48 << 20, // with the race detector's shadow
	"slab":        64 << 20, // of the whole machine
	"namespaces":  50,       // other programs' too; and the kernel frees them later
	"mnt_cache":   3000,     // likewise, all mounts of all namespaces: some 25 a container
	"cgroupsDead": 300,      // likewise
}

func measure(t testing.TB, cfg sandbox.Config) footprint {
	t.Helper()
	debug.FreeOSMemory()
	count := func(dir string) int64 {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		return int64(len(entries))
	}
	f := footprint{
		"descriptors": count("/proc/self/fd"),
		"threads":     count("/proc/self/task"),
		"goroutines":  int64(runtime.NumGoroutine()),
		"state":       int64(len(names(t, filepath.Dir(cfg.StateDir)))),
		"rss":         field(t, "/proc/self/status", "VmRSS") << 10,
		"slab":        field(t, "/proc/meminfo", "SUnreclaim") << 10,
		"mounts":      int64(strings.Count(read(t, "/proc/self/mountinfo"), cfg.StateDir)),
		"processes":   int64(len(processesOf(cfg.ID))),
		"namespaces":  slab("net_namespace"),
		"mnt_cache":   slab("mnt_cache"),
	}
	dirs, err := filepath.Glob("/sys/fs/cgroup/*" + cfg.Cgroup.Parent + "/*")
	require.NoError(t, err)
	f["cgroups"] = int64(len(dirs))
	for line := range strings.Lines(read(t, "/proc/cgroups")) {
		if w := strings.Fields(line); w[0] == "pids" {
			n, err := strconv.ParseInt(w[2], 10, 64)
			require.NoError(t, err)
			f["cgroupsDead"] = n
		}
	}
	return f
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// field reads a number from a file of "Name: number" lines.
func field(t testing.TB, path, name string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.Fields(fields(read(t, path))[name])[0], 10, 64)
	require.NoError(t, err)
	return n
}

// slab returns how many objects of a kind the kernel has; 0 if it does not tell.
func slab(name string) int64 {
	info, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(info)) {
		if w := strings.Fields(line); len(w) > 1 && w[0] == name {
			n, _ := strconv.ParseInt(w[1], 10, 64)
			return n
		}
	}
	return 0
}

// processesOf lists the keepers and the PID 1 of a sandbox.
func processesOf(id string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		if err != nil {
			continue // ended
		}
		name, _, _ := bytes.Cut(cmdline, []byte{0})
		if strings.HasPrefix(string(name), "barepod: "+id+"/") || string(name) == "barepod-init: "+id {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}

// requireNoGrowth does something often and compares the footprint after a tenth
// of the times with that at the end.
func requireNoGrowth(t *testing.T, cfg sandbox.Config, n int, do func()) {
	t.Helper()
	if testing.Short() {
		n /= 10
	}
	for range n / 10 {
		do()
	}
	before := measure(t, cfg)
	start := time.Now()
	for range n - n/10 {
		do()
	}
	t.Logf("%v a cycle", (time.Since(start) / time.Duration(n-n/10)).Round(time.Microsecond))
	var after footprint
	var grown []string
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		after, grown = measure(t, cfg), nil
		for name, n := range after {
			if n > before[name]+margins[name] {
				grown = append(grown, fmt.Sprintf("%s from %d to %d", name, before[name], n))
			}
		}
		if len(grown) == 0 || time.Now().After(deadline) {
			break
		}
	}
	t.Log("before", before, "after", after)
	require.Empty(t, grown)
}

func TestNoGrowth(t *testing.T) {
	root := trueRoot(t)
	finish := func(t *testing.T, p *sandbox.Process, err error) {
		t.Helper()
		require.NoError(t, err)
		exit, err := p.Wait(t.Context())
		require.NoError(t, err)
		require.True(t, exit.Success())
		require.NoError(t, p.Close())
	}
	for name, shared := range map[string]bool{"sandboxes": false, "shared sandboxes": true} {
		t.Run(name, func(t *testing.T) {
			n := cycles
			if shared {
				n = cycles / 5
			}
			cfg := testConfig(t)
			cfg.ID, cfg.ShareProcessNamespace = "cycle", shared
			bystander := cfg
			bystander.ID = "bystander"
			newSandbox(t, bystander)
			requireNoGrowth(t, cfg, n, func() {
				sb, err := sandbox.New(t.Context(), cfg)
				require.NoError(t, err)
				cmd := sb.Command("/true")
				cmd.Rootfs = root
				p, err := cmd.Start(t.Context())
				finish(t, p, err)
				require.NoError(t, sb.Remove(t.Context()))
				require.NoError(t, sb.Close())
			})
		})
	}
	t.Run("containers", func(t *testing.T) {
		cfg := testConfig(t)
		cfg.ID = "cycle"
		sb := newSandbox(t, cfg)
		requireNoGrowth(t, cfg, cycles, func() {
			cmd := sb.Command("/true")
			cmd.Rootfs = root
			p, err := cmd.Start(t.Context())
			finish(t, p, err)
		})
	})
	t.Run("named containers", func(t *testing.T) {
		cfg := testConfig(t)
		cfg.ID = "cycle"
		sb := newSandbox(t, cfg)
		requireNoGrowth(t, cfg, cycles/5, func() {
			cmd := sb.Command("/true")
			cmd.Rootfs, cmd.Name = root, "again"
			p, err := cmd.Start(t.Context())
			finish(t, p, err)
		})
	})
	t.Run("commands", func(t *testing.T) {
		cfg := testConfig(t)
		cfg.ID = "cycle"
		main := idle(t, newSandbox(t, cfg), sandbox.Dir{Path: busyboxRoot(t)}, "main")
		requireNoGrowth(t, cfg, cycles, func() {
			p, err := main.Exec("/bin/true").Start(t.Context())
			finish(t, p, err)
		})
	})
}

// Programs that the host program executes meanwhile inherit nothing of ours.
func TestNoDescriptorForOthers(t *testing.T) {
	root := trueRoot(t)
	busybox := testutil.Busybox(t)
	cfg := testConfig(t)
	cfg.ShareProcessNamespace, cfg.DieWithCreator = true, true
	cfg.Volumes = []volume.Volume{{Name: "disk", Source: volume.EmptyDir{}}, {Name: "memory", Source: volume.EmptyDir{Medium: volume.MediumMemory}}}
	list := func() string {
		out, err := exec.Command(busybox, "ls", "/proc/self/fd").Output()
		require.NoError(t, err)
		return string(out)
	}
	before := list() // this program's own descriptors may have come from a shell
	stop := make(chan struct{})
	var work sync.WaitGroup
	for i := range 3 {
		work.Go(func() {
			cfg := cfg
			cfg.ID = fmt.Sprintf("pod-%d", i)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := live(t.Context(), cfg, root); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var seen []string
	for range 300 {
		seen = append(seen, list())
	}
	close(stop)
	work.Wait()
	slices.Sort(seen)
	require.Equal(t, []string{before}, slices.Compact(seen))
	require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
}

// live is the life of a sandbox with one container.
func live(ctx context.Context, cfg sandbox.Config, root sandbox.Rootfs) error {
	sb, err := sandbox.New(ctx, cfg)
	if err != nil {
		return err
	}
	cmd := sb.Command("/true")
	cmd.Rootfs = root
	exit, err := cmd.Run(ctx)
	if err == nil && !exit.Success() {
		err = fmt.Errorf("exit %+v", exit)
	}
	return errors.Join(err, sb.Remove(ctx), sb.Close())
}
