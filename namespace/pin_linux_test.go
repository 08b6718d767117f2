package namespace_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
)

func TestPin(t *testing.T) {
	dir := pinDir(t)
	for kind := range allKinds.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			var h *namespace.Handle
			if (enterable | namespace.Mount).Has(kind) {
				set, err := namespace.Unshare(kind, nil)
				require.NoError(t, err)
				h = set.Of(kind)
			} else {
				h = here(t, kind)
			}
			path := filepath.Join(dir, kind.String())
			require.NoError(t, h.Pin(path))
			require.NoError(t, h.Close())

			// The handle is closed: a namespace of its own now lives by the pin.
			again, err := namespace.Open(path)
			require.NoError(t, err)
			require.True(t, h.Equal(again))
			require.NoError(t, again.Close())

			require.NoError(t, namespace.Unpin(path))
			require.NoFileExists(t, path)
			require.NoError(t, namespace.Unpin(path), "a second time")
		})
	}
}

func TestPinFile(t *testing.T) {
	dir := pinDir(t)
	h := unshare(t, namespace.UTS).Of(namespace.UTS)
	path := filepath.Join(dir, "uts")
	require.NoError(t, h.Pin(path))
	require.NoError(t, unix.Unmount(path, unix.MNT_DETACH))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0), info.Mode(), "of a file that Pin made")

	// Half a pin: taken by Pin, removed by Unpin.
	require.NoError(t, h.Pin(path))
	require.NoError(t, unix.Unmount(path, unix.MNT_DETACH))
	require.NoError(t, namespace.Unpin(path))
	require.NoFileExists(t, path)

	// A relative path.
	t.Chdir(dir)
	require.NoError(t, h.Pin("uts"))
	require.NoError(t, namespace.Unpin("uts"))
	require.NoFileExists(t, path)
}

// strangers makes what is no pin and must be left as it is, in every case.
func strangers(t *testing.T, dir string) map[string]string {
	t.Helper()
	paths := map[string]string{}
	for _, name := range []string{"content", "link", "link to pin", "fifo", "directory", "mounted", "empty"} {
		paths[name] = filepath.Join(dir, name)
	}
	require.NoError(t, os.WriteFile(paths["content"], []byte("x"), 0o600))
	require.NoError(t, os.WriteFile(paths["mounted"], nil, 0o600))
	require.NoError(t, os.WriteFile(paths["empty"], nil, 0o600))
	require.NoError(t, unix.Mount(paths["empty"], paths["mounted"], "", unix.MS_BIND, ""))
	require.NoError(t, os.Remove(paths["empty"]))
	delete(paths, "empty")
	require.NoError(t, os.Symlink("content", paths["link"]))
	require.NoError(t, os.Symlink("pin", paths["link to pin"]))
	require.NoError(t, syscall.Mkfifo(paths["fifo"], 0o600))
	require.NoError(t, os.Mkdir(paths["directory"], 0o700))
	return paths
}

func TestPinRefused(t *testing.T) {
	dir := pinDir(t)
	h := unshare(t, namespace.UTS).Of(namespace.UTS)
	pin := filepath.Join(dir, "pin")
	require.NoError(t, h.Pin(pin))
	paths := strangers(t, dir)
	paths["pinned"] = pin
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			before := mounts(t, dir)
			err := h.Pin(path)
			require.ErrorIs(t, err, namespace.ErrPinned)
			require.ErrorIs(t, err, fs.ErrExist)
			require.Equal(t, before, mounts(t, dir))
		})
	}
	for _, tt := range []struct {
		name, path string
		want       error
	}{
		{"no directory", filepath.Join(dir, "gone", "uts"), fs.ErrNotExist},
		{"below a file", filepath.Join(dir, "content", "uts"), syscall.ENOTDIR},
		{"empty path", "", fs.ErrInvalid},
		{"slash", "/", fs.ErrInvalid},
		{"directory with slash", dir + "/", fs.ErrInvalid},
		{"dot", dir + "/.", fs.ErrInvalid},
		{"dot dot", dir + "/..", fs.ErrInvalid},
		{"NUL", dir + "/\x00", syscall.EINVAL},
		{"long name", filepath.Join(dir, strings.Repeat("x", 256)), syscall.ENAMETOOLONG},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.ErrorIs(t, h.Pin(tt.path), tt.want)
		})
	}
}

// TestPinFails: a file that was made for a pin does not stay if the kernel
// refuses the mount.
func TestPinFails(t *testing.T) {
	dir := pinDir(t)
	path := filepath.Join(dir, "mnt")
	require.ErrorIs(t, here(t, namespace.Mount).Pin(path), syscall.ELOOP, "a mount namespace in itself")
	require.NoFileExists(t, path)
}

func TestUnpinRefused(t *testing.T) {
	dir := pinDir(t)
	pin := filepath.Join(dir, "pin")
	require.NoError(t, unshare(t, namespace.UTS).Of(namespace.UTS).Pin(pin))
	for name, path := range strangers(t, dir) {
		t.Run(name, func(t *testing.T) {
			before := mounts(t, dir)
			err := namespace.Unpin(path)
			require.ErrorIs(t, err, namespace.ErrNotNamespace)
			require.Equal(t, before, mounts(t, dir))
			_, err = os.Lstat(path)
			require.NoError(t, err)
		})
	}
	require.NoError(t, namespace.Unpin(filepath.Join(dir, "gone", "uts")))
	require.ErrorIs(t, namespace.Unpin(""), fs.ErrInvalid)
	require.ErrorIs(t, namespace.Unpin("/proc/self/ns/net"), namespace.ErrNotNamespace)
	require.ErrorIs(t, namespace.Unpin("/proc/self/ns/mnt"), namespace.ErrNotNamespace)
}

func TestUnpinLivesOn(t *testing.T) {
	dir := pinDir(t)
	h := unshare(t, namespace.UTS).Of(namespace.UTS)
	path := filepath.Join(dir, "uts")
	require.NoError(t, h.Pin(path))
	opened, err := namespace.Open(path)
	require.NoError(t, err)
	defer opened.Close()
	require.NoError(t, namespace.Unpin(path), "while it is open")
	require.NoError(t, opened.Do(expectIn(h)))
}

// TestPinNoProc: pins work in a mount namespace without /proc, as a pod's own is.
func TestPinNoProc(t *testing.T) {
	dir := pinDir(t)
	uts := unshare(t, namespace.UTS).Of(namespace.UTS)
	set, err := namespace.Unshare(namespace.Mount, hideProc)
	require.NoError(t, err)
	defer set.Close()
	path := filepath.Join(dir, "uts")
	require.NoError(t, set.Do(func() error {
		if err := errors.Join(uts.Pin(path), namespace.Unpin(path), os.WriteFile(path, nil, 0), uts.Pin(path)); err != nil {
			return err
		}
		opened, err := namespace.Open(path)
		if err != nil {
			return err
		}
		if !opened.Equal(uts) {
			err = errors.New("opened " + opened.String())
		}
		_, noThread := namespace.OfThread(namespace.UTS)
		if noThread == nil {
			err = errors.Join(err, errors.New("/proc is there"))
		}
		return errors.Join(err, opened.Close(), namespace.Unpin(path), namespace.Unpin(path))
	}))
}

// TestPinRace: of several at one path, one pins, and an Unpin among them leaves
// nothing or one pin.
func TestPinRace(t *testing.T) {
	dir := pinDir(t)
	set := unshare(t, namespace.UTS|namespace.Net)
	path := filepath.Join(dir, "pin")
	before := mounts(t, dir)
	for round := range 60 {
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				if round%2 == 1 && i%4 == 0 {
					errs[i] = namespace.Unpin(path)
					return
				}
				errs[i] = set[i%2].Pin(path)
			})
		}
		wg.Wait()
		pinned := 0
		for i, err := range errs {
			if round%2 == 1 && i%4 == 0 {
				require.NoError(t, err)
			} else if err == nil {
				pinned++
			} else {
				require.ErrorIs(t, err, namespace.ErrPinned)
			}
		}
		require.LessOrEqual(t, strings.Count(mounts(t, dir), path+" "), 1, "stacked")
		if round%2 == 0 {
			require.Equal(t, 1, pinned)
		}
		require.NoError(t, namespace.Unpin(path))
		require.NoFileExists(t, path)
		require.Equal(t, before, mounts(t, dir))
	}
}

// helperMaker makes a namespace, pins it and waits to be killed.
func helperMaker() error {
	set, err := namespace.Unshare(namespace.UTS, func() error { return unix.Sethostname([]byte("kept")) })
	if err != nil {
		return err
	}
	if err := set[0].Pin(os.Args[1]); err != nil {
		return err
	}
	if err := os.WriteFile(os.Args[1]+".ino", []byte(strconv.FormatUint(set[0].ID().Ino, 10)), 0o600); err != nil {
		return err
	}
	_, err = os.Stdin.Read(make([]byte, 1))
	return err
}

// TestPinSurvivesMaker: a pin needs no process, least of all the one that made it.
func TestPinSurvivesMaker(t *testing.T) {
	path := filepath.Join(pinDir(t), "uts")
	maker := helper(t, "maker", path)
	start(t, maker)
	var ino []byte
	require.True(t, testutil.Await(func() bool {
		ino, _ = os.ReadFile(path + ".ino") // not there yet
		return len(ino) > 0
	}))
	require.NoError(t, maker.Process.Kill())
	require.Error(t, maker.Wait())

	h, err := namespace.Open(path)
	require.NoError(t, err)
	defer h.Close()
	require.Equal(t, string(ino), strconv.FormatUint(h.ID().Ino, 10))
	require.NoError(t, h.Do(func() error {
		if name, err := os.Hostname(); err != nil || name != "kept" {
			return errors.Join(err, errors.New("host name is "+name))
		}
		return nil
	}))
	require.NoError(t, namespace.Unpin(path))
}

func mounts(t testing.TB, dir string) string {
	t.Helper()
	list, err := mountsBelow(dir)
	require.NoError(t, err)
	return list
}

func BenchmarkPinUnpin(b *testing.B) {
	path := filepath.Join(pinDir(b), "uts")
	h := unshare(b, namespace.UTS).Of(namespace.UTS)
	for b.Loop() {
		if err := errors.Join(h.Pin(path), namespace.Unpin(path)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		h, err := namespace.Open("/proc/self/ns/net")
		if err != nil {
			b.Fatal(err)
		}
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
