package invalid

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of the kernel and of RFC 1123.
const (
	maxLabel    = 63
	maxID       = 64
	maxHostname = 64 // sethostname(2), HOST_NAME_MAX
	maxPath     = 4095
	maxName     = 255 // a component of a path, NAME_MAX
)

// Label checks that value is an RFC 1123 label as Kubernetes writes it: at most
// 63 of a-z, 0-9 and "-", with a letter or digit first and last.
func Label(field, value string) error {
	if isLabel(value) {
		return nil
	}
	return &Error{Field: field, Value: value, Reason: `must be an RFC 1123 label: at most 63 of a-z, 0-9 and "-", neither first nor last a "-"`}
}

// ID checks that value is [a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}.
func ID(field, value string) error {
	ok := value != "" && len(value) <= maxID && isAlnum(value[0])
	for i := 0; ok && i < len(value); i++ {
		ok = isAlnum(value[i]) || strings.IndexByte("_.-", value[i]) >= 0
	}
	if ok {
		return nil
	}
	return &Error{Field: field, Value: value, Reason: "must match [a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}"}
}

// Hostname checks that value is one or more RFC 1123 labels with dots between
// them and at most 64 bytes, which is the kernel's limit.
func Hostname(field, value string) error {
	ok := len(value) <= maxHostname
	for label := range strings.SplitSeq(value, ".") {
		ok = ok && isLabel(label)
	}
	if ok {
		return nil
	}
	return &Error{Field: field, Value: value, Reason: "must be RFC 1123 labels with dots between them, at most 64 bytes"}
}

// AbsPath checks that value is an absolute path in its shortest form, "/"
// included, that survives JSON and the tables of the kernel: UTF-8 without
// control characters.
func AbsPath(field, value string) error {
	if !path.IsAbs(value) {
		return &Error{Field: field, Value: value, Reason: "must be an absolute path"}
	}
	return checkPath(field, value)
}

// RelPath checks that value is a relative path in its shortest form that names
// something below where it starts: neither empty nor "." nor with a "..".
// Otherwise it is as AbsPath.
func RelPath(field, value string) error {
	if value == "" || value == "." || path.IsAbs(value) {
		return &Error{Field: field, Value: value, Reason: `must be a relative path to something below, not "."`}
	}
	return checkPath(field, value)
}

func checkPath(field, value string) error {
	reason := ""
	switch {
	case !utf8.ValidString(value):
		reason = "must be UTF-8"
	case strings.ContainsFunc(value, unicode.IsControl):
		reason = "must not contain NUL, newlines or other control characters"
	case len(value) > maxPath:
		reason = "must be at most 4095 bytes"
	case value != path.Clean(value):
		reason = `must be in its shortest form, without "..", ".", double and trailing slashes`
	}
	for name := range strings.SplitSeq(value, "/") {
		switch {
		case reason != "":
		case name == "..":
			reason = `must not contain ".."`
		case len(name) > maxName:
			reason = "must not have a component of more than 255 bytes"
		}
	}
	if reason == "" {
		return nil
	}
	return &Error{Field: field, Value: value, Reason: reason}
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (!isAlnum(c) || c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
