package invalid_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/invalid"
)

func TestError(t *testing.T) {
	tests := []struct {
		name string
		err  *invalid.Error
		want string
	}{
		{"string", &invalid.Error{Field: "Volumes[2].Name", Value: "x/y", Reason: "must be short"}, `invalid Volumes[2].Name "x/y": must be short`},
		{"newline", &invalid.Error{Field: "Name", Value: "a\nb", Reason: "no"}, `invalid Name "a\nb": no`},
		{"empty", &invalid.Error{Field: "Name", Value: "", Reason: "is required"}, `invalid Name "": is required`},
		{"number", &invalid.Error{Field: "SizeLimit", Value: int64(-1), Reason: "must not be negative"}, `invalid SizeLimit -1: must not be negative`},
		{"nothing", &invalid.Error{Field: "Source", Reason: "is required"}, `invalid Source: is required`},
		{
			"long",
			&invalid.Error{Field: "Name", Value: strings.Repeat("a", 4096), Reason: "too long"},
			`invalid Name "` + strings.Repeat("a", 80) + `"...: too long`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.EqualError(t, tt.err, tt.want)
			wrapped := fmt.Errorf("new: %w", tt.err)
			require.ErrorIs(t, wrapped, invalid.ErrInvalid)
			require.ErrorIs(t, wrapped, fs.ErrInvalid)
			require.NotErrorIs(t, wrapped, fs.ErrNotExist)
			var e *invalid.Error
			require.ErrorAs(t, wrapped, &e)
		})
	}
}

func TestWithin(t *testing.T) {
	other := errors.New("other")
	require.NoError(t, invalid.Within("Volumes[0]", nil))
	require.Equal(t, other, invalid.Within("Volumes[0]", other))
	require.Equal(t,
		&invalid.Error{Field: "Volumes[0].Name", Value: "x", Reason: "no"},
		invalid.Within("Volumes[0]", &invalid.Error{Field: "Name", Value: "x", Reason: "no"}))
	require.Equal(t,
		&invalid.Error{Field: "Volumes[0]", Value: "x", Reason: "no"},
		invalid.Within("Volumes[0]", &invalid.Error{Value: "x", Reason: "no"}))
}

// hostile are the spellings that no check may accept.
var hostile = []string{
	"../x", "..", "a/..", "a/../b", "a/./b", "a//b", "a/", "/..", "/a/..", "/a/", "//", "//a", "/./a",
	"a\x00b", "/a\x00b", "a\nb", "/a\nb", "/a\rb", "/a\x7f", "\xff", "/\xff",
	strings.Repeat("a", 4096), "/" + strings.Repeat("a", 256), "/" + strings.Repeat("a/", 2048) + "a",
}

func TestChecks(t *testing.T) {
	tests := []struct {
		name    string
		check   func(field, value string) error
		accept  []string
		refuse  []string
		message string
	}{
		{
			"Label", invalid.Label,
			[]string{"a", "0", "a-b", "web-1", strings.Repeat("a", 63)},
			[]string{"", ".", "/", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", strings.Repeat("a", 64)},
			"RFC 1123 label",
		},
		{
			"ID", invalid.ID,
			[]string{"a", "Z9", "0", "a.b_c-d", strings.Repeat("a", 64), "a..b"},
			[]string{"", ".", "-a", "_a", ".a", "/", "a/b", "ä", "a b", strings.Repeat("a", 65)},
			"[a-zA-Z0-9]",
		},
		{
			"Hostname", invalid.Hostname,
			[]string{"a", "web-1", "web.example.com", strings.Repeat("a", 63), strings.Repeat("a", 31) + "." + strings.Repeat("a", 32)},
			[]string{"", ".", "a.", ".a", "a..b", "A", "a_b", "-a", "a.-b", "ä", strings.Repeat("a", 64), strings.Repeat("a", 32) + "." + strings.Repeat("a", 32)},
			"RFC 1123 labels",
		},
		{
			"AbsPath", invalid.AbsPath,
			[]string{"/", "/a", "/a/b c", "/ä", "/...", "/a..b", "/" + strings.Repeat("a", 255)},
			[]string{"", ".", "a", "a/b", "./a", "~"},
			"",
		},
		{
			"RelPath", invalid.RelPath,
			[]string{"a", "a/b", "...", "..a", "a b/ä", strings.Repeat("a", 255)},
			[]string{"", ".", "/", "/a", "./a", strings.Repeat("a", 256)},
			"",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, value := range tt.accept {
				require.NoError(t, tt.check("F", value))
			}
			for _, value := range append(tt.refuse, hostile...) {
				err := tt.check("F", value)
				require.ErrorIs(t, err, invalid.ErrInvalid, "%q", value)
				require.ErrorContains(t, err, tt.message)
				var e *invalid.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, "F", e.Field)
				require.Equal(t, value, e.Value)
			}
		})
	}
}

func seed(f *testing.F) {
	f.Helper()
	for _, s := range append(hostile, "", ".", "a", "web-1", "web.example.com", "a_B.c-d", "/", "/a/b", "a/b", "ä") {
		f.Add(s)
	}
}

func FuzzNames(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, s string) {
		for _, check := range []func(field, value string) error{invalid.Label, invalid.ID, invalid.Hostname} {
			if check("F", s) != nil {
				continue
			}
			require.Equal(t, s, path.Base(path.Join("/storage", s)), "must be one component of a path")
			require.NotEqual(t, "..", s)
			require.NotContains(t, s, "\x00")
			require.LessOrEqual(t, len(s), 64)
		}
		if invalid.Label("F", s) == nil {
			require.NoError(t, invalid.ID("F", s), "a label is an ID")
			require.NoError(t, invalid.Hostname("F", s), "a label is a hostname")
		}
	})
}

func FuzzPaths(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, s string) {
		abs, rel := invalid.AbsPath("F", s) == nil, invalid.RelPath("F", s) == nil
		require.False(t, abs && rel)
		if abs {
			require.Equal(t, s, path.Join("/", s))
		}
		if rel {
			require.Equal(t, "/base/"+s, path.Join("/base", s), "must stay below")
			require.True(t, fs.ValidPath(s))
		}
		if abs || rel {
			require.False(t, strings.ContainsAny(s, "\x00\n"))
		}
	})
}
