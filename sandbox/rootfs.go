package sandbox

// Rootfs says what a container has as its root directory: Dir, Overlay,
// HostRoot or Scratch.
type Rootfs interface{ rootfs() string }

// Dir is a directory of the host with a root file system in it. The container
// writes straight into it unless ReadOnly is set; two containers may share one.
type Dir struct {
	// Path is absolute; "/" is refused: that is HostRoot.
	Path     string `json:"path"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Overlay stacks directories, which stay as they are, and gives the container a
// writable layer of its own in the pod's storage below DataDir. The layer
// outlives restarts of the container and goes with the pod. It needs overlayfs.
type Overlay struct {
	// Lower are absolute paths, the uppermost layer first.
	Lower    []string `json:"lower"`
	ReadOnly bool     `json:"readOnly,omitempty"`
}

// HostRoot shows the host's own files, read-only: its programs, its libraries,
// and everything else that root can read. What is mounted on a top-level
// directory is included, what is mounted deeper is not. /proc, /sys, /dev are
// the container's, /run and /tmp are empty and its own, the pods' storage is
// hidden. Mount points that the host lacks can be made at the top level only.
type HostRoot struct{}

// Scratch is an empty root: it holds the container's mounts and nothing else,
// and is read-only once they are made.
type Scratch struct{}

func (Dir) rootfs() string      { return "Dir" }
func (Overlay) rootfs() string  { return "Overlay" }
func (HostRoot) rootfs() string { return "HostRoot" }
func (Scratch) rootfs() string  { return "Scratch" }
