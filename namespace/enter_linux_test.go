package namespace_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
)

const enterable = namespace.Net | namespace.IPC | namespace.UTS | namespace.Cgroup

func TestDo(t *testing.T) {
	for kind := range (enterable | namespace.Mount).Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			h := unshare(t, kind).Of(kind)
			outside := here(t, kind)
			require.False(t, h.Equal(outside))
			require.NoError(t, h.Do(expectIn(h)))
			require.NoError(t, h.Do(func() error {
				inside, err := namespace.OfThread(kind)
				if err != nil {
					return err
				}
				if !inside.Equal(h) {
					err = errors.New("OfThread says " + inside.String())
				}
				return errors.Join(err, inside.Close())
			}))
			require.NoError(t, expectElsewhere(outside))
		})
	}
}

// expectElsewhere checks the calling goroutine's own thread.
func expectElsewhere(want ...*namespace.Handle) error {
	for _, h := range want {
		now, err := namespace.OfThread(h.Kind())
		if err != nil {
			return err
		}
		if !now.Equal(h) {
			err = errors.New("runs in " + now.String() + ", not in " + h.String())
		}
		if err := errors.Join(err, now.Close()); err != nil {
			return err
		}
	}
	return nil
}

func TestDoUnsupported(t *testing.T) {
	tests := []struct {
		kind namespace.Kind
		want string
	}{
		{namespace.User, "namespace: enter user: running Go code in a user namespace: not supported, needs a process with a single thread, which no Go program is"},
		{namespace.Time, "namespace: enter time: running Go code in a time namespace: not supported, needs a process with a single thread, which no Go program is"},
		{namespace.PID, "namespace: enter pid: running Go code in a PID namespace: not supported, needs a new process: a running one never changes its PID namespace"},
	}
	for _, tt := range tests {
		t.Run(tt.kind.String(), func(t *testing.T) {
			err := here(t, tt.kind).Do(func() error { t.Error("function was called"); return nil })
			require.EqualError(t, err, tt.want)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			var unsupported *namespace.UnsupportedError
			require.ErrorAs(t, err, &unsupported)
		})
	}
}

func TestDoUnprivileged(t *testing.T) {
	testutil.RequireFeature(t, "unprivileged")
	err := here(t, namespace.Net).Do(func() error { t.Error("function was called"); return nil })
	require.ErrorIs(t, err, fs.ErrPermission)
}

func TestSetDo(t *testing.T) {
	set := unshare(t, enterable|namespace.Mount)
	// Any order will do, also with the mount namespace first.
	for range set {
		set = append(set[1:len(set):len(set)], set[0])
		require.NoError(t, set.Do(expectIn(set...)))
	}
	without := set[:0:0]
	for _, h := range set {
		if h.Kind() != namespace.Mount {
			without = append(without, h)
		}
	}
	require.Equal(t, enterable, without.Kind())
	require.NoError(t, without.Do(expectIn(append(without[:len(without):len(without)], here(t, namespace.Mount))...)))
}

func TestSetOdd(t *testing.T) {
	called := false
	require.NoError(t, namespace.Set{}.Do(func() error { called = true; return nil }))
	require.True(t, called)
	require.NoError(t, namespace.Set(nil).Close())
	require.Nil(t, namespace.Set(nil).Of(namespace.Net))

	h := here(t, namespace.Net)
	err := namespace.Set{h, h}.Do(nil)
	require.EqualError(t, err, "namespace: enter: two net namespaces in set: invalid argument")
	err = namespace.Set{nil}.Do(nil)
	require.EqualError(t, err, "namespace: enter: nil handle in set: invalid argument")
	err = namespace.Set{h, here(t, namespace.User)}.Do(nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// TestDoOutcome ends functions in every way there is, with and without a
// namespace whose threads end.
func TestDoOutcome(t *testing.T) {
	cause := errors.New("cause")
	tests := []struct {
		name  string
		fn    func() error
		check func(t *testing.T, err error)
	}{
		{"nil", func() error { return nil }, func(t *testing.T, err error) { require.NoError(t, err) }},
		{"error", func() error { return cause }, func(t *testing.T, err error) { require.Same(t, cause, err) }},
		{"panic", func() error { panic("no") }, wantPanic("no")},
		{"panic with error", func() error { panic(cause) }, func(t *testing.T, err error) {
			require.ErrorIs(t, err, cause)
			wantPanic(cause)(t, err)
		}},
		{"nil dereference", func() error { return *(*error)(nil) }, func(t *testing.T, err error) {
			var e runtime.Error
			require.ErrorAs(t, err, &e)
		}},
		{"panic with nil", func() error { panic(nil) }, func(t *testing.T, err error) { //nolint:govet // on purpose
			var e *runtime.PanicNilError
			require.ErrorAs(t, err, &e)
		}},
		{"panic while panicking", func() error { defer func() { panic("second") }(); panic("first") }, wantPanic("second")},
		{"recovered", func() (err error) { defer func() { recover(); err = cause }(); panic("no") }, //nolint:errcheck // on purpose
			func(t *testing.T, err error) { require.Same(t, cause, err) }},
		{"goexit", func() error { runtime.Goexit(); return nil }, func(t *testing.T, err error) {
			require.ErrorIs(t, err, namespace.ErrGoexit)
			require.EqualError(t, err, "namespace: run in: function called runtime.Goexit")
		}},
	}
	kinds := []namespace.Kind{0}
	if os.Geteuid() == 0 {
		kinds = append(kinds, namespace.UTS, namespace.Mount, namespace.UTS|namespace.Mount)
	}
	for _, tt := range tests {
		for _, kind := range kinds {
			t.Run(tt.name+" in "+kind.String(), func(t *testing.T) {
				var set namespace.Set
				if kind != 0 {
					set = unshare(t, kind)
				}
				tt.check(t, set.Do(func() error {
					if err := expectIn(set...)(); err != nil {
						return err
					}
					return tt.fn()
				}))
				if kind == 0 {
					return
				}
				made, err := namespace.Unshare(kind, tt.fn)
				tt.check(t, err)
				require.Equal(t, err == nil, made != nil)
				require.NoError(t, made.Close())
			})
		}
	}
}

func wantPanic(value any) func(*testing.T, error) {
	return func(t *testing.T, err error) {
		t.Helper()
		var e *namespace.PanicError
		require.ErrorAs(t, err, &e)
		require.Equal(t, value, e.Value)
		require.Contains(t, string(e.Stack), "enter_linux_test.go", "where it was")
	}
}

// TestDoNested: an inner Do starts from the program's namespaces.
func TestDoNested(t *testing.T) {
	a, b := unshare(t, namespace.Net|namespace.UTS), unshare(t, namespace.Net)
	outside := here(t, namespace.UTS)
	require.NoError(t, a.Do(func() error {
		if err := b.Do(expectIn(b.Of(namespace.Net), outside)); err != nil {
			return err
		}
		return expectIn(a...)()
	}))
}

// TestDoGoroutine: what fn starts runs outside.
func TestDoGoroutine(t *testing.T) {
	set := unshare(t, namespace.Net|namespace.Mount)
	outside := []*namespace.Handle{here(t, namespace.Net), here(t, namespace.Mount)}
	require.NoError(t, set.Do(func() error {
		done := make(chan error)
		for range 16 {
			go func() {
				runtime.LockOSThread() // so that the runtime has to make more threads
				defer runtime.UnlockOSThread()
				done <- expectElsewhere(outside...)
			}()
		}
		var errs []error
		for range 16 {
			errs = append(errs, <-done)
		}
		return errors.Join(errs...)
	}))
}

// TestDoForeignChange: a function that leaves the thread in another namespace than
// those it was given costs the thread, and nothing else.
func TestDoForeignChange(t *testing.T) {
	h := unshare(t, namespace.Net).Of(namespace.Net)
	for _, flag := range []int{unix.CLONE_NEWUTS, unix.CLONE_NEWNET, unix.CLONE_NEWPID, unix.CLONE_NEWNS, unix.CLONE_NEWTIME} {
		require.NoError(t, h.Do(func() error { return unix.Unshare(flag) }))
	}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if err := expectElsewhere(here(t, namespace.Net), here(t, namespace.UTS), here(t, namespace.Mount)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestDoLocksInPairs(t *testing.T) {
	h := unshare(t, namespace.UTS).Of(namespace.UTS)
	require.NoError(t, h.Do(func() error {
		runtime.LockOSThread()
		runtime.UnlockOSThread()
		runtime.LockOSThread()
		return nil
	}), "a lock too many costs the thread at most")
}

// TestDoUnlocked: a function that gives its thread away is told of it. This
// cannot be undone, so it happens in another process.
func TestDoUnlocked(t *testing.T) {
	testutil.RequireRoot(t)
	require.NoError(t, helper(t, "unlock").Run())
}

func helperUnlock() error {
	set, err := namespace.Unshare(namespace.UTS, nil)
	if err != nil {
		return err
	}
	err = set.Do(func() error {
		tid := unix.Gettid()
		runtime.UnlockOSThread()
		for end := time.Now().Add(patience); unix.Gettid() == tid; {
			if time.Now().After(end) {
				return errors.New("never moved to another thread")
			}
			time.Sleep(tick)
		}
		return nil
	})
	const want = "namespace: run in: function called runtime.UnlockOSThread once too often: a thread of the program is left in the namespace"
	if err == nil || err.Error() != want {
		return fmt.Errorf("got %w", err)
	}
	return nil
}

// TestDoMany runs functions at once, among goroutines that must never find
// themselves inside.
func TestDoMany(t *testing.T) {
	const n = 500
	set := unshare(t, namespace.Net|namespace.UTS)
	mount := unshare(t, namespace.Mount)
	outside := []*namespace.Handle{here(t, namespace.Net), here(t, namespace.UTS), here(t, namespace.Mount)}
	stop := make(chan struct{})
	var watchers, wg sync.WaitGroup
	for range 8 {
		watchers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := expectElsewhere(outside...); err != nil {
					t.Error(err)
					return
				}
				runtime.Gosched()
			}
		})
	}
	limit := make(chan struct{}, 32) // threads at once: enough to mix, kind to the machine
	for i := range n {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			in := set
			if i%10 == 0 {
				in = mount
			}
			err := in.Do(func() error {
				err := expectIn(in...)()
				if i%7 == 0 {
					runtime.Goexit()
				}
				return err
			})
			if i%7 == 0 && errors.Is(err, namespace.ErrGoexit) {
				err = nil
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(stop)
	watchers.Wait()
}

// TestDoFirstThread: neither Do nor Unshare takes the thread that cannot end,
// even if there is hardly another one.
func TestDoFirstThread(t *testing.T) {
	set := unshare(t, namespace.UTS|namespace.Mount)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	first := here(t, namespace.Mount)
	for range 200 {
		require.NoError(t, set.Do(expectIn(set...)))
		require.NoError(t, expectElsewhere(first))
	}
}

// TestDoMount: root and working directory are the namespace's, the program's stay.
func TestDoMount(t *testing.T) {
	dir := pinDir(t)
	set, err := namespace.Unshare(namespace.Mount, func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k")
	})
	require.NoError(t, err)
	defer set.Close()
	cwd, err := os.Getwd()
	require.NoError(t, err)
	inside := filepath.Join(dir, "inside")
	require.NoError(t, set.Do(func() error {
		if cwd, err := syscall.Getwd(); err != nil || cwd != "/" { // os.Getwd trusts $PWD
			return errors.Join(err, errors.New("working directory is "+cwd))
		}
		if err := os.Chdir("/tmp"); err != nil {
			return err
		}
		return os.WriteFile(inside, nil, 0o600)
	}))
	require.NoFileExists(t, inside)
	now, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, cwd, now)
	require.NoError(t, set.Do(func() error { _, err := os.Stat(inside); return err }))
}

// TestDoReleases: when Do returns, it is not its thread that holds the namespace.
func TestDoReleases(t *testing.T) {
	set := unshare(t, namespace.Mount|namespace.UTS)
	for range 50 {
		require.NoError(t, set.Do(func() error { return nil }))
		tasks, err := filepath.Glob("/proc/self/task/*/ns")
		require.NoError(t, err)
		for _, task := range tasks {
			for _, h := range set {
				link, err := os.Readlink(filepath.Join(task, h.Kind().String()))
				require.True(t, err != nil || link != h.String(), "%s is in %s", task, h)
			}
		}
	}
}

func BenchmarkDo(b *testing.B) {
	for _, kinds := range []namespace.Kind{
		namespace.UTS, namespace.Net, namespace.Net | namespace.IPC | namespace.UTS, namespace.Mount,
	} {
		b.Run(kinds.String(), func(b *testing.B) {
			set := unshare(b, kinds)
			for b.Loop() {
				if err := set.Do(func() error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
