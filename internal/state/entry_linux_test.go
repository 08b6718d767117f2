package state_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/internal/tree"
)

var ctx = context.Background()

// newEntry returns an entry in a new directory.
func newEntry(t testing.TB) (e *state.Entry, dir string) {
	t.Helper()
	parent := t.TempDir()
	e, err := state.CreateBare(parent, "pod")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e, filepath.Join(parent, "pod")
}

func open(t testing.TB, dir string) *state.Entry {
	t.Helper()
	e, err := state.OpenEntry(filepath.Split(dir))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func TestEntryNames(t *testing.T) {
	_, dir := newEntry(t)
	parent := filepath.Dir(dir)
	_, err := state.CreateBare(parent, "pod")
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = state.OpenEntry(parent, "other")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = state.OpenEntry(parent+"/none", "pod")
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, id := range []string{"", ".", "..", "../pod", "a/b", "pod\x00", ".lock"} {
		_, err = state.OpenEntry(parent, id)
		require.ErrorIs(t, err, invalid.ErrInvalid, "%q", id)
		_, err = state.Create(parent, id)
		require.ErrorIs(t, err, invalid.ErrInvalid, "%q", id)
	}
	require.NoError(t, os.Symlink("pod", parent+"/link"))
	_, err = state.OpenEntry(parent, "link")
	require.Error(t, err)
}

type value struct{ Text string }

func TestEntryReadWrite(t *testing.T) {
	e, dir := newEntry(t)
	var got value
	require.ErrorIs(t, e.Read("file", &got), fs.ErrNotExist)
	require.NoError(t, e.Write("file", value{"one"}))
	require.NoError(t, e.Write("file", value{"two"}))
	require.NoError(t, e.Read("file", &got))
	require.Equal(t, value{"two"}, got)
	info, err := os.Stat(dir + "/file")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())

	require.NoError(t, e.Mkdir("sub"))
	require.NoError(t, e.Mkdir("sub"))
	require.NoError(t, e.Write("sub/file", value{"three"}))
	require.NoError(t, open(t, dir).Read("sub/file", &got))
	require.Equal(t, value{"three"}, got)

	require.Error(t, e.Write("file", func() {}))
	names, err := e.Names(".")
	require.NoError(t, err)
	require.Equal(t, []string{"file", "sub"}, names, "and nothing temporary")
	names, err = e.Names("none")
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestEntryRefusesToRead(t *testing.T) {
	e, dir := newEntry(t)
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte(`{}`), 0o600))
	tests := map[string]func(path string) error{
		"unknown field": func(path string) error { return os.WriteFile(path, []byte(`{"Text":"","More":1}`), 0o600) },
		"two values":    func(path string) error { return os.WriteFile(path, []byte(`{} {}`), 0o600) },
		"cut off":       func(path string) error { return os.WriteFile(path, []byte(`{"Text":"`), 0o600) },
		"empty":         func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"too large":     func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte(" "), 17<<20), 0o600) },
		"link":          func(path string) error { return os.Symlink(outside, path) },
		"directory":     func(path string) error { return os.Mkdir(path, 0o700) },
		"fifo":          func(path string) error { return unix.Mkfifo(path, 0o600) },
	}
	for name, make := range tests {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, make(filepath.Join(dir, "file")))
			var got value
			require.Error(t, e.Read("file", &got))
			require.NoError(t, os.Remove(filepath.Join(dir, "file")))
		})
	}
	var got value
	require.Error(t, e.Read("../../outside", &got))
	require.Error(t, e.Write("../file", got))
}

// TestEntryWritesAreWhole has readers see one of the values whole while many
// write.
func TestEntryWritesAreWhole(t *testing.T) {
	e, _ := newEntry(t)
	values := []value{{"a"}, {string(bytes.Repeat([]byte("b"), 100_000))}}
	require.NoError(t, e.Write("file", values[0]))
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for range 50 {
				if err := e.Write("file", values[i%2]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for {
		var got value
		require.NoError(t, e.Read("file", &got))
		require.Contains(t, values, got)
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestEntryParts(t *testing.T) {
	e, dir := newEntry(t)
	require.NoError(t, e.Mkdir("procs"))
	part, err := e.Create("procs", "web")
	require.NoError(t, err)
	defer part.Close()
	_, err = e.Create("procs", "web")
	require.ErrorIs(t, err, fs.ErrExist)
	require.NoError(t, part.Write("state", value{"up"}))
	again, err := e.Open("procs", "web")
	require.NoError(t, err)
	defer again.Close()
	var got value
	require.NoError(t, again.Read("state", &got))
	require.NoError(t, part.Remove(ctx))
	require.NoDirExists(t, dir+"/procs/web")
	_, err = e.Open("procs", "web")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestEntryRemove(t *testing.T) {
	e, dir := newEntry(t)
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(outside+"/kept", nil, 0o600))
	require.NoError(t, e.Write("config", value{}))
	require.NoError(t, e.Mkdir("procs"))
	part, err := e.Create("procs", "web")
	require.NoError(t, err)
	require.NoError(t, part.Close())
	require.NoError(t, os.Symlink(outside, dir+"/procs/link"))
	lock, err := e.Lock(ctx, true)
	require.NoError(t, err)
	second := open(t, dir)

	require.NoError(t, e.Remove(ctx))
	lock.Unlock()
	require.NoDirExists(t, dir)
	require.FileExists(t, outside+"/kept")
	require.NoError(t, e.Remove(ctx), "is idempotent")

	// A handle of the removed entry leaves a new one of the name alone.
	fresh, err := state.CreateBare(filepath.Split(dir))
	require.NoError(t, err)
	defer fresh.Close()
	require.NoError(t, second.Remove(ctx))
	require.DirExists(t, dir)
	_, err = second.Lock(ctx, true)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestEntryRemoveStopsAtMounts(t *testing.T) {
	testutil.RequireRoot(t)
	e, dir := newEntry(t)
	require.NoError(t, e.Mkdir("mnt"))
	require.NoError(t, unix.Mount("tmpfs", dir+"/mnt", "tmpfs", 0, "size=64k"))
	require.NoError(t, os.WriteFile(dir+"/mnt/kept", nil, 0o600))
	require.ErrorIs(t, e.Remove(ctx), tree.ErrMounted)
	require.FileExists(t, dir+"/mnt/kept")
	require.NoError(t, unix.Unmount(dir+"/mnt", 0))
	require.NoError(t, e.Remove(ctx))
	require.NoDirExists(t, dir)
}

func TestEntryLock(t *testing.T) {
	e, dir := newEntry(t)
	other := open(t, dir)
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	tests := []struct {
		held, asked bool // exclusive
		want        error
	}{
		{false, false, nil},
		{false, true, context.DeadlineExceeded},
		{true, false, context.DeadlineExceeded},
		{true, true, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		held, err := e.Lock(ctx, tt.held)
		require.NoError(t, err)
		second, err := other.Lock(short(), tt.asked)
		require.ErrorIs(t, err, tt.want)
		held.Unlock()
		held.Unlock()
		if tt.want == nil {
			second.Unlock()
		}
		third, err := other.Lock(short(), true)
		require.NoError(t, err)
		third.Unlock()
	}
}

func TestEntryLockOfRemoved(t *testing.T) {
	e, dir := newEntry(t)
	lock, err := e.Lock(ctx, true)
	require.NoError(t, err)
	var waiters sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		waiter := open(t, dir)
		waiters.Go(func() { _, errs[i] = waiter.Lock(ctx, i%2 == 0) })
	}
	time.Sleep(20 * time.Millisecond)
	require.NoError(t, e.Remove(ctx))
	lock.Unlock()
	waiters.Wait()
	for _, err := range errs {
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.NoDirExists(t, dir)
}

var _ = testutil.Child("hold", func([]string) {
	fmt.Println("holding")
	_, _ = io.Copy(io.Discard, os.Stdin)
})

// TestEntryLockInherited has a child hold the lock after its parent gave it up.
func TestEntryLockInherited(t *testing.T) {
	e, _ := newEntry(t)
	lock, err := e.Lock(ctx, true)
	require.NoError(t, err)
	cmd := testutil.ChildCommand("hold")
	cmd.ExtraFiles = []*os.File{lock.File()}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lock.Unlock()

	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = e.Lock(short, false)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
	lock, err = e.Lock(ctx, true)
	require.NoError(t, err)
	lock.Unlock()
}
