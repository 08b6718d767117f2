package namespace_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
)

const (
	patience = 10 * time.Second
	tick     = time.Millisecond
)

// TestCase_R04_ProcessReplaced: the number of a process is given to another one.
// A /proc path of the number now hits that one's namespace; the pidfd does not,
// and the recorded identity tells them apart. It happens in a PID namespace made
// for it, so that no process of the machine is in the way.
func TestCase_R04_ProcessReplaced(t *testing.T) {
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, "ns_last_pid")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"=reuse-pid")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func helperReusePID() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	victim, err := startInNet()
	if err != nil {
		return err
	}
	pidfd, err := sys.PidfdOpen(victim.Process.Pid)
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/proc/%d/ns/net", victim.Process.Pid)
	recorded, err := namespace.OfProcess(pidfd, namespace.Net)
	if err != nil {
		return err
	}
	if err := stop(victim); err != nil {
		return err
	}
	heir, err := startWithPID(victim.Process.Pid)
	if err != nil {
		return err
	}
	defer func() { _ = stop(heir) }() // the whole PID namespace ends next

	stranger, err := namespace.Open(path)
	if err != nil {
		return fmt.Errorf("the case was not made: %w", err)
	}
	if stranger.Equal(recorded) || stranger.ID() == recorded.ID() {
		return errors.New("identity does not tell the two apart")
	}
	for name, open := range map[string]func() error{
		"OfProcess": func() error { _, err := namespace.OfProcess(pidfd, namespace.Net); return err },
		"ProcNamespace": func() error {
			_, err := sys.ProcNamespace(pidfd, "net")
			if errors.Is(err, syscall.ESRCH) {
				return os.ErrProcessDone
			}
			return err
		},
	} {
		if err := open(); !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("%s of the dead process: %w", name, err)
		}
	}
	return nil
}

// startWithPID starts processes until one has the number.
func startWithPID(pid int) (*exec.Cmd, error) {
	for range 1000 { // a thread of this program may get the number in between
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			return nil, err
		}
		cmd, err := startInNet()
		if err != nil || cmd.Process.Pid == pid {
			return cmd, err
		}
		if err := stop(cmd); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("number never came up")
}

func startInNet() (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"=block")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return cmd, cmd.Start()
}

func stop(cmd *exec.Cmd) error {
	if err := cmd.Process.Kill(); err != nil {
		return err
	}
	var killed *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &killed) {
		return fmt.Errorf("killed process: %w", err)
	}
	return nil
}

// TestCase_R06_FakeNamespaceFile: what lies where a pin should be is not entered,
// not read, not unmounted and not deleted, and it is told apart from a pin that is
// missing. A pin of another kind or of another namespace shows by its handle.
func TestCase_R06_FakeNamespaceFile(t *testing.T) {
	dir := pinDir(t)
	for name, path := range strangers(t, dir) {
		if name == "link to pin" {
			continue // no pin there: dangling, which is the missing one below
		}
		_, err := namespace.Open(path)
		require.ErrorIs(t, err, namespace.ErrNotNamespace, name)
		require.ErrorIs(t, namespace.Unpin(path), namespace.ErrNotNamespace, name)
	}
	_, err := namespace.Open(filepath.Join(dir, "link to pin"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	// Half a pin is corrupt for Open, and Unpin still removes it.
	half := filepath.Join(dir, "half")
	require.NoError(t, os.WriteFile(half, nil, 0))
	_, err = namespace.Open(half)
	require.ErrorIs(t, err, namespace.ErrNotNamespace)
	require.NoError(t, namespace.Unpin(half))
	require.NoFileExists(t, half)

	// A pin that is another namespace than it should be.
	set := unshare(t, namespace.Net|namespace.UTS)
	wrong := filepath.Join(dir, "net")
	require.NoError(t, set.Of(namespace.UTS).Pin(wrong))
	h, err := namespace.Open(wrong)
	require.NoError(t, err)
	defer h.Close()
	require.Equal(t, namespace.UTS, h.Kind())
	require.NotEqual(t, set.Of(namespace.Net).ID(), h.ID())
	require.NoError(t, namespace.Unpin(wrong))
}

// TestCase_R07_PinLeaked: other mount namespaces have copies of the pin's mount,
// with and without shared propagation, and a process lives in one of them.
// The pin goes all the same.
func TestCase_R07_PinLeaked(t *testing.T) {
	for name, propagation := range map[string]uintptr{"private": unix.MS_PRIVATE, "shared": unix.MS_SHARED} {
		t.Run(name, func(t *testing.T) {
			dir := pinDir(t)
			require.NoError(t, unix.Mount("", dir, "", propagation, ""))
			uts := unshare(t, namespace.UTS).Of(namespace.UTS)
			path := filepath.Join(dir, "uts")
			require.NoError(t, uts.Pin(path))

			mount := unshare(t, namespace.Mount) // the leak
			other := helper(t, "block")          // and one that somebody lives in
			other.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			pidfd := start(t, other)
			require.True(t, testutil.Await(func() bool {
				h, err := namespace.OfProcess(pidfd, namespace.Mount)
				return err == nil && !h.Equal(here(t, namespace.Mount)) && h.Close() == nil
			}))
			require.NoError(t, mount.Do(func() error {
				h, err := namespace.Open(path)
				if err != nil {
					return err
				}
				return h.Close()
			}), "the leak")

			require.NoError(t, namespace.Unpin(path))
			require.NoFileExists(t, path)
			require.NoError(t, namespace.Unpin(path))
			require.NoError(t, uts.Pin(path), "the name is free again")
			require.NoError(t, namespace.Unpin(path))
		})
	}
}

// TestCase_R07_PinBusy: the file is a mount point again each time that Unpin is
// about to remove it (EBUSY), for some time. Unpin keeps at it.
func TestCase_R07_PinBusy(t *testing.T) {
	path := filepath.Join(pinDir(t), "uts")
	uts := unshare(t, namespace.UTS).Of(namespace.UTS)
	for range 5 {
		require.NoError(t, uts.Pin(path))
		var mounts atomic.Int32
		rival := make(chan struct{})
		go func() {
			defer close(rival)
			for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
				// ENOENT once the file is gone.
				if unix.Mount(fmt.Sprintf("/proc/self/fd/%d", uts.File().Fd()), path, "", unix.MS_BIND, "") != nil {
					return
				}
				mounts.Add(1)
				if mounts.Load()%8 == 0 {
					time.Sleep(50 * time.Microsecond)
				}
			}
		}()
		err := namespace.Unpin(path)
		<-rival
		require.NoError(t, err)
		require.NoFileExists(t, path)
	}

	// Pins on one another.
	require.NoError(t, uts.Pin(path))
	for range 10 {
		require.NoError(t, unix.Mount(path, path, "", unix.MS_BIND, ""))
	}
	require.NoError(t, namespace.Unpin(path))
	require.NoFileExists(t, path)
}
