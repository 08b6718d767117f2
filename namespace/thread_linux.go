package namespace

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/barepod/barepod/internal/sys"
)

// visit is work for an OS thread of its own. The functions run on that thread,
// one after the other.
type visit struct {
	// enter changes the thread.
	enter func() error
	// work is the foreign code, left out if enter failed.
	work func() error
	// leave undoes what enter did, also when enter or work failed or work
	// panicked. It reports whether the thread is as it was before enter.
	leave func() (restored bool)
}

// run does the visit on a fresh goroutine and returns the error of enter or work.
// The thread goes back to the scheduler if leave restored it, else it ends.
func (v visit) run() error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		tid := sys.Gettid()
		if tid == os.Getpid() {
			// The process's first thread: the runtime cannot end it, it would
			// park it as it is, and /proc/self would show its namespaces.
			// While it is held here, another goroutine gets another thread.
			err := v.run()
			runtime.UnlockOSThread()
			done <- err
			return
		}
		finish := func(err error) {
			switch {
			case sys.Gettid() != tid:
				// Unlocked by work: the runtime has moved the goroutine, and the
				// thread that would have to be restored is out of reach.
				err = wrap("run in", 0, "", errUnlocked)
			case v.leave():
				runtime.UnlockOSThread()
			}
			done <- err
		}
		if err := v.enter(); err != nil {
			finish(err)
			return
		}
		guard(v.work, finish)
	}()
	return <-done
}

// guard calls work and then finish with what came of it. finish is called even
// if work ends the goroutine.
func guard(work func() error, finish func(error)) {
	var err error
	returned := false
	defer func() {
		if !returned {
			// Since Go 1.21 a panic with nil is not nil here.
			if value := recover(); value != nil {
				err = wrap("run in", 0, "", &PanicError{Value: value, Stack: debug.Stack()})
			} else {
				err = wrap("run in", 0, "", ErrGoexit)
			}
		}
		finish(err)
	}()
	err = work()
	returned = true
}
