package tree

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"

	"github.com/barepod/barepod/internal/sys"
)

// Size is what a tree occupies.
type Size struct{ Bytes, Inodes int64 }

// Usage measures what is allocated for the directory root, which is borrowed,
// and for all below it on the same mount. A tree that changes meanwhile is
// measured as it is met.
func Usage(ctx context.Context, root *os.File) (Size, error) {
	m := &meter{}
	if err := m.add(root, ""); err != nil {
		return Size{}, err
	}
	if err := walk(ctx, root, m); err != nil {
		return Size{}, err
	}
	return Size{Bytes: int64(math.Round(m.bytes)), Inodes: int64(math.Round(m.inodes))}, nil
}

// meter counts for each of the n links of a file the n-th part of it: that needs
// no memory of the files seen, of which there may be any number.
type meter struct{ bytes, inodes float64 }

func (m *meter) visit(dir *os.File, name string, isDir bool) (bool, error) {
	return isDir, m.add(dir, name)
}

func (m *meter) add(dir *os.File, name string) error {
	st, err := sys.StatAt(dir, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.MountRoot && name != "":
		return nil // and descending gives EXDEV
	}
	share := 1.0
	if !st.IsDir() && st.Links > 1 {
		share = 1 / float64(st.Links)
	}
	m.bytes += share * float64(st.Bytes)
	m.inodes += share
	return nil
}

func (m *meter) cannotDescend(_ *os.File, _ string, err error) error { return ignoreChanged(err) }

func (m *meter) leave(*os.File, string) (bool, error) { return false, nil }
