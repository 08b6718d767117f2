package pod

import (
	"encoding/json"
	"fmt"

	"github.com/barepod/barepod/internal/strictjson"
	"github.com/barepod/barepod/sandbox"
)

// fields is a Container without its methods, for encoding/json.
type fields Container

// containerJSON is a Container as it stands in JSON: Rootfs is one of several
// types and has its type beside its fields.
type containerJSON struct {
	fields
	Rootfs json.RawMessage `json:"rootfs,omitempty"`
}

// MarshalJSON implements json.Marshaler. The root file system has its type as a
// field, such as {"name":"web","rootfs":{"type":"Dir","path":"/srv/web"}}.
func (c Container) MarshalJSON() ([]byte, error) {
	rootfs, err := sandbox.MarshalRootfs(c.Rootfs)
	if err != nil {
		return nil, err
	}
	return json.Marshal(containerJSON{fields(c), rootfs})
}

// UnmarshalJSON implements json.Unmarshaler. A field or type that is not known
// is an error, for what it asks for would silently be missing.
func (c *Container) UnmarshalJSON(data []byte) error {
	var in containerJSON
	if err := strictjson.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("container: %w", err)
	}
	out := Container(in.fields)
	if len(in.Rootfs) > 0 {
		rootfs, err := sandbox.UnmarshalRootfs(in.Rootfs)
		if err != nil {
			return fmt.Errorf("container %q: %w", out.Name, err)
		}
		out.Rootfs = rootfs
	}
	*c = out
	return nil
}
