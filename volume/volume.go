package volume

import (
	"io/fs"
	"maps"
	"slices"
)

// Volume is a directory or file that the containers of a pod can mount: plain
// data, which survives JSON.
type Volume struct {
	// Name identifies the volume in its pod, an RFC 1123 label.
	Name string
	// Source says what is in it: an EmptyDir, a HostPath or Files.
	Source Source
}

// Source says what a volume is made of: [EmptyDir], [HostPath] or [Files], as
// values. There are no others.
type Source interface{ sourceType() string }

// EmptyDir is a directory that is empty at first, writable for every user (mode
// 0777), and shared by the containers that mount it. It goes with the pod, not
// with a container. Device nodes and set-user-ID programs have no effect in it.
type EmptyDir struct {
	// Medium is where the files are: MediumDisk or MediumMemory.
	Medium Medium `json:"medium,omitempty"`
	// SizeLimit is the most that fits, in bytes; who writes more gets ENOSPC
	// (EDQUOT on some file systems). With a limit the number of files is
	// limited too: one for each 4 KiB, but at least 1024.
	//
	// In memory, 0 means DefaultMemorySize. On disk, 0 means no limit, and any
	// other value needs a file system that enforces project quotas: XFS, or ext4
	// with the features quota and project, mounted with the option prjquota.
	// On another one Make fails with an error that matches
	// errors.ErrUnsupported.
	SizeLimit int64 `json:"sizeLimit,omitempty"`
}

// Medium is where the files of an EmptyDir are.
type Medium string

// The media of an EmptyDir.
const (
	// MediumDisk is the pod's storage on a file system of the host.
	MediumDisk Medium = ""
	// MediumMemory is a tmpfs. What is written counts as memory of the
	// container that wrote it, and goes on to do so for the pod once the
	// container has ended.
	MediumMemory Medium = "Memory"
)

// DefaultMemorySize is the size in bytes of an EmptyDir in memory without
// SizeLimit: the same as that of a pod's /dev/shm. A tmpfs that says nothing
// about its size takes up to half of the machine's memory.
const DefaultMemorySize = 64 << 20

// HostPath is a directory or file of the host, with what is mounted below. The
// containers see and, unless they mount it read-only, change the host's own
// files: the caller vouches for that. Device nodes in it have no effect, except
// on what the host mounts below later.
type HostPath struct {
	// Path is absolute. Symbolic links in it are followed once, when the
	// volume is made.
	Path string `json:"path"`
	// Type says what must be there, or is made. It is pathType in JSON, where
	// type says that the source is a HostPath.
	Type HostPathType `json:"pathType,omitempty"`
}

// HostPathType says what must be at a HostPath's Path, or is made there. What
// was made stays when the pod goes.
type HostPathType string

// The types of a HostPath.
const (
	// HostPathAny must exist and be anything but a device node.
	HostPathAny HostPathType = ""
	// HostPathDirectory must exist and be a directory.
	HostPathDirectory HostPathType = "Directory"
	// HostPathDirectoryOrCreate is made with mode 0755 if nothing is there,
	// and so are the directories above.
	HostPathDirectoryOrCreate HostPathType = "DirectoryOrCreate"
	// HostPathFile must exist and be a regular file.
	HostPathFile HostPathType = "File"
	// HostPathFileOrCreate is made empty with mode 0644 if nothing is there;
	// the directory that it is in must exist.
	HostPathFileOrCreate HostPathType = "FileOrCreate"
)

// Files is a read-only directory with files whose content is given as data: what
// Kubernetes has ConfigMaps, Secrets and the downward API for. The files are in
// memory and are never written to disk, except for swap.
type Files struct {
	// Items are the files by path: relative, in shortest form, with
	// subdirectories (mode 0755, owned by root) made as needed.
	Items map[string]File `json:"items,omitempty"`
}

// File is one file of a Files volume. It looks like encoding/json does it in
// JSON: the content in base64, the mode as a decimal number.
type File struct {
	Content []byte `json:"content,omitempty"`
	// Mode are the permission bits; 0 means 0644.
	Mode fs.FileMode `json:"mode,omitempty"`
	// UID and GID are the owner; the zero value is root.
	UID uint32 `json:"uid,omitempty"`
	GID uint32 `json:"gid,omitempty"`
}

// DefaultFileMode is the mode of a File that does not say any.
const DefaultFileMode fs.FileMode = 0o644

func (EmptyDir) sourceType() string { return "EmptyDir" }
func (HostPath) sourceType() string { return "HostPath" }
func (Files) sourceType() string    { return "Files" }

// Clone returns a copy of volumes that shares no memory with them.
func Clone(volumes []Volume) []Volume {
	clones := slices.Clone(volumes)
	for i, v := range clones {
		files, ok := v.Source.(Files)
		if !ok {
			continue
		}
		items := maps.Clone(files.Items)
		for name, file := range items {
			file.Content = slices.Clone(file.Content)
			items[name] = file
		}
		clones[i].Source = Files{Items: items}
	}
	return clones
}
