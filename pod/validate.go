package pod

import (
	"errors"
	"fmt"
	"strings"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/sandbox"
)

// Validate returns a *sandbox.InvalidError for the first field that is wrong on
// any machine. It looks at nothing but the Spec. New calls it.
func (s Spec) Validate() error {
	if err := s.Sandbox.Validate(); err != nil {
		return invalid.Within("Sandbox", err)
	}
	if s.TerminationGracePeriod < 0 {
		return &invalid.Error{Field: "TerminationGracePeriod", Value: s.TerminationGracePeriod, Reason: "must not be negative"}
	}
	if len(s.Containers) == 0 {
		return &invalid.Error{Field: "Containers", Reason: "must not be empty: package sandbox is for what has none"}
	}
	names := map[string]bool{}
	for i := range s.Containers {
		c := &s.Containers[i]
		err := c.validate(s.Sandbox)
		if err == nil && names[c.Name] {
			err = &invalid.Error{Field: "Name", Value: c.Name, Reason: "is another container's name too"}
		}
		if err != nil {
			return invalid.Within(containerPath(i), err)
		}
		names[c.Name] = true
	}
	return nil
}

func (c *Container) validate(cfg sandbox.Config) error {
	if err := invalid.Label("Name", c.Name); err != nil {
		return err
	}
	if len(c.Command) == 0 {
		return &invalid.Error{Field: "Command", Reason: "must not be empty"}
	}
	if _, err := c.stopSignal(); err != nil {
		return err
	}
	if c.LogPath != "" {
		if err := invalid.AbsPath("LogPath", c.LogPath); err != nil {
			return err
		}
		if c.LogPath == "/" {
			return &invalid.Error{Field: "LogPath", Value: c.LogPath, Reason: "must be a file"}
		}
	}
	cmd := sandbox.Cmd{Path: c.Command[0], Args: c.Command}
	c.fill(&cmd)
	return rename(cmd.Validate(cfg))
}

func containerPath(i int) string { return fmt.Sprintf("Containers[%d]", i) }

// field puts the field of an error from a start into the words of the Spec.
func (c *ContainerHandle) field(err error) error {
	cause := err
	if s, ok := err.(*sandbox.Error); ok { //nolint:errorlint // what is joined to the cause must not get lost
		cause = s.Err
	}
	if e, ok := cause.(*invalid.Error); ok { //nolint:errorlint // likewise
		return invalid.Within(containerPath(c.index), rename(e))
	}
	return err
}

// renamed are the fields of a sandbox.Cmd that a Container has other names for.
var renamed = map[string]string{"Path": "Command[0]", "Args": "Command", "Dir": "WorkingDir"}

// rename replaces the name of a sandbox.Cmd's field in an *invalid.Error.
func rename(err error) error {
	var e *invalid.Error
	if !errors.As(err, &e) {
		return err
	}
	copied := *e
	if end := strings.IndexAny(e.Field+".", ".["); renamed[e.Field[:end]] != "" {
		copied.Field = renamed[e.Field[:end]] + e.Field[end:]
	}
	return &copied
}
