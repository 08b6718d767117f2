package pod_test

import (
	"encoding/json"
	"io/fs"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// fullSpec has a value in every field that JSON and copies have to keep.
func fullSpec() pod.Spec {
	return pod.Spec{
		Sandbox: sandbox.Config{
			ID: "a1", Name: "web", Hostname: "web.example", StateDir: "/run/x", DataDir: "/var/lib/x",
			HostNamespaces: namespace.IPC, ShareProcessNamespace: true, ShmSize: 1 << 20,
			Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
			DNS: sandbox.DNS{
				Policy: sandbox.DNSNone, Nameservers: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
				Searches: []string{"example"}, Options: []string{"ndots:5"},
			},
			HostAliases: []sandbox.HostAlias{{IP: netip.MustParseAddr("2001:db8::1"), Hostnames: []string{"db"}}},
			Volumes: []volume.Volume{
				{Name: "site", Source: volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: 1 << 20}},
				{Name: "conf", Source: volume.Files{Items: map[string]volume.File{"a": {Content: []byte{0, 1}, Mode: 0o600}}}},
			},
			Resources: sandbox.Resources{CPU: 1.5, Memory: 64 << 20, PIDs: 100}, Cgroup: sandbox.Cgroup{Parent: "/x"},
			Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"note": "n"}, DieWithCreator: true,
		},
		Containers: []pod.Container{
			{
				Name: "server", Rootfs: sandbox.Overlay{Lower: []string{"/a", "/b"}, ReadOnly: true},
				Command: []string{"/bin/server", "-v", "<&>"}, Env: []string{"A=b"}, WorkingDir: "/srv",
				Mounts:       []volume.Mount{{Volume: "site", Path: "/site", ReadOnly: true, SubPath: "x", Propagation: volume.Slave}},
				User:         sandbox.User{UID: 1, GID: 2, Groups: []uint32{3}},
				Capabilities: sandbox.Capabilities{Add: []string{"NET_ADMIN"}, Drop: []string{"ALL"}}, AllowPrivilegeEscalation: true,
				Rlimits:   []sandbox.Rlimit{{Type: "RLIMIT_NOFILE", Soft: 10, Hard: sandbox.Infinity}},
				Resources: sandbox.Resources{CPUWeight: 50, Memory: 32 << 20}, StopSignal: "SIGQUIT", LogPath: "/var/log/x",
			},
			{Name: "dir", Rootfs: sandbox.Dir{Path: "/srv/root", ReadOnly: true}, Command: []string{"true"}},
			{Name: "host", Rootfs: sandbox.HostRoot{}, Command: []string{"true"}},
			{Name: "scratch", Rootfs: sandbox.Scratch{}, Command: []string{"/true"}},
		},
		TerminationGracePeriod: 90 * time.Second,
	}
}

func TestSpecJSON(t *testing.T) {
	spec := fullSpec()
	data, err := json.Marshal(spec)
	require.NoError(t, err)
	var back pod.Spec
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, spec, back)

	again, err := json.Marshal(back)
	require.NoError(t, err)
	require.Equal(t, string(data), string(again), "deterministic")

	var empty pod.Spec
	data, err = json.Marshal(pod.Spec{Containers: []pod.Container{{}}})
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &empty))
	require.Equal(t, pod.Spec{Containers: []pod.Container{{}}}, empty)
}

func TestContainerJSON(t *testing.T) {
	data, err := json.Marshal(pod.Container{Name: "a", Rootfs: sandbox.Dir{Path: "/r"}, Command: []string{"true"}})
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"a","rootfs":{"type":"Dir","path":"/r"},"command":["true"]}`, string(data))

	tests := []struct{ name, json, want string }{
		{"unknown field", `{"name":"a","image":"nginx"}`, `unknown field "image"`},
		{"unknown type", `{"name":"a","rootfs":{"type":"Image"}}`, `"Image"`},
		{"no type", `{"name":"a","rootfs":{"path":"/r"}}`, `container "a"`},
		{"field of another type", `{"name":"a","rootfs":{"type":"Scratch","path":"/r"}}`, `unknown field "path"`},
		{"no object", `[]`, "container"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := pod.Container{Name: "before"}
			require.ErrorContains(t, json.Unmarshal([]byte(tt.json), &c), tt.want)
			require.Equal(t, pod.Container{Name: "before"}, c)
		})
	}
}

func TestValidate(t *testing.T) {
	// The field of the error is the test's name.
	tests := map[string]func(*pod.Spec){
		"Sandbox.Name":                      func(s *pod.Spec) { s.Sandbox.Name = "Web" },
		"Sandbox.ID":                        func(s *pod.Spec) { s.Sandbox.ID = "../x" },
		"Sandbox.Volumes[0].Name":           func(s *pod.Spec) { s.Sandbox.Volumes[0].Name = "" },
		"Containers":                        func(s *pod.Spec) { s.Containers = nil },
		"TerminationGracePeriod":            func(s *pod.Spec) { s.TerminationGracePeriod = -1 },
		"Containers[0].Name":                func(s *pod.Spec) { s.Containers[0].Name = "a_b" },
		"Containers[1].Name":                func(s *pod.Spec) { s.Containers[1].Name = "server" },
		"Containers[1].Command":             func(s *pod.Spec) { s.Containers[1].Command = nil },
		"Containers[1].Command[0]":          func(s *pod.Spec) { s.Containers[1].Command = []string{""} },
		"Containers[0].Env[1]":              func(s *pod.Spec) { s.Containers[0].Env = []string{"A=b", "C"} },
		"Containers[0].WorkingDir":          func(s *pod.Spec) { s.Containers[0].WorkingDir = "srv" },
		"Containers[1].Rootfs":              func(s *pod.Spec) { s.Containers[1].Rootfs = nil },
		"Containers[1].Rootfs.Path":         func(s *pod.Spec) { s.Containers[1].Rootfs = sandbox.Dir{Path: "/a/../b"} },
		"Containers[0].Rootfs.Lower":        func(s *pod.Spec) { s.Containers[0].Rootfs = sandbox.Overlay{} },
		"Containers[0].Mounts[0].Volume":    func(s *pod.Spec) { s.Containers[0].Mounts[0].Volume = "other" },
		"Containers[0].Mounts[0].Path":      func(s *pod.Spec) { s.Containers[0].Mounts[0].Path = "/proc/sys" },
		"Containers[0].Mounts[0].SubPath":   func(s *pod.Spec) { s.Containers[0].Mounts[0].SubPath = "../x" },
		"Containers[0].Mounts[1].Path":      func(s *pod.Spec) { s.Containers[0].Mounts = append(s.Containers[0].Mounts, s.Containers[0].Mounts[0]) },
		"Containers[0].Capabilities.Add[0]": func(s *pod.Spec) { s.Containers[0].Capabilities.Add = []string{"FLY"} },
		"Containers[0].Rlimits[0].Type":     func(s *pod.Spec) { s.Containers[0].Rlimits[0].Type = "NOFILE" },
		"Containers[0].Resources.CPU":       func(s *pod.Spec) { s.Containers[0].Resources.CPU = math.NaN() },
		"Containers[0].Resources.Memory":    func(s *pod.Spec) { s.Containers[0].Resources.Memory = -1 },
		"Containers[0].StopSignal":          func(s *pod.Spec) { s.Containers[0].StopSignal = "TERM" },
		"Containers[0].LogPath":             func(s *pod.Spec) { s.Containers[0].LogPath = "log" },
		"Containers[3].LogPath":             func(s *pod.Spec) { s.Containers[3].LogPath = "/" },
		"Containers[2].LogPath":             func(s *pod.Spec) { s.Containers[2].LogPath = "/a\nb" },
	}
	for field, change := range tests {
		t.Run(field, func(t *testing.T) {
			spec := fullSpec()
			spec.Sandbox.HostNamespaces = 0
			require.NoError(t, spec.Validate())
			change(&spec)
			err := spec.Validate()
			var invalid *sandbox.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, field, invalid.Field)
			require.ErrorIs(t, err, fs.ErrInvalid)

			// New says the same, before it makes anything.
			_, err = pod.New(t.Context(), spec)
			var e *pod.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "new", e.Op)
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, field, invalid.Field)
			require.NoDirExists(t, spec.Sandbox.StateDir)
		})
	}
	t.Run("long names", func(t *testing.T) {
		spec := fullSpec()
		spec.Sandbox.HostNamespaces = 0
		spec.Containers[0].Name = strings.Repeat("a", 63)
		require.NoError(t, spec.Validate())
		spec.Containers[0].Name += "a"
		require.ErrorIs(t, spec.Validate(), fs.ErrInvalid)
	})
}

func TestStopSignal(t *testing.T) {
	tests := []struct {
		signal string
		want   int // 0: refused
	}{
		{"", 15},
		{"SIGTERM", 15},
		{"SIGHUP", 1},
		{"SIGKILL", 9},
		{"SIGSTOP", 19},
		{"SIGWINCH", 28},
		{"SIGSYS", 31},
		{"SIGRTMIN", 34},
		{"SIGRTMIN+3", 37},
		{"SIGRTMIN+30", 64},
		{"SIGRTMAX", 64},
		{"SIGRTMAX-14", 50},
		{"SIGRTMAX-30", 34},
		{"SIGRTMIN+31", 0},
		{"SIGRTMAX-31", 0},
		{"SIGRTMIN-1", 0},
		{"SIGRTMAX+1", 0},
		{"SIGRTMIN+", 0},
		{"SIGRTMIN+0", 0},
		{"SIGRTMIN+03", 0},
		{"SIGRTMIN+-3", 0},
		{"SIGRTMIN+1 ", 0},
		{"SIGRTMIN+99999", 0},
		{"TERM", 0},
		{"sigterm", 0},
		{"15", 0},
		{"SIG", 0},
		{"SIGFOO", 0},
	}
	for _, tt := range tests {
		t.Run(tt.signal, func(t *testing.T) {
			n, err := pod.StopSignal(pod.Container{StopSignal: tt.signal})
			require.Equal(t, tt.want, n)
			require.Equal(t, tt.want == 0, err != nil)
		})
	}
}
