package volume

import (
	"io"
	"os"
)

// Mounted is a volume that Make made: a mount that is attached nowhere.
type Mounted struct {
	// File is the mount, for move_mount(2) and UsageOf. It can only be attached
	// in the mount namespace of the thread that does so, and is freed by the
	// kernel with its last descriptor unless it was attached.
	File *os.File
	// Dir says that it has to be attached to a directory. It is false for a
	// HostPath that is a file, a socket or a FIFO.
	Dir bool
}

var _ io.Closer = (*Mounted)(nil)

// Close closes File. A mount that was attached stays.
func (m *Mounted) Close() error { return m.File.Close() }

// Usage is what a volume occupies.
type Usage struct {
	// Bytes is what is allocated, which may be more or less than the sum of
	// the files' sizes.
	Bytes int64
	// Inodes is the number of files and directories, with the volume itself.
	Inodes int64
	// Limit is the most that Bytes can become; 0 means no limit of the
	// volume's own.
	Limit int64
}
