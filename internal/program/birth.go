//go:build linux

package program

import "os"

// Birth is what the start of a container and of a further command have in
// common: who watches over the process, and what it is when it executes. Its
// program is started with all three standard streams: what stood in the place
// of a missing one would be left to the process.
type Birth struct {
	// Record is the directory in which the keeper leaves the exit record.
	Record *os.File
	// OOM is the path of the file whose first 256 bytes the keeper copies into
	// the record when the process has ended; it may be missing.
	OOM string
	// KillRest is cgroup.kill of the container's cgroup, written when its first
	// process has ended; empty for a further command. It may be missing.
	KillRest string
	// KeeperCgroup is the cgroup v2 directory in which the keeper is born; nil
	// where there is none.
	KeeperCgroup *os.File
	// Cgroup is the cgroup v2 directory in which the child is born; nil where
	// there is none.
	Cgroup *os.File
	// Tasks are the cgroup v1 files with which the child joins its cgroups.
	Tasks []string
	// Lifeline is the read end of a pipe; the processes die when its last
	// write end is closed. Nil: they live on.
	Lifeline *os.File
	// Hold has the launcher wait for a byte before it does anything.
	Hold bool

	// Argv is what is executed. A program without a slash is looked for in
	// Search.
	Argv   []string
	Search []string
	Env    []string
	Dir    string

	UID, GID uint32
	Groups   []uint32
	Caps     uint64 // effective and permitted if UID is 0, and bounding
	LastCap  int    // the highest capability of the kernel
	NewPrivs bool   // leave no_new_privs unset
	Rlimits  []Rlimit
}

// Rlimit is one resource limit.
type Rlimit struct {
	Resource   int
	Name       string
	Soft, Hard uint64
}

// Sizes of the keeper's messages and files.
const (
	ReportSize = 16  // {0xffffffff, keeper's pid, child's pid, 0}, with two pidfds
	RecordSize = 448 // see ParseRecord
	recordOOM  = 192
	oomSize    = RecordSize - recordOOM
)

// RecordName is the exit record's name in its directory.
const RecordName = "exit"

// How the notes of two calls begin whose failure is the caller's mistake.
const (
	NoteDir  = "change to the working directory "
	NoteExec = "execute "
)

// Go is the message on which a child executes its program.
const Go = "g"
