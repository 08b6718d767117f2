package state

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/tree"
)

// maxFile bounds what is read back.
const maxFile = 16 << 20

// Entry is a directory of state: a sandbox's, or a part of it.
type Entry struct {
	parent *os.File
	dir    *os.File
	name   string
}

func openEntry(parent *os.File, name string) (*Entry, error) {
	dir, err := sys.Openat2(parent, name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0, sys.Beneath)
	if err != nil {
		return nil, err
	}
	dup, err := sys.Dup(parent)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return &Entry{parent: dup, dir: dir, name: name}, nil
}

// File is the entry's directory, borrowed until Close.
func (e *Entry) File() *os.File { return e.dir }

// Close closes the entry's descriptors.
func (e *Entry) Close() error { return errors.Join(e.parent.Close(), e.dir.Close()) }

// Mkdir makes a directory in the entry; one that is there is no error.
func (e *Entry) Mkdir(name string) error {
	if err := sys.MkdirAt(e.dir, name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Create makes the entry name in the directory dir of this one, which is made
// as well if it is missing. It is fs.ErrExist if there is such an entry. The
// caller must close it.
func (e *Entry) Create(dir, name string) (*Entry, error) {
	err := sys.MkdirAt(e.dir, dir+"/"+name, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := e.Mkdir(dir); err != nil {
			return nil, err
		}
		err = sys.MkdirAt(e.dir, dir+"/"+name, 0o700)
	}
	if err != nil {
		return nil, err
	}
	return e.Open(dir, name)
}

// Open opens the entry name in the directory dir of this one. The caller must
// close it.
func (e *Entry) Open(dir, name string) (*Entry, error) {
	parent, err := sys.Openat2(e.dir, dir, os.O_RDONLY|syscall.O_DIRECTORY, 0, sys.Beneath)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return openEntry(parent, name)
}

// Names returns the names in the directory dir of the entry, sorted.
func (e *Entry) Names(dir string) ([]string, error) {
	f, err := sys.Openat2(e.dir, dir, os.O_RDONLY|syscall.O_DIRECTORY, 0, sys.Beneath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Write replaces the file name by the JSON of v: a reader sees the old content
// or the new one. There is no fsync: state is on tmpfs, and nothing of a
// sandbox survives the kernel.
func (e *Entry) Write(name string, v any) error {
	return writeJSON(e.dir, name, v)
}

func writeJSON(dir *os.File, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("state %s: %w", name, err)
	}
	// A name of its own, for several may write at once without a lock.
	tmp := path.Join(path.Dir(name), "."+path.Base(name)+"."+rand.Text()[:8])
	f, err := sys.CreateAt(dir, tmp, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = sys.RenameAt(dir, tmp, name)
	}
	if err != nil {
		return errors.Join(err, sys.UnlinkAt(dir, tmp))
	}
	return nil
}

// Read reads the JSON of the file name into v, strictly. It is fs.ErrNotExist
// if there is no such file.
func (e *Entry) Read(name string, v any) error {
	b, err := e.ReadFile(name)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("state %s: %w", name, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("state %s: more than one value", name)
	}
	return nil
}

// ReadFile returns the content of the file name.
func (e *Entry) ReadFile(name string) ([]byte, error) {
	f, err := sys.Openat2(e.dir, name, os.O_RDONLY|syscall.O_NONBLOCK, 0, sys.Beneath)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("state %s: more than %d bytes", name, maxFile)
	}
	return b, err
}

// Remove removes the entry with all that is in it, never following a link or
// going through a mount: then it matches tree.ErrMounted. It is idempotent.
func (e *Entry) Remove(ctx context.Context) error {
	if err := isAt(e.dir, e.parent, e.name); errors.Is(err, fs.ErrNotExist) {
		return nil // and whatever has the name now is not ours
	}
	return tree.RemoveAt(ctx, e.parent, e.name)
}

// Lock is a held lock of an entry.
type Lock struct{ file *os.File }

// File is the lock's descriptor: a process that inherits it holds the lock
// until it closes it, or ends.
func (l *Lock) File() *os.File { return l.file }

// Unlock closes our descriptor of the lock. It is idempotent, and nothing to do
// for a nil Lock.
func (l *Lock) Unlock() {
	if l != nil {
		_ = l.file.Close()
	}
}

// Lock takes the entry's lock, shared or exclusive, and waits for it as long as
// ctx allows. It is fs.ErrNotExist if the entry was removed meanwhile. The
// caller must unlock it.
func (e *Entry) Lock(ctx context.Context, exclusive bool) (*Lock, error) {
	// The directory itself, opened anew: flock(2) belongs to the open file.
	f, err := sys.Openat2(e.dir, ".", os.O_RDONLY|syscall.O_DIRECTORY, 0, sys.Beneath)
	if err != nil {
		return nil, err
	}
	if err := e.lock(ctx, f, exclusive); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{f}, nil
}

func (e *Entry) lock(ctx context.Context, f *os.File, exclusive bool) error {
	if err := sys.AwaitFlock(ctx, f, exclusive); err != nil {
		return err
	}
	// The holder before us may have removed the entry.
	return isAt(e.dir, e.parent, e.name)
}
