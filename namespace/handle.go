package namespace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ID is the identity of a namespace. Among the namespaces that exist at one time
// on a machine it is unique.
type ID struct {
	Dev uint64 `json:"dev"` // device of the kernel's file system of namespaces
	Ino uint64 `json:"ino"` // inode, the number that /proc/<pid>/ns shows
}

// Handle holds a namespace by an open file. Its methods may be called from
// several goroutines at once.
type Handle struct {
	file *os.File
	kind Kind
	id   ID
}

var _ io.Closer = (*Handle)(nil)

// Open opens the namespace at path: a pin, or a file under /proc/<pid>/ns, where
// nobody but the caller can know that <pid> is still the process that was meant
// ([OfProcess] does). Symbolic links are followed. The file is not read and not
// even opened before it was found to be a namespace: anything else is
// [ErrNotNamespace]. The caller must close the handle.
func Open(path string) (*Handle, error) {
	h, err := openPath(path)
	return h, wrap("open", 0, path, err)
}

// OfProcess opens the namespace of one kind of the process behind pidfd, which
// is borrowed for the call. A process that has ended is os.ErrProcessDone, even
// when its number belongs to another one by now. The caller must close the handle.
func OfProcess(pidfd *os.File, kind Kind) (*Handle, error) {
	h, err := ofProcess(pidfd, kind)
	return h, wrap("open process's", kind, "", err)
}

// OfThread opens the namespace of one kind of the calling thread. A goroutine
// that is not locked to its thread is told of the program's namespaces, which
// all its other threads share. The caller must close the handle.
func OfThread(kind Kind) (*Handle, error) {
	h, err := ofThread(kind)
	return h, wrap("open thread's", kind, "", err)
}

// FromFile makes a handle of an open namespace file, for instance one that was
// received over a socket. It takes ownership of f if it succeeds; a file that is
// something else is [ErrNotNamespace].
func FromFile(f *os.File) (*Handle, error) {
	h, err := fromFile(f)
	if err != nil && f != nil {
		return nil, wrap("use", 0, f.Name(), err)
	}
	return h, wrap("use", 0, "", err)
}

// Kind returns the one kind of the namespace.
func (h *Handle) Kind() Kind { return h.kind }

// ID returns the identity of the namespace.
func (h *Handle) ID() ID { return h.id }

// Equal reports whether both handles are of the same namespace.
func (h *Handle) Equal(other *Handle) bool {
	return other != nil && h.kind == other.kind && h.id == other.id
}

// String names the namespace as /proc/<pid>/ns does: "net:[4026531840]".
func (h *Handle) String() string { return fmt.Sprintf("%v:[%d]", h.kind, h.id.Ino) }

// File returns the open file of the namespace. It is borrowed until Close.
func (h *Handle) File() *os.File { return h.file }

// Owner opens the user namespace that owns the namespace. It is an error that
// matches fs.ErrPermission if that is not the program's own or one inside it.
// The caller must close the handle.
func (h *Handle) Owner() (*Handle, error) {
	owner, err := h.owner()
	return owner, wrap("open owner of", h.kind, "", err)
}

// Dup returns a second handle of the namespace. The caller must close it.
func (h *Handle) Dup() (*Handle, error) {
	file, err := dup(h.file)
	if err != nil {
		return nil, wrap("duplicate", h.kind, "", err)
	}
	return &Handle{file: file, kind: h.kind, id: h.id}, nil
}

// Do runs fn in the namespace and returns its error as it is. The package
// documentation says what holds inside fn, under Threads.
//
// The kinds Net, IPC, UTS and Cgroup cost a hundred microseconds at the most. Mount costs
// the end of an OS thread on top; inside, root and working directory are the root
// of the namespace. Other kinds are an [*UnsupportedError].
//
// When Do returns, the thread that ran fn is no longer in the namespace.
func (h *Handle) Do(fn func() error) error { return Set{h}.Do(fn) }

// Pin mounts the namespace on the file path, so that it lives without a process
// or handle until [Unpin]. The file is made, with mode 0, if it is missing; an
// empty one that was left behind is taken; anything else at path, a pin included,
// is [ErrPinned]. The last component of path is not followed if it is a symbolic
// link.
func (h *Handle) Pin(path string) error { return wrap("pin", h.kind, path, h.pin(path)) }

// Unpin removes a pin: it detaches the mount at path and removes the file. It is
// nil if there is nothing at path, also half a pin is removed, and so it may be
// repeated. Whatever is not a pin (a symbolic link, a directory, a file with
// content, a mount of something else) is left alone and is [ErrNotNamespace].
//
// The namespace may live on: other pins, handles and processes hold it, copies of
// the mount in other mount namespaces included. Those never make Unpin fail.
func Unpin(path string) error { return wrap("unpin", 0, path, unpin(path)) }

// Close drops the handle. A handle that is closed already is not an error.
func (h *Handle) Close() error {
	if err := h.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return wrap("close", h.kind, "", err)
	}
	return nil
}
