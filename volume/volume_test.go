package volume_test

import (
	"encoding/json"
	"io/fs"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/volume"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func files(items map[string]volume.File) volume.Volume {
	return volume.Volume{Name: "conf", Source: volume.Files{Items: items}}
}

func file(name string) volume.Volume { return files(map[string]volume.File{name: {}}) }

func emptyDir(s volume.EmptyDir) volume.Volume { return volume.Volume{Name: "data", Source: s} }

func hostPath(path string, kind volume.HostPathType) volume.Volume {
	return volume.Volume{Name: "host", Source: volume.HostPath{Path: path, Type: kind}}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		volume volume.Volume
		field  string // that is wrong; empty: none
	}{
		{"disk", emptyDir(volume.EmptyDir{}), ""},
		{"memory", emptyDir(volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: math.MaxInt64}), ""},
		{"host path", hostPath("/srv", volume.HostPathAny), ""},
		{"host root", hostPath("/", volume.HostPathDirectory), ""},
		{"no files", files(nil), ""},
		{"files", files(map[string]volume.File{"a": {}, "b/c": {Mode: 0o777}, "b/d/e": {UID: math.MaxUint32 - 1}, "..data": {}}), ""},

		{"empty", volume.Volume{}, "Name"},
		{"name climbs", volume.Volume{Name: "../x", Source: volume.EmptyDir{}}, "Name"},
		{"name is a path", volume.Volume{Name: "/", Source: volume.EmptyDir{}}, "Name"},
		{"name with dot", volume.Volume{Name: "a.project", Source: volume.EmptyDir{}}, "Name"},
		{"name with NUL", volume.Volume{Name: "a\x00", Source: volume.EmptyDir{}}, "Name"},
		{"long name", volume.Volume{Name: strings.Repeat("a", 4096), Source: volume.EmptyDir{}}, "Name"},
		{"unicode name", volume.Volume{Name: "ä", Source: volume.EmptyDir{}}, "Name"},
		{"no source", volume.Volume{Name: "a"}, "Source"},
		{"pointer", volume.Volume{Name: "a", Source: &volume.EmptyDir{}}, "Source"},
		{"nil pointer", volume.Volume{Name: "a", Source: (*volume.HostPath)(nil)}, "Source"},
		{"unknown medium", emptyDir(volume.EmptyDir{Medium: "HugePages"}), "Source.Medium"},
		{"negative size", emptyDir(volume.EmptyDir{SizeLimit: -1}), "Source.SizeLimit"},
		{"relative host path", hostPath("srv", ""), "Source.Path"},
		{"climbing host path", hostPath("/srv/../etc", ""), "Source.Path"},
		{"host path with newline", hostPath("/srv\n", ""), "Source.Path"},
		{"empty host path", hostPath("", ""), "Source.Path"},
		{"unknown type", hostPath("/srv", "Socket"), "Source.Type"},
		{"file is directory", files(map[string]volume.File{"a": {}, "a/b/c": {}}), `Source.Items["a/b/c"]`},
		{"set-user-ID", files(map[string]volume.File{"a": {Mode: fs.ModeSetuid | 0o755}}), `Source.Items["a"].Mode`},
		{"owner", files(map[string]volume.File{"a": {UID: math.MaxUint32}}), `Source.Items["a"].UID`},
		{"group", files(map[string]volume.File{"a": {GID: math.MaxUint32}}), `Source.Items["a"].GID`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			requireField(t, tt.field, tt.volume.Validate())
		})
	}
}

// requireField requires err to be about the field; about none if it is empty.
func requireField(t *testing.T, field string, err error) {
	t.Helper()
	if field == "" {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, fs.ErrInvalid)
	var invalid *volume.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, field, invalid.Field)
}

// TestCVE_2022_23648 is for names of files that climb out of the volume.
func TestCVE_2022_23648(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../a", "a/../../b", "/etc/passwd", "a//b", "a/", "./a", "a\x00b", "a\nb", "\xff", strings.Repeat("a", 4096)} {
		err := file(name).Validate()
		var invalid *volume.InvalidError
		require.ErrorAs(t, err, &invalid, "%q", name)
		require.Contains(t, invalid.Field, "Source.Items[")
	}
}

func TestValidateVolumes(t *testing.T) {
	a, b := emptyDir(volume.EmptyDir{}), file("a")
	require.NoError(t, volume.ValidateVolumes(nil))
	require.NoError(t, volume.ValidateVolumes([]volume.Volume{a, b}))
	requireField(t, "Volumes[2].Name", volume.ValidateVolumes([]volume.Volume{a, b, a}))
	requireField(t, "Volumes[1].Source.SizeLimit", volume.ValidateVolumes([]volume.Volume{a, emptyDir(volume.EmptyDir{SizeLimit: -1})}))
	require.EqualError(t, volume.ValidateVolumes([]volume.Volume{{Name: "x/y"}}),
		`invalid Volumes[0].Name "x/y": must be an RFC 1123 label: at most 63 of a-z, 0-9 and "-", neither first nor last a "-"`)
}

func TestValidateMounts(t *testing.T) {
	volumes := []volume.Volume{emptyDir(volume.EmptyDir{}), hostPath("/srv", "")}
	tests := []struct {
		name  string
		mount volume.Mount
		field string
	}{
		{"plain", volume.Mount{Volume: "data", Path: "/data"}, ""},
		{"below another", volume.Mount{Volume: "host", Path: "/first/a"}, ""},
		{"all", volume.Mount{Volume: "host", Path: "/a", ReadOnly: true, SubPath: "b/c", Propagation: volume.Slave}, ""},
		{"private", volume.Mount{Volume: "host", Path: "/a", Propagation: volume.Private}, ""},
		{"shared", volume.Mount{Volume: "host", Path: "/a", Propagation: volume.Shared}, ""},

		{"empty", volume.Mount{}, "Mounts[1].Volume"},
		{"unknown volume", volume.Mount{Volume: "other", Path: "/a"}, "Mounts[1].Volume"},
		{"no path", volume.Mount{Volume: "data"}, "Mounts[1].Path"},
		{"relative", volume.Mount{Volume: "data", Path: "a"}, "Mounts[1].Path"},
		{"root", volume.Mount{Volume: "data", Path: "/"}, "Mounts[1].Path"},
		{"climbing", volume.Mount{Volume: "data", Path: "/a/../.."}, "Mounts[1].Path"},
		{"another spelling", volume.Mount{Volume: "data", Path: "/first/"}, "Mounts[1].Path"},
		{"NUL", volume.Mount{Volume: "data", Path: "/a\x00"}, "Mounts[1].Path"},
		{"newline", volume.Mount{Volume: "data", Path: "/a\n/b"}, "Mounts[1].Path"},
		{"twice", volume.Mount{Volume: "host", Path: "/first"}, "Mounts[1].Path"},
		{"unknown propagation", volume.Mount{Volume: "data", Path: "/a", Propagation: "private"}, "Mounts[1].Propagation"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first := volume.Mount{Volume: "data", Path: "/first"}
			requireField(t, tt.field, volume.ValidateMounts(volumes, []volume.Mount{first, tt.mount}))
		})
	}
}

// TestCVE_2017_1002101 is for SubPaths that leave the volume by their text. That
// they do not leave it through links is up to who mounts them.
func TestCVE_2017_1002101(t *testing.T) {
	volumes := []volume.Volume{emptyDir(volume.EmptyDir{})}
	for _, subPath := range []string{".", "..", "../a", "a/..", "a/../../b", "/", "/etc", "a//b", "a/", "a\x00", "a\n", strings.Repeat("a", 256)} {
		mount := volume.Mount{Volume: "data", Path: "/a", SubPath: subPath}
		requireField(t, "Mounts[0].SubPath", volume.ValidateMounts(volumes, []volume.Mount{mount}))
	}
}

func TestJSON(t *testing.T) {
	tests := []struct {
		name   string
		volume volume.Volume
		want   string
	}{
		{"disk", emptyDir(volume.EmptyDir{}), `{"name":"data","source":{"type":"EmptyDir"}}`},
		{
			"memory", emptyDir(volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: 1 << 20}),
			`{"name":"data","source":{"type":"EmptyDir","medium":"Memory","sizeLimit":1048576}}`,
		},
		{"host path", hostPath("/srv", ""), `{"name":"host","source":{"type":"HostPath","path":"/srv"}}`},
		{
			"host path with type", hostPath("/srv", volume.HostPathFileOrCreate),
			`{"name":"host","source":{"type":"HostPath","path":"/srv","pathType":"FileOrCreate"}}`,
		},
		{"no files", files(nil), `{"name":"conf","source":{"type":"Files"}}`},
		{
			"files", files(map[string]volume.File{"a/b": {Content: []byte{0, 0xff}, Mode: 0o600, UID: 1, GID: 2}, "c": {}}),
			`{"name":"conf","source":{"type":"Files","items":{"a/b":{"content":"AP8=","mode":384,"uid":1,"gid":2},"c":{}}}}`,
		},
		{"no source", volume.Volume{Name: "a"}, `{"name":"a","source":null}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, err := json.Marshal([]volume.Volume{tt.volume})
			require.NoError(t, err)
			require.Equal(t, "["+tt.want+"]", string(data))
			var back []volume.Volume
			require.NoError(t, json.Unmarshal(data, &back))
			require.Equal(t, []volume.Volume{tt.volume}, back)
		})
	}
}

func TestJSONRefused(t *testing.T) {
	tests := []struct{ name, json, want string }{
		{"unknown type", `{"name":"a","source":{"type":"NFS"}}`, `volume "a": invalid Source.Type "NFS": must be EmptyDir, HostPath or Files`},
		{"no type", `{"name":"a","source":{"medium":"Memory"}}`, `volume "a": invalid Source.Type "": must be EmptyDir, HostPath or Files`},
		{"unknown field", `{"name":"a","source":{"type":"EmptyDir","size":1}}`, `unknown field "size"`},
		{"field of another type", `{"name":"a","source":{"type":"EmptyDir","path":"/"}}`, `unknown field "path"`},
		{"unknown field of volume", `{"name":"a","emptyDir":{}}`, `unknown field "emptyDir"`},
		{"unknown field of file", `{"name":"a","source":{"type":"Files","items":{"a":{"text":"x"}}}}`, `unknown field "text"`},
		{"no object", `{"name":"a","source":"EmptyDir"}`, `cannot unmarshal string`},
		{"wrong field", `{"name":"a","source":{"type":"EmptyDir","sizeLimit":"1Gi"}}`, `cannot unmarshal string`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v volume.Volume
			require.ErrorContains(t, json.Unmarshal([]byte(tt.json), &v), tt.want)
			require.Zero(t, v)
		})
	}
	_, err := json.Marshal(volume.Volume{Name: "a", Source: &volume.EmptyDir{}})
	requireField(t, "Source", err)
}

func TestClone(t *testing.T) {
	volumes := []volume.Volume{emptyDir(volume.EmptyDir{}), files(map[string]volume.File{"a": {Content: []byte("old")}})}
	clones := volume.Clone(volumes)
	require.Equal(t, volumes, clones)
	volumes[0].Name = "new"
	items := volumes[1].Source.(volume.Files).Items //nolint:forcetypeassert // made above
	items["a"].Content[0] = 'x'
	items["b"] = volume.File{}
	require.Equal(t, []volume.Volume{emptyDir(volume.EmptyDir{}), files(map[string]volume.File{"a": {Content: []byte("old")}})}, clones)
	require.Nil(t, volume.Clone(nil))
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"name":"site","source":{"type":"EmptyDir","medium":"Memory","sizeLimit":1048576}}`,
		`{"name":"host","source":{"type":"HostPath","path":"/srv","pathType":"File"}}`,
		`{"name":"conf","source":{"type":"Files","items":{"a/b":{"content":"AP8=","mode":384}}}}`,
		`{"name":"a","source":null}`, `{"source":{"type":"EmptyDir","type":"Files"}}`, `null`, `[]`, `{}`, `"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v, back volume.Volume
		if json.Unmarshal(data, &v) != nil || v.Validate() != nil {
			return
		}
		again, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(again, &back))
		require.NoError(t, back.Validate())
		third, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(again), string(third))
	})
}
