// Package strictjson decodes JSON that says what somebody wants: a field that is
// not known is an error, for what it asks for would silently be missing.
package strictjson

import (
	"bytes"
	"encoding/json"
)

// Unmarshal is json.Unmarshal of one value, all fields of which must be known.
func Unmarshal(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
