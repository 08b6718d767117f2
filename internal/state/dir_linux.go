package state

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"syscall"

	"github.com/barepod/barepod/internal/invalid"
)

// List returns the IDs in a state directory, sorted. One that does not exist
// has none.
func List(dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield("", err)
			return
		}
		for _, e := range entries {
			if e.IsDir() && invalid.ID("ID", e.Name()) == nil && !yield(e.Name(), nil) {
				return
			}
		}
	}
}

// Create prepares the state directory and makes the entry id in it: mkdir(2) is
// the lock on the name, so it is fs.ErrExist if there is one. As long as the
// entry exists, Release does nothing. The caller must close it.
func Create(dir, id string) (e *Entry, err error) {
	if err := invalid.ID("ID", id); err != nil {
		return nil, err
	}
	err = prepared(dir, func() error {
		e, err = create(dir, id)
		return err
	})
	return e, err
}

func create(dir, id string) (*Entry, error) {
	if err := os.Mkdir(filepath.Join(dir, id), 0o700); err != nil {
		return nil, err
	}
	return OpenEntry(dir, id)
}

// OpenEntry opens the entry id. It is fs.ErrNotExist if there is none. The
// caller must close it.
func OpenEntry(dir, id string) (*Entry, error) {
	if err := invalid.ID("ID", id); err != nil {
		return nil, err
	}
	parent, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	e, err := openEntry(parent, id)
	if err != nil {
		return nil, fmt.Errorf("entry %s: %w", id, err)
	}
	return e, nil
}
