package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/barepod/barepod/internal/strictjson"
)

// MarshalRootfs returns the JSON of a root file system: an object with its
// fields and a "type" tag. Types that have a Rootfs field use it.
func MarshalRootfs(r Rootfs) ([]byte, error) {
	if r == nil {
		return []byte("null"), nil
	}
	fields, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	tag := fmt.Sprintf(`{"type":%q`, r.rootfs())
	if bytes.Equal(fields, []byte("{}")) {
		return []byte(tag + "}"), nil
	}
	return append([]byte(tag+","), fields[1:]...), nil
}

// UnmarshalRootfs is the reverse of MarshalRootfs. Unknown types and fields are
// errors.
func UnmarshalRootfs(data []byte) (Rootfs, error) {
	var tag struct {
		Type *string `json:"type"`
	}
	if err := json.Unmarshal(data, &tag); err != nil {
		return nil, err
	}
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return nil, nil
	}
	if tag.Type == nil {
		return nil, fmt.Errorf("root file system without a type")
	}
	switch *tag.Type {
	case "Dir":
		return decodeRootfs[Dir](data)
	case "Overlay":
		return decodeRootfs[Overlay](data)
	case "HostRoot":
		return decodeRootfs[HostRoot](data)
	case "Scratch":
		return decodeRootfs[Scratch](data)
	}
	return nil, fmt.Errorf("unknown type of root file system %q", *tag.Type)
}

func decodeRootfs[T Rootfs](data []byte) (Rootfs, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	delete(fields, "type")
	rest, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	var r T
	if err := strictjson.Unmarshal(rest, &r); err != nil {
		return nil, err
	}
	return r, nil
}

// taggedRootfs is a Rootfs that survives JSON.
type taggedRootfs struct{ Rootfs Rootfs }

func tagged(r Rootfs) *taggedRootfs {
	if r == nil {
		return nil
	}
	return &taggedRootfs{r}
}

func (t taggedRootfs) MarshalJSON() ([]byte, error) { return MarshalRootfs(t.Rootfs) }

func (t *taggedRootfs) UnmarshalJSON(data []byte) (err error) {
	t.Rootfs, err = UnmarshalRootfs(data)
	return err
}
