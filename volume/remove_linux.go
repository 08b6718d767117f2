package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/tree"
)

// Remove removes what Make made for the volume v in storage, finished or not; a
// HostPath stays as it is. That there is nothing is no error, so it can be
// repeated. No container may use the volume any more.
//
// No symbolic link is followed and nothing is removed through a mount point: if
// something is mounted in the volume, in the caller's mount namespace, Remove
// stops there with an error that matches ErrMounted. ctx bounds the call; what
// it left undone the next Remove does.
func Remove(ctx context.Context, v Volume, storage string) error {
	if err := v.Validate(); err != nil {
		return err
	}
	if !v.onDisk() {
		return nil
	}
	return wrap("remove", v, func() error {
		base, err := openStorage(storage)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(removeDisk(ctx, base, v.Name), base.Close())
	}())
}

// removeDisk removes the directory first: while there are files in the project,
// nobody else takes its ID for free.
func removeDisk(ctx context.Context, base *os.File, name string) error {
	err := tree.RemoveAt(ctx, base, name)
	if errors.Is(err, tree.ErrMounted) {
		return fmt.Errorf("%w: %w", ErrMounted, err)
	}
	if err != nil {
		return err
	}
	return unlimitDisk(base, name)
}

// UsageOf measures the volume v. mount is the volume's mount, as in
// Mounted.File or opened later, and is borrowed; storage is the directory that
// Make was given. An EmptyDir on disk needs storage only and costs the reading
// of all its directories unless it has a SizeLimit; the others need mount only.
// A HostPath is not the pod's own: the error matches errors.ErrUnsupported.
func UsageOf(ctx context.Context, v Volume, mount *os.File, storage string) (Usage, error) {
	if err := v.Validate(); err != nil {
		return Usage{}, err
	}
	u, err := usageOf(ctx, v, mount, storage)
	return u, wrap("measure", v, err)
}

func usageOf(ctx context.Context, v Volume, mount *os.File, storage string) (Usage, error) {
	if err := ctx.Err(); err != nil {
		return Usage{}, err
	}
	if _, ok := v.Source.(HostPath); ok {
		return Usage{}, &UnsupportedError{Feature: "usage of a HostPath", Needs: "a volume of the pod's own"}
	}
	if !v.onDisk() {
		u, err := sys.TmpfsUsage(mount)
		return Usage{Bytes: u.Bytes, Inodes: u.Inodes, Limit: u.MaxBytes}, err
	}
	base, err := openStorage(storage)
	if err != nil {
		return Usage{}, err
	}
	defer base.Close()
	if id, err := readProject(base, v.Name); err != nil || id != 0 {
		if err != nil {
			return Usage{}, err
		}
		q, err := sys.ProjectQuota(base, id)
		return Usage{Bytes: q.Bytes, Inodes: q.Inodes, Limit: q.MaxBytes}, err
	}
	dir, err := sys.OpenBelow(base, v.Name)
	if err != nil {
		return Usage{}, err
	}
	defer dir.Close()
	size, err := tree.Usage(ctx, dir)
	return Usage{Bytes: size.Bytes, Inodes: size.Inodes}, err
}

// onDisk reports whether the volume has files in storage.
func (v Volume) onDisk() bool {
	s, ok := v.Source.(EmptyDir)
	return ok && s.Medium == MediumDisk
}
