package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

// must is for functions that run in a process of their own.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func runPlan(t testing.TB, child string, p plan) *testutil.ChildProcess {
	t.Helper()
	arg, err := json.Marshal(p)
	require.NoError(t, err)
	t.Setenv("GORACE", noRaceSleep)
	return testutil.StartChild(t, child, string(arg))
}

func readPlan(args []string) (p plan) {
	if err := json.Unmarshal([]byte(args[0]), &p); err != nil {
		panic(err)
	}
	return p
}

// A host program with a SIGCHLD handler, children, and a loop that waits for any
// child: it gets the statuses of all its children, and is not in our way.
func TestCase_R12_HostProgramIsUndisturbed(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%t", shared), func(t *testing.T) {
			p := crashPlan(t, "host", sandbox.Config{ShareProcessNamespace: shared})
			before := testutil.Snapshot()
			child := runPlan(t, "host", p)
			require.Equal(t, "undisturbed", child.ReadLine())
			require.NoError(t, child.Wait())
			requireNothingLeft(t, before, p.Config)
		})
	}
}

var _ = testutil.Child("host", func(args []string) {
	p := readPlan(args)
	ctx := context.Background()
	var signals atomic.Int64
	c := make(chan os.Signal, 1000)
	signal.Notify(c, syscall.SIGCHLD)
	go func() {
		for range c {
			signals.Add(1)
		}
	}()
	var mu sync.Mutex
	statuses := map[int]int{}
	go func() {
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, 0, nil)
			if err != nil {
				time.Sleep(100 * time.Microsecond) // no child now
				continue
			}
			mu.Lock()
			statuses[pid] = status.ExitStatus()
			mu.Unlock()
		}
	}()

	sb := must(sandbox.New(ctx, p.Config))
	want := map[int]int{}
	busybox := p.Root + "/bin/busybox"
	for i := range 30 {
		code := strconv.Itoa(i)
		pid := must(syscall.ForkExec(busybox, []string{"sh", "-c", "exit " + code}, &syscall.ProcAttr{}))
		want[pid] = i
		cmd := shell(sb, sandbox.Dir{Path: p.Root}, "exit "+code)
		if exit := must(cmd.Run(ctx)); exit.Code != i {
			panic(fmt.Sprintf("container ended with %+v, not %d", exit, i))
		}
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		mu.Lock()
		have := maps.Clone(statuses)
		mu.Unlock()
		maps.DeleteFunc(have, func(pid, _ int) bool { _, ok := want[pid]; return !ok }) // launchers
		if maps.Equal(want, have) {
			break
		}
		if time.Now().After(deadline) {
			panic(fmt.Sprintf("have the statuses %v, want %v", have, want))
		}
	}

	// No sign of the death of a container.
	main := must(shell(sb, sandbox.Dir{Path: p.Root}, "read x").Start(ctx))
	time.Sleep(50 * time.Millisecond)
	count := signals.Load()
	if count == 0 {
		panic("the handler is gone")
	}
	must(main.Wait(ctx)) // standard input is /dev/null
	time.Sleep(50 * time.Millisecond)
	if now := signals.Load(); now != count {
		panic("SIGCHLD for a container")
	}
	if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil); !errors.Is(err, unix.ECHILD) {
		panic(fmt.Sprintf("a child is left: %v", err))
	}
	var subreaper int32
	_, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0)
	if errno != 0 || subreaper != 0 {
		panic(fmt.Sprintf("subreaper: %d, %v", subreaper, errno))
	}
	if err := errors.Join(main.Close(), sb.Remove(ctx), sb.Close()); err != nil {
		panic(err)
	}
	fmt.Println("undisturbed")
})

// What a container ends with is known exactly, to any process and also when the
// creator was killed long before.
func TestCase_R13_ExitCodes(t *testing.T) {
	ends := map[string]struct {
		script string
		want   sandbox.Exit
	}{
		"success": {"exit 0", sandbox.Exit{Code: 0}},
		"code":    {"exit 7", sandbox.Exit{Code: 7}},
		"last":    {"exit 255", sandbox.Exit{Code: 255}},
		"looks":   {"exit 137", sandbox.Exit{Code: 137}}, // like a signal
		"killed":  {"", sandbox.Exit{Code: 137, Signal: syscall.SIGKILL}},
		"quit":    {"", sandbox.Exit{Code: 131, Signal: syscall.SIGQUIT}},
	}
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%t", shared), func(t *testing.T) {
			p := crashPlan(t, "codes", sandbox.Config{ShareProcessNamespace: shared})
			for name, end := range ends {
				p.Scripts = append(p.Scripts, [2]string{name, "read x </tmp/go; " + end.script})
			}
			require.NoError(t, unix.Mkfifo(filepath.Join(p.Root, "tmp/go"), 0o666))
			child := runPlan(t, "codes", p)
			require.Equal(t, "ready", child.ReadLine())
			child.Kill()

			sb, err := sandbox.Open(t.Context(), p.Config.StateDir, p.Config.ID)
			require.NoError(t, err)
			defer sb.Close()
			for name, end := range ends {
				proc, err := sb.Process(t.Context(), name)
				require.NoError(t, err)
				defer proc.Close()
				if end.want.Signal != 0 {
					// Of a PID 1 only from outside, and then this one alone always.
					sig := end.want.Signal
					if !shared {
						sig = syscall.SIGKILL
						end.want.Signal, end.want.Code = sig, 137
					}
					require.NoError(t, proc.Signal(sig))
				}
				ends[name] = end
			}
			// All that still wait go on.
			fifo, err := os.OpenFile(filepath.Join(p.Root, "tmp/go"), os.O_RDWR, 0)
			require.NoError(t, err)
			defer fifo.Close()
			for name, end := range ends {
				_, err = fifo.WriteString("\n\n\n\n\n\n") // one for each, whoever takes it
				require.NoError(t, err)
				proc, err := sb.Process(t.Context(), name)
				require.NoError(t, err)
				exit := wait(t, proc)
				require.NoError(t, proc.Close())
				require.Equal(t, end.want.Code, exit.Code, name)
				require.Equal(t, end.want.Signal, exit.Signal, name)
				require.False(t, exit.OOMKilled)
				require.True(t, exit.FinishedAt.After(exit.StartedAt))
			}
		})
	}
}

var _ = testutil.Child("codes", func(args []string) {
	p := readPlan(args)
	ctx := context.Background()
	sb := must(sandbox.New(ctx, p.Config))
	for _, s := range p.Scripts {
		cmd := shell(sb, sandbox.Dir{Path: p.Root}, s[1])
		cmd.Name = s[0]
		must(cmd.Start(ctx))
	}
	fmt.Println("ready")
	time.Sleep(time.Hour) // a bare select would be a deadlock to a runtime without cgo
})

// editState changes a file of a sandbox's state.
func editState(t testing.TB, path string, edit func(state map[string]any)) {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(read(t, path)), &v))
	edit(v)
	b, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// A process that got the number of one that has ended is not ours: no signal for
// it, no kill.
func TestCase_R14_ReusedPID(t *testing.T) {
	cfg := testConfig(t)
	sb := newSandbox(t, cfg)
	root := sandbox.Dir{Path: busyboxRoot(t)}
	cmd := shell(sb, root, "exit 5")
	cmd.Name = "main"
	wait(t, start(t, cmd))

	time.Sleep(30 * time.Millisecond) // a start is known to 10 ms: nobody reuses a number so fast
	victim := exec.Command(root.Path+"/bin/sleep", "1000")
	require.NoError(t, victim.Start())
	defer func() {
		require.NoError(t, victim.Process.Kill())
		_ = victim.Wait()
	}()
	editState(t, filepath.Join(cfg.StateDir, sb.ID(), "procs/main/started"), func(state map[string]any) {
		for _, key := range []string{"keeper", "process"} {
			p, ok := state[key].(map[string]any)
			require.True(t, ok)
			p["pid"] = victim.Process.Pid
		}
	})
	p, err := sb.Process(t.Context(), "main")
	require.NoError(t, err)
	require.ErrorIs(t, p.Signal(syscall.SIGKILL), sandbox.ErrProcessDone)
	require.NoError(t, p.Kill(t.Context()))
	require.Equal(t, 5, wait(t, p).Code)
	require.NoError(t, p.Close())
	st, err := sb.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, sandbox.Exited, st.Processes[0].State)
	require.NoError(t, sb.Remove(t.Context()))
	require.NoError(t, victim.Process.Signal(syscall.Signal(0)))
	require.Contains(t, "SR", fields(read(t, fmt.Sprintf("/proc/%d/status", victim.Process.Pid)))["State"][:1])
}
