package cgroup

import (
	"regexp"
	"strings"

	"github.com/barepod/barepod/internal/invalid"
)

// Driver is who makes the groups.
type Driver string

const (
	// CgroupFS makes the directories itself. It is the default.
	CgroupFS Driver = "cgroupfs"
	// Systemd has systemd make a slice for the pod and a scope for each
	// container. It needs a machine that was booted with systemd.
	Systemd Driver = "systemd"
)

const (
	defaultParent = "/barepod"
	defaultSlice  = "barepod.slice"
)

// Config says where the cgroups of pods are made, and by whom. The zero value
// is right for most machines.
type Config struct {
	// Driver is who makes them, [CgroupFS] if empty.
	Driver Driver `json:"driver,omitempty"`

	// Parent is the group that all pods are made in, which is made when it is
	// missing. For [CgroupFS] it is a clean absolute path below the mount
	// points of the cgroup file systems, "/barepod" if empty; for [Systemd] it
	// is the name of a slice, "barepod.slice" if empty.
	Parent string `json:"parent,omitempty"`
}

// sliceName is what systemd accepts as the name of a slice, without the root
// slice: elements that are separated by single dashes.
var sliceName = regexp.MustCompile(`^[a-zA-Z0-9_:.]+(-[a-zA-Z0-9_:.]+)*\.slice$`)

// Validate returns an [*invalid.Error] for the first field that cannot be
// honoured on any machine.
func (c Config) Validate() error {
	switch c.Driver {
	case "", CgroupFS:
		if c.Parent == "" {
			return nil
		}
		if c.Parent == "/" {
			return &invalid.Error{Field: "Parent", Value: c.Parent, Reason: "must be below the root group"}
		}
		return invalid.AbsPath("Parent", c.Parent)
	case Systemd:
		if c.Parent != "" && (len(c.Parent) > 128 || !sliceName.MatchString(c.Parent)) {
			return &invalid.Error{Field: "Parent", Value: c.Parent, Reason: "must be the name of a slice"}
		}
		return nil
	default:
		return &invalid.Error{Field: "Driver", Value: string(c.Driver), Reason: "must be cgroupfs or systemd"}
	}
}

// parent returns Parent or its default.
func (c Config) parent() string {
	switch {
	case c.Parent != "":
		return c.Parent
	case c.Driver == Systemd:
		return defaultSlice
	default:
		return defaultParent
	}
}

// dirName returns the directory's name for an element, which is an ID and so
// never begins with "_". A directory cannot have the name of a control file:
// those have a dot in it, but for three of v1.
func dirName(elem string) string {
	switch elem {
	case "tasks", "notify_on_release", "release_agent":
		return "_" + elem
	}
	if strings.Contains(elem, ".") {
		return "_" + elem
	}
	return elem
}
