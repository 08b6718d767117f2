package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/barepod/barepod/internal/sys"
)

// BootID identifies the time since the machine was booted.
var BootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return string(bytes.TrimSpace(b))
})

// Proc is the recorded identity of a process. A number alone is none: it is
// given to another process soon after.
type Proc struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"startTime"` // clock ticks since boot, proc_pid_stat(5)
	BootID    string `json:"bootId"`
}

// Self is the identity of this process.
var Self = sync.OnceValues(func() (Proc, error) { return Identify(os.Getpid()) })

// Identify returns the identity of a process, which must not be reaped before.
func Identify(pid int) (Proc, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Proc{}, err
	}
	// The second field is the command in parentheses and may hold any byte.
	end := bytes.LastIndexByte(b, ')')
	fields := strings.Fields(string(b[end+1:]))
	const startTime = 22 - 3 // the first of fields is the third
	if end < 0 || len(fields) <= startTime {
		return Proc{}, fmt.Errorf("/proc/%d/stat is malformed", pid)
	}
	start, err := strconv.ParseUint(fields[startTime], 10, 64)
	if err != nil {
		return Proc{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return Proc{PID: pid, StartTime: start, BootID: BootID()}, nil
}

// Open returns a pidfd of the process, or os.ErrProcessDone if it has ended.
// The caller must close it.
func (p Proc) Open() (*os.File, error) {
	if p.BootID != BootID() {
		return nil, os.ErrProcessDone
	}
	f, err := sys.PidfdOpen(p.PID)
	switch {
	case errors.Is(err, syscall.ESRCH), errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EINVAL):
		// Nobody has the number; or a thread has it, which is another error
		// from kernel to kernel.
		return nil, os.ErrProcessDone
	case err != nil:
		return nil, err
	}
	// Only now: whatever has the number is held by the descriptor.
	now, err := Identify(p.PID)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || err == nil && now != p {
		err = os.ErrProcessDone
	}
	if err == nil {
		var ended bool
		if ended, err = sys.PidfdExited(f); ended { // a zombie that nobody reaped yet
			err = os.ErrProcessDone
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// WaitPidfd waits until the process has ended, reaped or not, through Go's
// poller and so without a thread of its own, or until ctx ends. Any number of
// goroutines may wait on one pidfd.
func WaitPidfd(ctx context.Context, pidfd *os.File) error {
	if ended, err := sys.PidfdExited(pidfd); err != nil || ended {
		return err
	}
	// A file of its own for each waiter: the deadline is the file's.
	end, err := sys.PidfdWatch(pidfd)
	if err != nil {
		return err
	}
	defer end.Close()
	stop := context.AfterFunc(ctx, func() { _ = end.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = sys.AwaitReadable(end)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}
