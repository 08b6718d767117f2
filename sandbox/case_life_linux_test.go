package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// 10,000 processes that nobody waits for, most of them alive when their parent
// ends, some zombies already.
func TestCase_R11_OrphansAreReaped(t *testing.T) {
	cfg := testConfig(t)
	cfg.ShareProcessNamespace = true
	sb := newSandbox(t, cfg)
	root := sandbox.Dir{Path: busyboxRoot(t)}
	main := idle(t, sb, root, "main")
	parents := "100"
	if testing.Short() {
		parents = "10"
	}
	script := `i=0; while [ $i -lt ` + parents + ` ]; do
		(j=0; while [ $j -lt 100 ]; do : & j=$((j+1)); done)
		i=$((i+1))
	done; echo done`
	require.Equal(t, "done", inside(t, main, script))
	require.True(t, testutil.Await(func() bool {
		// PID 1, the container, and what counts.
		return inside(t, main, "grep -l . /proc/[0-9]*/comm 2>/dev/null | wc -l") <= "5"
	}))
	require.Equal(t, "0", inside(t, main, "grep -h ^State /proc/[0-9]*/status 2>/dev/null | grep -c Z || :"))
}

// The network does not hang on any process of the pod.
func TestCase_R15_NetworkOutlivesEveryProcess(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%t", shared), func(t *testing.T) {
			cfg := testConfig(t)
			cfg.ShareProcessNamespace = shared
			sb := newSandbox(t, cfg)
			root := sandbox.Dir{Path: busyboxRoot(t)}
			first, second := idle(t, sb, root, "first"), idle(t, sb, root, "second")
			net := inside(t, first, "readlink /proc/self/ns/net")
			require.Equal(t, net, inside(t, second, "readlink /proc/self/ns/net"))
			if shared {
				st, err := sb.Status(t.Context())
				require.NoError(t, err)
				require.NotZero(t, st.InitPID)
				init, err := os.FindProcess(st.InitPID)
				require.NoError(t, err)
				require.NoError(t, init.Kill())
				require.NoError(t, init.Release())
			} else {
				require.NoError(t, first.Signal(syscall.SIGKILL))
				require.NoError(t, second.Signal(syscall.SIGKILL))
			}
			for _, p := range []*sandbox.Process{first, second} {
				require.Equal(t, syscall.SIGKILL, wait(t, p).Signal)
			}
			reopened, err := sandbox.Open(t.Context(), cfg.StateDir, sb.ID())
			require.NoError(t, err)
			defer reopened.Close()
			h, err := reopened.Namespace(namespace.Net)
			require.NoError(t, err)
			defer h.Close()
			require.Equal(t, net, h.String())
			if !shared {
				require.Equal(t, net, inside(t, idle(t, reopened, root, "third"), "readlink /proc/self/ns/net"))
			}
		})
	}
}

// A Start that is stuck is the business of its own pod.
func TestCase_R19_StuckStartDelaysNobody(t *testing.T) {
	root := trueRoot(t)
	cfg := testConfig(t)
	cfg.ID = "stuck"
	sb := newSandbox(t, cfg)
	stuck, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	restore := fault.Set(func(point string) error {
		if point == "start.record" {
			first := false
			once.Do(func() { first = true })
			if first {
				close(stuck)
				<-release
			}
		}
		return nil
	})
	defer restore()
	started := make(chan error)
	cmd := sb.Command("/true")
	cmd.Rootfs = root
	go func() {
		exit, err := cmd.Run(t.Context())
		if err == nil && !exit.Success() {
			err = fmt.Errorf("exit %+v", exit)
		}
		started <- err
	}()
	<-stuck
	for i := range 5 {
		other := cfg
		other.ID = fmt.Sprintf("other-%d", i)
		require.NoError(t, live(t.Context(), other, root))
	}
	// Nor does it delay other containers of the pod, or looking at it.
	again := sb.Command("/true")
	again.Rootfs = root
	exit, err := again.Run(t.Context())
	require.NoError(t, err)
	require.True(t, exit.Success())
	st, err := sb.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, sandbox.Starting, st.Processes[0].State)
	require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
	close(release)
	require.NoError(t, <-started)
}

// Everything at once: a sandbox for each goroutine, and one for all.
func TestCase_R20_Concurrency(t *testing.T) {
	cfg := testConfig(t)
	root := sandbox.Dir{Path: busyboxRoot(t)}
	common := newSandbox(t, cfg)
	before := testutil.Snapshot()
	errs := make(chan error)
	const goroutines = 64
	for i := range goroutines {
		go func() {
			c := cfg
			c.ID, c.ShareProcessNamespace = fmt.Sprintf("pod-%d", i), i%2 == 0
			errs <- errors.Join(bustle(t, c, root), startAndKill(t, common, root, fmt.Sprintf("c%d", i)))
		}()
	}
	for range goroutines {
		require.NoError(t, <-errs)
	}
	requireNothingLeft(t, before, sandbox.Config{ID: "pod", StateDir: cfg.StateDir + "/pod-", Cgroup: sandbox.Cgroup{Parent: cfg.Cgroup.Parent + "/pod-"}})
	require.Equal(t, []string{common.ID()}, entries(t, cfg.StateDir))
}

func bustle(t testing.TB, cfg sandbox.Config, root sandbox.Rootfs) error {
	sb, err := sandbox.New(t.Context(), cfg)
	if err != nil {
		return err
	}
	err = startAndKill(t, sb, root, "main")
	remove := make(chan error)
	for range 2 {
		go func() { remove <- sandbox.Remove(t.Context(), cfg.StateDir, cfg.ID) }()
	}
	return errors.Join(err, <-remove, <-remove, sb.Close())
}

func startAndKill(t testing.TB, sb *sandbox.Sandbox, root sandbox.Rootfs, name string) error {
	cmd := sb.Command("/bin/sleep", "1000")
	cmd.Rootfs, cmd.Name = root, name
	p, err := cmd.Start(t.Context())
	if err != nil {
		return err
	}
	defer p.Close()
	exit, err := p.Exec("/bin/sh", "-c", "exit 4").Run(t.Context())
	if err == nil && exit.Code != 4 {
		err = fmt.Errorf("command ended with %+v", exit)
	}
	waited := make(chan error)
	go func() {
		exit, err := p.Wait(t.Context())
		if err == nil && exit.Signal != syscall.SIGKILL {
			err = fmt.Errorf("container ended with %+v", exit)
		}
		waited <- err
	}()
	return errors.Join(err, p.Kill(t.Context()), <-waited)
}

// entries lists the sandboxes of a state directory.
func entries(t testing.TB, stateDir string) []string {
	t.Helper()
	var ids []string
	for id, err := range sandbox.List(stateDir) {
		require.NoError(t, err)
		ids = append(ids, id)
	}
	return ids
}

// A volume in memory that is full is full: the writer is told, and a container
// that comes later is neither killed nor finds more room.
func TestCase_R24_FullMemoryVolume(t *testing.T) {
	cfg := testConfig(t)
	const size = 1 << 20
	cfg.Volumes = []volume.Volume{{Name: "mem", Source: volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: size}}}
	cfg.Resources.Memory = 64 << 20
	sb := newSandbox(t, cfg)
	root := sandbox.Dir{Path: busyboxRoot(t)}
	for range 3 {
		cmd := shell(sb, root, "dd if=/dev/zero of=/tmp/mem/x bs=64k count=64 2>&1", mount("mem", "/tmp/mem"))
		cmd.Name = "writer"
		out, exit := run(t, cmd)
		require.Contains(t, out, "No space left on device")
		require.Equal(t, 1, exit.Code)
		require.False(t, exit.OOMKilled)
		u, err := sb.Usage(t.Context(), "mem")
		require.NoError(t, err)
		require.LessOrEqual(t, u.Bytes, int64(size))
	}
	require.Equal(t, strconv.Itoa(size/1024), output(t, shell(sb, root, "df -k /tmp/mem | tail -n1 | tr -s ' ' | cut -d' ' -f2", mount("mem", "/tmp/mem"))))
}

// A pod that somebody has frozen can be killed and removed.
func TestCase_R30_FrozenCgroup(t *testing.T) {
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, "cgroup.freeze")
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("kill first=%t", kill), func(t *testing.T) {
			cfg := testConfig(t)
			before := testutil.Snapshot()
			sb := newSandbox(t, cfg)
			main := idle(t, sb, sandbox.Dir{Path: busyboxRoot(t)}, "main")
			st, err := sb.Status(t.Context())
			require.NoError(t, err)
			freezers, err := filepath.Glob("/sys/fs/cgroup/*" + st.Cgroup + "/cgroup.freeze")
			require.NoError(t, err)
			pure, err := filepath.Glob("/sys/fs/cgroup" + st.Cgroup + "/cgroup.freeze")
			require.NoError(t, err)
			freezers = append(freezers, pure...)
			require.NotEmpty(t, freezers)
			require.NoError(t, os.WriteFile(freezers[0], []byte("1"), 0))
			require.True(t, testutil.Await(func() bool {
				return strings.Contains(read(t, filepath.Dir(freezers[0])+"/cgroup.events"), "frozen 1")
			}))
			if kill {
				require.NoError(t, main.Kill(t.Context()))
				require.Equal(t, syscall.SIGKILL, wait(t, main).Signal)
			}
			require.NoError(t, sb.Remove(t.Context()))
			require.NoError(t, errors.Join(main.Close(), sb.Close()))
			require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
			requireNothingLeft(t, before, cfg)
		})
	}
}
