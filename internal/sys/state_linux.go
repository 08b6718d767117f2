package sys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// MountID returns the number of the mount that f was opened through, which is
// given again after its end, and whether f is the mount's root.
func MountID(f *os.File) (id uint64, root bool, err error) {
	var st unix.Statx_t
	err = withFD(f, "statx", func(fd int) error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st)
	})
	return st.Mnt_id, st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, err
}

// AwaitFlock takes the flock(2) of f, shared or exclusive, or gives up with the
// context's error when ctx ends: the system call cannot be bounded, but waiting
// for a lock is rare and short, so asking again is good enough.
func AwaitFlock(ctx context.Context, f *os.File, exclusive bool) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		err := Flock(f, exclusive, false)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for lock %s: %w", f.Name(), ctx.Err())
		case <-time.After(pause):
		}
	}
}

// Flock takes the flock(2) of f, shared or exclusive. With wait it blocks the
// thread until it has it, otherwise it is EWOULDBLOCK if another one has it. The
// lock goes with the last descriptor of f.
func Flock(f *os.File, exclusive, wait bool) error {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	if !wait {
		how |= unix.LOCK_NB
	}
	return withFD(f, "flock", func(fd int) error {
		_, err := retry(func() (int, error) { return 0, unix.Flock(fd, how) })
		return err
	})
}
