package network

import (
	"encoding/json"
	"fmt"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/strictjson"
)

// The attachments in JSON: their fields, with their type beside them.
type (
	plainJSON struct {
		Type string `json:"type"`
	}
	bridgeJSON struct {
		Type string `json:"type"`
		Bridge
	}
	cniJSON struct {
		Type string `json:"type"`
		CNI
	}
)

// MarshalJSON implements json.Marshaler. An attachment has its type as a field,
// such as [{"type":"Bridge","mtu":1400}].
func (l Attachments) MarshalJSON() ([]byte, error) {
	if err := l.checkTypes(); err != nil {
		return nil, err
	}
	if l == nil {
		return []byte("null"), nil
	}
	tagged := make([]any, len(l))
	for i, a := range l {
		switch a := a.(type) {
		case Bridge:
			tagged[i] = bridgeJSON{a.attachmentType(), a}
		case CNI:
			tagged[i] = cniJSON{a.attachmentType(), a}
		default:
			tagged[i] = plainJSON{a.attachmentType()}
		}
	}
	return json.Marshal(tagged)
}

// UnmarshalJSON implements json.Unmarshaler. A type or field that is not known
// is an error, for what it asks for would silently be missing.
func (l *Attachments) UnmarshalJSON(data []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if raw == nil {
		*l = nil
		return nil
	}
	list := make(Attachments, len(raw))
	for i, r := range raw {
		a, err := unmarshalAttachment(r)
		if err != nil {
			return fmt.Errorf("network %d: %w", i, err)
		}
		list[i] = a
	}
	*l = list
	return nil
}

func unmarshalAttachment(data json.RawMessage) (Attachment, error) {
	var tag plainJSON
	if err := json.Unmarshal(data, &tag); err != nil {
		return nil, err
	}
	switch tag.Type {
	case None{}.attachmentType():
		return None{}, strictjson.Unmarshal(data, &tag)
	case Host{}.attachmentType():
		return Host{}, strictjson.Unmarshal(data, &tag)
	case Bridge{}.attachmentType():
		var b bridgeJSON
		err := strictjson.Unmarshal(data, &b)
		return b.Bridge, err
	case CNI{}.attachmentType():
		var c cniJSON
		err := strictjson.Unmarshal(data, &c)
		return c.CNI, err
	}
	return nil, &invalid.Error{Field: "Type", Value: tag.Type, Reason: "must be None, Host, Bridge or CNI"}
}
