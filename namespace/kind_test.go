package namespace_test

import (
	"encoding/json"
	"io/fs"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/namespace"
)

const allKinds = namespace.User | namespace.Net | namespace.IPC | namespace.UTS |
	namespace.PID | namespace.Cgroup | namespace.Time | namespace.Mount

func TestKindText(t *testing.T) {
	tests := []struct {
		text string // any order
		kind namespace.Kind
		want string // String's order
	}{
		{"", 0, ""},
		{"mnt", namespace.Mount, "mnt"},
		{"uts", namespace.UTS, "uts"},
		{"ipc", namespace.IPC, "ipc"},
		{"user", namespace.User, "user"},
		{"pid", namespace.PID, "pid"},
		{"net", namespace.Net, "net"},
		{"cgroup", namespace.Cgroup, "cgroup"},
		{"time", namespace.Time, "time"},
		{"net,ipc,uts", namespace.Net | namespace.IPC | namespace.UTS, "net,ipc,uts"},
		{"uts,net,ipc", namespace.Net | namespace.IPC | namespace.UTS, "net,ipc,uts"},
		{"mnt,uts,ipc,user,pid,net,cgroup,time", allKinds, "user,net,ipc,uts,pid,cgroup,time,mnt"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			kind := ^namespace.Kind(0)
			require.NoError(t, kind.UnmarshalText([]byte(tt.text)))
			require.Equal(t, tt.kind, kind)
			require.Equal(t, tt.want, kind.String())
			text, err := kind.MarshalText()
			require.NoError(t, err)
			require.Equal(t, tt.want, string(text))
		})
	}
}

func TestKindTextRefused(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown", "net,ipx", `namespace: parse kind: unknown name "ipx": invalid argument`},
		{"flag name", "CLONE_NEWNET", `namespace: parse kind: unknown name "CLONE_NEWNET": invalid argument`},
		{"upper case", "NET", `namespace: parse kind: unknown name "NET": invalid argument`},
		{"space", "net, ipc", `namespace: parse kind: unknown name " ipc": invalid argument`},
		{"empty name", "net,,ipc", `namespace: parse kind: unknown name "": invalid argument`},
		{"comma", ",", `namespace: parse kind: unknown name "": invalid argument`},
		{"repeated", "net,ipc,net", `namespace: parse kind: repeated name "net": invalid argument`},
		{"newline", "net\n", `namespace: parse kind: unknown name "net\n": invalid argument`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kind := namespace.UTS
			err := kind.UnmarshalText([]byte(tt.text))
			require.EqualError(t, err, tt.want)
			require.ErrorIs(t, err, fs.ErrInvalid)
			require.Equal(t, namespace.UTS, kind, "changed in spite of the error")
		})
	}
}

func TestKindUnknownBits(t *testing.T) {
	kind := namespace.Net | 1
	require.Equal(t, "net,0x1", kind.String())
	_, err := kind.MarshalText()
	require.EqualError(t, err, "namespace: marshal kind: unknown kind 0x1: invalid argument")
	require.Equal(t, []namespace.Kind{namespace.Net}, slices.Collect(kind.Kinds()))
}

func TestKindJSON(t *testing.T) {
	type spec struct {
		Share namespace.Kind
		Net   namespace.ID
	}
	in := spec{namespace.UTS | namespace.Net, namespace.ID{Dev: 4, Ino: 4026531840}}
	data, err := json.Marshal(in)
	require.NoError(t, err)
	require.JSONEq(t, `{"Share":"net,uts","Net":{"dev":4,"ino":4026531840}}`, string(data))
	var out spec
	require.NoError(t, json.Unmarshal(data, &out))
	require.Equal(t, in, out)
	require.Error(t, json.Unmarshal([]byte(`{"Share":"all"}`), &out))
}

func TestKindSets(t *testing.T) {
	want := []namespace.Kind{
		namespace.User, namespace.Net, namespace.IPC, namespace.UTS,
		namespace.PID, namespace.Cgroup, namespace.Time, namespace.Mount,
	}
	require.Equal(t, want, slices.Collect(allKinds.Kinds()))
	for kind := range allKinds.Kinds() {
		require.Equal(t, namespace.User, kind)
		break // the sequence stops when told to
	}
	require.True(t, allKinds.Has(namespace.Net|namespace.UTS))
	require.False(t, namespace.Net.Has(namespace.Net|namespace.UTS))
	require.True(t, namespace.Net.Has(0))
}

func FuzzKind(f *testing.F) {
	for _, seed := range []string{"", "net", "net,ipc,uts", "net,net", ",", "user,net,ipc,uts,pid,cgroup,time,mnt"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var kind namespace.Kind
		if kind.UnmarshalText([]byte(text)) != nil {
			return
		}
		out, err := kind.MarshalText()
		require.NoError(t, err)
		var again namespace.Kind
		require.NoError(t, again.UnmarshalText(out))
		require.Equal(t, kind, again)
	})
}
