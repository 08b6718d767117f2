package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/sys"
)

const (
	// lockName is the state directory's own lock: exclusive for Prepare and
	// Release, shared for the moment of Create.
	lockName = ".lock"
	// mountPrefix begins the names of the files that say which mount Prepare
	// made: one for each mount namespace, which have different ones.
	mountPrefix = ".mount-"
	// attempts bounds how often a call begins again because the directory was
	// removed and made meanwhile.
	attempts = 100
)

var errBusy = errors.New("keeps being removed and made again")

// mountRecord says which mount on the state directory is ours. It is written
// before the mount is made, with what was there, and after.
type mountRecord struct {
	BootID string `json:"bootId"`
	Below  uint64 `json:"below"`           // the mount that was there
	Mount  uint64 `json:"mount,omitempty"` // ours
}

// Prepare makes the state directory, and makes it a mount of its own with
// private propagation: a mount namespace can be pinned only where no other
// namespace would see the pin. It is cheap if all is done already; of any
// number of processes at once one does it.
//
// The error matches invalid.ErrInvalid if the directory is not safe: a symbolic
// link, another user's, or writable by others.
func Prepare(dir string) error { return prepared(dir, func() error { return nil }) }

// prepared calls do at a time when dir is prepared and cannot be released.
func prepared(dir string, do func() error) error {
	for range attempts {
		err := whilePrepared(dir, do)
		if !errors.Is(err, errUnprepared) {
			return err
		}
		if err := prepare(dir); err != nil {
			return err
		}
	}
	return &os.PathError{Op: "prepare", Path: dir, Err: errBusy}
}

var errUnprepared = errors.New("not prepared")

func whilePrepared(dir string, do func() error) error {
	unlock, err := lockDir(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return errUnprepared
	}
	if err != nil {
		return err
	}
	defer unlock()
	f, err := openDir(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	done, err := isPrepared(f)
	if err != nil {
		return err
	}
	if !done {
		return errUnprepared
	}
	return do()
}

// prepare makes the directory and the mount, unless somebody was faster.
func prepare(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	unlock, err := lockDir(dir, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // released under our hands: the caller tries again
	}
	if err != nil {
		return err
	}
	defer unlock()
	f, err := openDir(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if done, err := isPrepared(f); err != nil || done {
		return err
	}
	if err := bind(dir, f); err != nil {
		if made {
			err = errors.Join(err, removeDir(dir))
		}
		return err
	}
	return nil
}

// bind mounts the directory f on itself and records that.
func bind(dir string, f *os.File) error {
	record, name, err := readRecord(f)
	if err != nil {
		return err
	}
	id, root, err := sys.MountID(f)
	if err != nil {
		return err
	}
	if !record.isOurs(id, root) {
		record = mountRecord{BootID: BootID(), Below: id}
		if err := writeJSON(f, name, record); err != nil {
			return err
		}
		mount, err := sys.CloneMount(f, false)
		switch {
		case errors.Is(err, syscall.EINVAL) && root:
			// Unbindable already: this mount namespace was copied from one
			// where Prepare had been.
			record.Below = 0
		case err != nil:
			return err
		default:
			if err := attach(mount, f); err != nil {
				return err
			}
		}
	} // else a Prepare was killed between the mount and its record
	if err := fault.Point("new.mounted"); err != nil {
		return err
	}
	top, err := openDir(dir)
	if err != nil {
		return err
	}
	defer top.Close()
	// Now only: what is mounted on a shared mount becomes shared. Unbindable is
	// private and more: a HostPath from above does not take the pins along.
	if err := sys.SetMountAttr(top, 0, 0, syscall.MS_UNBINDABLE, false); err != nil {
		return err
	}
	if record.Mount, _, err = sys.MountID(top); err != nil {
		return err
	}
	return writeJSON(top, name, record)
}

func attach(mount, dir *os.File) error {
	defer mount.Close()
	if err := fault.Point("new.mount"); err != nil {
		return err
	}
	return sys.MoveMount(mount, dir, "")
}

// isOurs reports whether the mount id, of which the directory is the root or
// not, is the one that was made with this record.
func (r mountRecord) isOurs(id uint64, root bool) bool {
	return root && r.BootID == BootID() && id != r.Below && (r.Mount == id || r.Mount == 0)
}

// isPrepared reports whether f was opened through a mount that Prepare has
// finished.
func isPrepared(f *os.File) (bool, error) {
	record, _, err := readRecord(f)
	if err != nil || record.Mount == 0 {
		return false, err
	}
	id, root, err := sys.MountID(f)
	return record.isOurs(id, root), err
}

// readRecord returns the record for this thread's mount namespace and its name.
// One that is missing or damaged says nothing.
func readRecord(dir *os.File) (record mountRecord, name string, err error) {
	ns, err := os.Readlink("/proc/thread-self/ns/mnt")
	if err != nil {
		return record, "", err
	}
	name = mountPrefix + strings.Trim(ns, "mnt:[]")
	f, err := sys.Openat2(dir, name, os.O_RDONLY|syscall.O_NONBLOCK, 0, sys.Beneath)
	if errors.Is(err, fs.ErrNotExist) {
		return record, name, nil
	}
	if err != nil {
		return record, name, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err == nil && json.Unmarshal(b, &record) != nil {
		record = mountRecord{}
	}
	return record, name, err
}

// Release undoes Prepare if no entry is left; drop, unless nil, is called
// before, for what the entries shared. Then the directory is removed if nothing
// else is in it. Release does nothing if there is an entry, or no directory.
func Release(dir string, drop func() error) error {
	unlock, err := lockDir(dir, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	for _, err := range List(dir) {
		return err
	}
	if drop != nil {
		if err := drop(); err != nil {
			return err
		}
	}
	if err := unbind(dir); err != nil {
		return err
	}
	return removeDir(dir)
}

// unbind removes the mount that Prepare made.
func unbind(dir string) error {
	f, err := openDir(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	record, _, err := readRecord(f)
	if err != nil {
		return err
	}
	if id, root, err := sys.MountID(f); err != nil || !record.isOurs(id, root) {
		return err
	}
	// Detached: whoever lists the directory right now has it open.
	return sys.Unmount(dir, syscall.MNT_DETACH)
}

// removeDir removes the directory and our files in it. Who waits for the lock
// finds that it has gone.
func removeDir(dir string) error {
	f, err := openDir(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, mountPrefix) && !strings.HasPrefix(name, "."+mountPrefix)
	})
	// The lock last: without it somebody else may be here already.
	for _, name := range append(names, lockName) {
		if err := sys.UnlinkAt(f, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err = sys.Rmdir(dir)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EBUSY) {
		return nil // somebody else's files, or mount
	}
	return err
}

// openDir opens the state directory. It refuses one that others could write to.
func openDir(dir string) (*os.File, error) {
	unsafe := func(reason string) error {
		return &invalid.Error{Field: "StateDir", Value: dir, Reason: reason}
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return nil, unsafe("must be a directory, not a symbolic link")
	}
	if err != nil {
		return nil, err
	}
	st, err := sys.StatAt(f, "")
	if err == nil && (int(st.UID) != os.Geteuid() || st.Mode&0o022 != 0) {
		err = unsafe(fmt.Sprintf("must belong to user %d and be writable by nobody else", os.Geteuid()))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lockDir takes the state directory's own lock, which is held for moments only.
// It is fs.ErrNotExist if there is no directory.
func lockDir(dir string, exclusive bool) (unlock func(), err error) {
	for range attempts {
		unlock, err := tryLockDir(dir, exclusive)
		if !errors.Is(err, errBusy) {
			return unlock, err
		}
	}
	return nil, &os.PathError{Op: "lock", Path: dir, Err: errBusy}
}

func tryLockDir(dir string, exclusive bool) (unlock func(), err error) {
	d, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	f, err := sys.Openat2(d, lockName, os.O_RDWR|os.O_CREATE, 0o600, sys.Beneath)
	if err != nil {
		return nil, err
	}
	err = sys.Flock(f, exclusive, true)
	if err == nil {
		// The holder before us may have removed it.
		err = isAt(f, d, lockName)
		if errors.Is(err, fs.ErrNotExist) {
			err = errBusy
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// isAt is fs.ErrNotExist unless f is the file name in dir.
func isAt(f, dir *os.File, name string) error {
	ours, err := sys.StatAt(f, "")
	if err != nil {
		return err
	}
	now, err := sys.StatAt(dir, name)
	if err == nil && (now.Dev != ours.Dev || now.Ino != ours.Ino) {
		err = &os.PathError{Op: "lock", Path: f.Name(), Err: fs.ErrNotExist}
	}
	return err
}
