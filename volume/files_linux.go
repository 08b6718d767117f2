package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/barepod/barepod/internal/sys"
)

// dirMode is the mode of the directories of Files.
const dirMode = 0o755

// makeFiles writes the files through the descriptor of a tmpfs that nobody else
// can reach yet, and then makes the mount read-only.
func makeFiles(ctx context.Context, s Files) (*Mounted, error) {
	dirs := s.dirs()
	// Twice as many inodes as needed: their security labels count too.
	f, err := newTmpfs(s.size(), int64(2*(1+len(dirs)+len(s.Items))), dirMode)
	if err == nil {
		err = s.write(ctx, f, dirs)
	}
	if err == nil {
		err = makeReadOnly(ctx, f)
	}
	return mounted(f, true, err)
}

// makeReadOnly makes the mount read-only. A program that this one forked
// meanwhile has a copy of a file that is open for writing until it executes, and
// so long the kernel calls the mount busy.
func makeReadOnly(ctx context.Context, f *os.File) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		err := sys.SetMountAttr(f, sys.AttrReadOnly, 0, 0, false)
		if !errors.Is(err, syscall.EBUSY) || ctx.Err() != nil {
			return err
		}
		time.Sleep(pause)
	}
}

// dirs returns the directories that the files are in, parents first.
func (s Files) dirs() []string {
	dirs := map[string]bool{}
	for name := range s.Items {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(dirs))
}

// size returns the bytes that the contents take on a tmpfs.
func (s Files) size() int64 {
	page := int64(os.Getpagesize())
	var sum int64
	for _, f := range s.Items {
		sum += (int64(len(f.Content)) + page - 1) / page * page
	}
	return sum
}

func (s Files) write(ctx context.Context, mount *os.File, dirs []string) (err error) {
	root, err := os.OpenRoot(sys.ProcPath(mount))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, dir := range dirs {
		// Twice, for the umask has its say in the first.
		if err := errors.Join(root.Mkdir(dir, dirMode), root.Chmod(dir, dirMode)); err != nil {
			return err
		}
	}
	for name, file := range s.Items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := file.write(root, name); err != nil {
			return fmt.Errorf("write %q: %w", name, err)
		}
	}
	return nil
}

func (f File) write(root *os.Root, name string) (err error) {
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := out.Write(f.Content); err != nil {
		return err
	}
	if err := out.Chown(int(f.UID), int(f.GID)); err != nil {
		return err
	}
	mode := f.Mode
	if mode == 0 {
		mode = DefaultFileMode
	}
	return out.Chmod(mode)
}
