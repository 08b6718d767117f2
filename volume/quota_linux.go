package volume

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/barepod/barepod/internal/sys"
)

// Project IDs come from a range that people who number projects by hand, and
// other programs that count from below, do not reach.
const (
	firstProject  = 0x60000000
	projects      = 0x10000000
	projectProbes = 16
)

// projectFile returns the name of the file in storage that has the volume's
// project ID. The ID is not read back from the volume's directory: a container's
// root may change it there (FS_IOC_FSSETXATTR asks for no more than ownership),
// and Remove would take the limit from somebody else's project. No volume has
// this name, for labels have no dots.
func projectFile(name string) string { return name + ".project" }

func requireQuota(base *os.File) error {
	if err := sys.RequireProjectQuota(base); err != nil {
		return &UnsupportedError{
			Feature: "size limit of an EmptyDir on disk",
			Needs:   "a file system that enforces project quotas (XFS or ext4, mounted with prjquota)",
			Err:     err,
		}
	}
	return nil
}

// limitDisk makes the new and empty directory dir, which is name in base, a
// project of its own with a limit of size bytes.
func limitDisk(base, dir *os.File, name string, size int64) error {
	id, err := claimProject(base, dir, name)
	if err != nil {
		return err
	}
	if err := writeProject(base, name, id); err != nil {
		return err
	}
	return sys.SetProjectQuota(base, id, size, inodeLimit(size))
}

// claimProject finds a project ID that nobody uses and gives it to dir. IDs are
// derived from the path; whether one is free the file system knows: if it has no
// limits and, once dir is in it, one inode. Of two who claim the same ID at the
// same time, the one who comes second sees two, and so may the first; the IDs
// that they try next differ.
func claimProject(base, dir *os.File, name string) (uint32, error) {
	for try := range projectProbes {
		id := projectID(base.Name(), name, try)
		if err := sys.SetProject(dir, id); err != nil {
			return 0, err
		}
		q, err := sys.ProjectQuota(base, id)
		if err != nil {
			return 0, err
		}
		if q.Inodes == 1 && q.MaxBytes == 0 && q.MaxInodes == 0 {
			return id, nil
		}
	}
	return 0, fmt.Errorf("no project ID is free of %d tried", projectProbes)
}

func projectID(storage, name string, try int) uint32 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d\x00%s\x00%s", try, storage, name) // a hash takes everything
	sum := h.Sum64()
	return firstProject + uint32(sum^sum>>32)%projects
}

func writeProject(base *os.File, name string, id uint32) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL | syscall.O_NOFOLLOW
	f, err := sys.Openat2(base, projectFile(name), flags, 0o600, sys.Beneath)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.FormatUint(uint64(id), 10) + "\n")
	return errors.Join(err, f.Close())
}

// readProject returns the volume's project ID, 0 if it has none.
func readProject(base *os.File, name string) (uint32, error) {
	f, err := sys.Openat2(base, projectFile(name), os.O_RDONLY|syscall.O_NOFOLLOW, 0, sys.Beneath)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 16)
	n, _ := f.Read(buf) // nothing at all if Make was interrupted before it wrote
	id, err := strconv.ParseUint(strings.TrimSuffix(string(buf[:n]), "\n"), 10, 32)
	if err != nil || id < firstProject || id >= firstProject+projects {
		return 0, nil //nolint:nilerr // so no limit was set either: that comes after
	}
	return uint32(id), nil
}

// unlimitDisk takes the limit from the volume's project, so that the ID is free
// again once the files are gone, and forgets the ID.
func unlimitDisk(base *os.File, name string) error {
	id, err := readProject(base, name)
	if err != nil {
		return err
	}
	// A file system that has lost its quotas limits nothing.
	if id != 0 && sys.RequireProjectQuota(base) == nil {
		if err := sys.SetProjectQuota(base, id, 0, 0); err != nil {
			return err
		}
	}
	err = sys.UnlinkAt(base, projectFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
