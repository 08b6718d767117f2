package volume

import (
	"encoding/json"
	"fmt"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/strictjson"
)

// volumeJSON is a Volume with its source as it stands in JSON.
type volumeJSON[S any] struct {
	Name   string `json:"name"`
	Source S      `json:"source"`
}

// The sources in JSON: their fields, with their type beside them.
type (
	emptyDirJSON struct {
		Type string `json:"type"`
		EmptyDir
	}
	hostPathJSON struct {
		Type string `json:"type"`
		HostPath
	}
	filesJSON struct {
		Type string `json:"type"`
		Files
	}
)

// MarshalJSON implements json.Marshaler. A source has its type as a field, such
// as {"name":"site","source":{"type":"EmptyDir","medium":"Memory"}}.
func (v Volume) MarshalJSON() ([]byte, error) {
	var source any
	switch s := v.Source.(type) {
	case nil:
	case EmptyDir:
		source = emptyDirJSON{s.sourceType(), s}
	case HostPath:
		source = hostPathJSON{s.sourceType(), s}
	case Files:
		source = filesJSON{s.sourceType(), s}
	default:
		return nil, v.Validate()
	}
	return json.Marshal(volumeJSON[any]{v.Name, source})
}

// UnmarshalJSON implements json.Unmarshaler. A type or field that is not known
// is an error, for what it asks for would silently be missing.
func (v *Volume) UnmarshalJSON(data []byte) error {
	var outer volumeJSON[json.RawMessage]
	if err := strictjson.Unmarshal(data, &outer); err != nil {
		return err
	}
	source, err := unmarshalSource(outer.Source)
	if err != nil {
		return fmt.Errorf("volume %q: %w", outer.Name, err)
	}
	*v = Volume{Name: outer.Name, Source: source}
	return nil
}

func unmarshalSource(data json.RawMessage) (Source, error) {
	if len(data) == 0 || string(data) == "null" {
		return nil, nil //nolint:nilnil // a Volume without source, as Validate will say
	}
	var tag struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &tag); err != nil {
		return nil, err
	}
	switch tag.Type {
	case EmptyDir{}.sourceType():
		var s emptyDirJSON
		err := strictjson.Unmarshal(data, &s)
		return s.EmptyDir, err
	case HostPath{}.sourceType():
		var s hostPathJSON
		err := strictjson.Unmarshal(data, &s)
		return s.HostPath, err
	case Files{}.sourceType():
		var s filesJSON
		err := strictjson.Unmarshal(data, &s)
		return s.Files, err
	}
	return nil, &invalid.Error{Field: "Source.Type", Value: tag.Type, Reason: "must be EmptyDir, HostPath or Files"}
}
