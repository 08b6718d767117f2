package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// IsReadOnly reports whether nothing can be written through the mount that f
// was opened through.
func IsReadOnly(f *os.File) (bool, error) {
	var st unix.Statfs_t
	err := withFD(f, "fstatfs", func(fd int) error { return unix.Fstatfs(fd, &st) })
	return st.Flags&unix.ST_RDONLY != 0, err
}
