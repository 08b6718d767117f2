package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/barepod/barepod/internal/sys"
)

// Make makes the volume v and returns it as a detached mount, which the caller
// must close, attached or not. storage is the directory of the pod's volumes on
// disk: it exists, belongs to the calling user, and nobody else may enter it. Only an
// EmptyDir on disk uses it.
//
// ctx bounds the call, not the volume. It needs CAP_SYS_ADMIN; owners in Files
// need CAP_CHOWN. A Make that fails leaves nothing; when it is interrupted, and
// once the volume is not needed any more, Remove removes what is in storage.
func Make(ctx context.Context, v Volume, storage string) (*Mounted, error) {
	if err := v.Validate(); err != nil {
		return nil, err
	}
	m, err := makeSource(ctx, v, storage)
	if err != nil {
		return nil, wrap("make", v, err)
	}
	return m, nil
}

func makeSource(ctx context.Context, v Volume, storage string) (*Mounted, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch s := v.Source.(type) {
	case EmptyDir:
		if s.Medium == MediumMemory {
			return makeMemory(s)
		}
		return makeDisk(ctx, v.Name, s, storage)
	case HostPath:
		return makeHostPath(s)
	case Files:
		return makeFiles(ctx, s)
	}
	return nil, fmt.Errorf("BUG: %T passed validation", v.Source)
}

// ownAttrs are the mount attributes of volumes that containers write to.
const ownAttrs = sys.AttrNodev | sys.AttrNosuid

// worldWritable is the mode of an EmptyDir, as in Kubernetes: its users are
// those of the containers, whatever their numbers.
const worldWritable = 0o777

func makeMemory(s EmptyDir) (*Mounted, error) {
	size := s.SizeLimit
	if size == 0 {
		size = DefaultMemorySize
	}
	f, err := newTmpfs(size, inodeLimit(size), worldWritable)
	return mounted(f, true, err)
}

// newTmpfs makes a tmpfs. Without size and number of inodes a tmpfs is limited
// by half of the machine's memory, and 0 is no limit at all.
func newTmpfs(size, inodes int64, mode uint32) (*os.File, error) {
	return sys.NewFS("tmpfs", ownAttrs,
		sys.Option{Key: "size", Value: strconv.FormatInt(max(size, 1), 10)},
		sys.Option{Key: "nr_inodes", Value: strconv.FormatInt(max(inodes, 1), 10)},
		sys.Option{Key: "mode", Value: strconv.FormatUint(uint64(mode), 8)},
	)
}

const (
	bytesPerInode = 4096
	minInodes     = 1024
	maxInodes     = 1 << 31 // well below what tmpfs refuses
)

// inodeLimit returns how many inodes go with a limit of size bytes: an empty
// file costs the kernel memory, or an inode table space, but takes no bytes.
func inodeLimit(size int64) int64 {
	return min(max(size/bytesPerInode, minInodes), maxInodes)
}

func makeDisk(ctx context.Context, name string, s EmptyDir, storage string) (m *Mounted, err error) {
	base, err := openStorage(storage)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	if s.SizeLimit > 0 {
		if err := requireQuota(base); err != nil {
			return nil, err
		}
	}
	// One that exists is of another pod or another time: its files are not
	// for this one.
	if err := sys.MkdirAt(base, name, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeDisk(context.WithoutCancel(ctx), base, name))
		}
	}()
	dir, err := sys.OpenBelow(base, name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if s.SizeLimit > 0 {
		if err := limitDisk(base, dir, name, s.SizeLimit); err != nil {
			return nil, err
		}
	}
	// By descriptor, for the umask of the process must neither matter nor change.
	if err := dir.Chmod(worldWritable); err != nil {
		return nil, err
	}
	return clone(dir, true, false, ownAttrs, syscall.MS_PRIVATE)
}

// openStorage opens the storage directory and makes sure that nobody else can
// reach what is in it, which is writable for all.
func openStorage(storage string) (*os.File, error) {
	base, err := os.OpenFile(storage, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	st, err := sys.StatAt(base, "")
	if err == nil && (st.UID != uint32(os.Geteuid()) || st.Mode&0o077 != 0) {
		err = &os.PathError{Op: "check", Path: storage, Err: errors.New("must belong to the calling user and have mode 0700")}
	}
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	return base, nil
}

// clone returns a detached copy of the mount that f is on, with f as its root.
func clone(f *os.File, dir, recursive bool, attrs, propagation uint64) (*Mounted, error) {
	c, err := sys.CloneMount(f, recursive)
	if err == nil {
		err = sys.SetMountAttr(c, attrs, 0, propagation, recursive)
	}
	return mounted(c, dir, err)
}

// mounted takes ownership of f, which may be nil if err is not.
func mounted(f *os.File, dir bool, err error) (*Mounted, error) {
	if err == nil {
		return &Mounted{File: f, Dir: dir}, nil
	}
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return nil, err
}
