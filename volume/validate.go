package volume

import (
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path"
	"slices"

	"github.com/barepod/barepod/internal/invalid"
)

// InvalidError says which field of a Volume or Mount is wrong, and why. It
// matches fs.ErrInvalid.
type InvalidError = invalid.Error

// maxOwner is the highest user and group ID: the one above means "unchanged" to
// chown(2).
const maxOwner = math.MaxUint32 - 1

// Validate checks v without looking at the host. The error is an *InvalidError
// whose Field starts at v, such as Source.SizeLimit.
func (v Volume) Validate() error {
	if err := invalid.Label("Name", v.Name); err != nil {
		return err
	}
	switch s := v.Source.(type) {
	case nil:
		return &invalid.Error{Field: "Source", Reason: "is required: EmptyDir, HostPath or Files"}
	case EmptyDir:
		return invalid.Within("Source", s.validate())
	case HostPath:
		return invalid.Within("Source", s.validate())
	case Files:
		return invalid.Within("Source", s.validate())
	default:
		return &invalid.Error{Field: "Source", Value: fmt.Sprintf("%T", s), Reason: "must be an EmptyDir, HostPath or Files value, not a pointer"}
	}
}

// ValidateVolumes checks all volumes of a pod: each of them, and that no two have the
// same name. The error is an *InvalidError whose Field starts at the list, such
// as Volumes[2].Name.
func ValidateVolumes(volumes []Volume) error {
	names := make(map[string]bool, len(volumes))
	for i, v := range volumes {
		field := fmt.Sprintf("Volumes[%d]", i)
		if err := v.Validate(); err != nil {
			return invalid.Within(field, err)
		}
		if names[v.Name] {
			return &invalid.Error{Field: field + ".Name", Value: v.Name, Reason: "is another volume's name too"}
		}
		names[v.Name] = true
	}
	return nil
}

// ValidateMounts checks the mounts of a container of a pod with these volumes.
// The error is an *InvalidError whose Field starts at the list, such as
// Mounts[0].Path.
func ValidateMounts(volumes []Volume, mounts []Mount) error {
	paths := make(map[string]bool, len(mounts))
	for i, m := range mounts {
		err := m.validate()
		switch {
		case err != nil:
		case paths[m.Path]:
			err = &invalid.Error{Field: "Path", Value: m.Path, Reason: "is another mount's path too"}
		case !slices.ContainsFunc(volumes, func(v Volume) bool { return v.Name == m.Volume }):
			err = &invalid.Error{Field: "Volume", Value: m.Volume, Reason: "is no volume of the pod"}
		}
		if err != nil {
			return invalid.Within(fmt.Sprintf("Mounts[%d]", i), err)
		}
		paths[m.Path] = true
	}
	return nil
}

func (m Mount) validate() error {
	if err := invalid.Label("Volume", m.Volume); err != nil {
		return err
	}
	if err := invalid.AbsPath("Path", m.Path); err != nil {
		return err
	}
	if m.Path == "/" {
		return &invalid.Error{Field: "Path", Value: m.Path, Reason: "must not be the root directory"}
	}
	if m.SubPath != "" {
		if err := invalid.RelPath("SubPath", m.SubPath); err != nil {
			return err
		}
	}
	switch m.Propagation {
	case "", Private, Slave, Shared:
		return nil
	}
	return &invalid.Error{Field: "Propagation", Value: string(m.Propagation), Reason: "must be None, HostToContainer or Bidirectional"}
}

func (s EmptyDir) validate() error {
	if s.Medium != MediumDisk && s.Medium != MediumMemory {
		return &invalid.Error{Field: "Medium", Value: string(s.Medium), Reason: `must be empty or "Memory"`}
	}
	if s.SizeLimit < 0 {
		return &invalid.Error{Field: "SizeLimit", Value: s.SizeLimit, Reason: "must not be negative"}
	}
	return nil
}

func (s HostPath) validate() error {
	switch s.Type {
	case HostPathAny, HostPathDirectory, HostPathDirectoryOrCreate, HostPathFile, HostPathFileOrCreate:
		return invalid.AbsPath("Path", s.Path)
	}
	return &invalid.Error{Field: "Type", Value: string(s.Type), Reason: "must be empty, Directory, DirectoryOrCreate, File or FileOrCreate"}
}

func (s Files) validate() error {
	for _, name := range slices.Sorted(maps.Keys(s.Items)) {
		field := fmt.Sprintf("Items[%.80q]", name)
		if err := invalid.RelPath(field, name); err != nil {
			return err
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := s.Items[dir]; ok {
				return &invalid.Error{Field: field, Value: name, Reason: fmt.Sprintf("is below %.80q, which is a file", dir)}
			}
		}
		if err := s.Items[name].validate(); err != nil {
			return invalid.Within(field, err)
		}
	}
	return nil
}

func (f File) validate() error {
	switch {
	case f.Mode&^fs.ModePerm != 0:
		return &invalid.Error{Field: "Mode", Value: fmt.Sprintf("%#o", uint32(f.Mode)), Reason: "must have permission bits only, 0777"}
	case f.UID > maxOwner:
		return &invalid.Error{Field: "UID", Value: f.UID, Reason: "is not a user ID"}
	case f.GID > maxOwner:
		return &invalid.Error{Field: "GID", Value: f.GID, Reason: "is not a group ID"}
	}
	return nil
}
