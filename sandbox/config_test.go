package sandbox_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// fullConfig has every field set.
func fullConfig() sandbox.Config {
	return sandbox.Config{
		ID: "id", Name: "web", Hostname: "web.example.com", StateDir: "/s", DataDir: "/d",
		Networks:       network.Attachments{network.Bridge{Ports: []network.Port{{HostPort: 80}}}},
		NetNSPath:      true,
		HostNamespaces: namespace.UTS | namespace.IPC, ShareProcessNamespace: true, ShmSize: 1 << 20,
		Sysctls: map[string]string{"kernel.domainname": "example.com"},
		DNS: sandbox.DNS{
			Policy: sandbox.DNSNone, Nameservers: []netip.Addr{netip.MustParseAddr("10.0.0.10")},
			Searches: []string{"example.com"}, Options: []string{"ndots:5"},
		},
		HostAliases: []sandbox.HostAlias{{IP: netip.MustParseAddr("::2"), Hostnames: []string{"a", "b"}}},
		Volumes: []volume.Volume{
			{Name: "a", Source: volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: 4096}},
			{Name: "b", Source: volume.HostPath{Path: "/srv", Type: volume.HostPathDirectory}},
			{Name: "c", Source: volume.Files{Items: map[string]volume.File{"x": {Content: []byte("y"), Mode: 0o600, UID: 1}}}},
		},
		Resources: sandbox.Resources{CPU: 1.5, CPUWeight: 50, Memory: 1 << 20, PIDs: 10},
		Cgroup:    sandbox.Cgroup{Parent: "/x"},
		Labels:    map[string]string{"l": "1"}, Annotations: map[string]string{"a": "2"},
		DieWithCreator: true,
	}
}

func TestConfigJSON(t *testing.T) {
	for name, cfg := range map[string]sandbox.Config{"full": fullConfig(), "least": {Name: "web"}} {
		t.Run(name, func(t *testing.T) {
			data, err := json.Marshal(cfg)
			require.NoError(t, err)
			var back sandbox.Config
			require.NoError(t, json.Unmarshal(data, &back))
			require.Equal(t, cfg, back)
		})
	}
	data, err := json.Marshal(sandbox.Config{Name: "web"})
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"web"}`, string(data))
	data, err = json.Marshal(sandbox.Config{Name: "web", HostNamespaces: namespace.IPC | namespace.PID, Networks: network.Attachments{network.Host{}}})
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"web","networks":[{"type":"Host"}],"hostNamespaces":"ipc,pid"}`, string(data))
}

func TestConfigComplete(t *testing.T) {
	got := sandbox.Config{Name: "web"}.Complete()
	require.Regexp(t, "^[0-9a-f]{24}$", got.ID)
	require.NotEqual(t, got.ID, sandbox.Config{Name: "web"}.Complete().ID)
	got.ID = ""
	require.Equal(t, sandbox.Config{
		Name: "web", Hostname: "web", StateDir: "/run/barepod", DataDir: "/var/lib/barepod", ShmSize: 64 << 20,
	}, got)
	require.Equal(t, fullConfig(), fullConfig().Complete())
}

// TestConfigCopy: what the caller does with its configuration afterwards is
// the caller's business.
func TestConfigCopy(t *testing.T) {
	theirs := fullConfig()
	ours := theirs.Complete()
	theirs.Sysctls["x"] = "y"
	theirs.Labels["l"], theirs.Annotations["a"] = "changed", "changed"
	theirs.DNS.Nameservers[0] = netip.MustParseAddr("1.1.1.1")
	theirs.DNS.Searches[0], theirs.DNS.Options[0] = "changed", "changed"
	theirs.HostAliases[0].Hostnames[0] = "changed"
	theirs.HostAliases[0].IP = netip.MustParseAddr("1.1.1.1")
	theirs.Volumes[0].Name = "changed"
	files, ok := theirs.Volumes[2].Source.(volume.Files)
	require.True(t, ok)
	files.Items["x"].Content[0] = 'z'
	files.Items["new"] = volume.File{}
	require.Equal(t, fullConfig(), ours)
}

func TestCmdCopy(t *testing.T) {
	cmd := sandbox.Cmd{
		Path: "/x", Args: []string{"x", "1"}, Env: []string{"A=1"}, Mounts: []volume.Mount{{Volume: "a", Path: "/a"}},
		User:         sandbox.User{Groups: []uint32{1}},
		Capabilities: sandbox.Capabilities{Add: []string{"SYS_ADMIN"}, Drop: []string{"ALL"}},
		Rlimits:      []sandbox.Rlimit{{Type: "RLIMIT_CORE"}},
	}
	full := cmd.Complete()
	cmd.Args[1], cmd.Env[0], cmd.Mounts[0].Path, cmd.User.Groups[0] = "2", "A=2", "/b", 2
	cmd.Capabilities.Add[0], cmd.Capabilities.Drop[0], cmd.Rlimits[0].Type = "CHOWN", "CHOWN", "RLIMIT_CPU"
	require.Equal(t, []string{"x", "1"}, full.Args)
	require.Equal(t, []string{"A=1"}, full.Env)
	require.Equal(t, "/a", full.Mounts[0].Path)
	require.Equal(t, []uint32{1}, full.User.Groups)
	require.Equal(t, sandbox.Capabilities{Add: []string{"SYS_ADMIN"}, Drop: []string{"ALL"}}, full.Capabilities)
	require.Equal(t, "RLIMIT_CORE", full.Rlimits[0].Type)
}

func TestCmdComplete(t *testing.T) {
	full := (&sandbox.Cmd{Path: "sh"}).Complete()
	require.Regexp(t, "^p-[0-9a-f]{12}$", full.Name)
	require.Equal(t, []string{"sh"}, full.Args)
	require.Equal(t, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"}, full.Env)
	require.Equal(t, "/", full.Dir)
	full = (&sandbox.Cmd{Path: "sh", Env: []string{}}).Complete()
	require.Empty(t, full.Env, "empty is not nil")
}

func TestCmdCandidates(t *testing.T) {
	tests := []struct {
		name string
		cmd  sandbox.Cmd
		want string
	}{
		{"absolute", sandbox.Cmd{Path: "/bin/sh", Dir: "/x"}, "/bin/sh"},
		{"relative", sandbox.Cmd{Path: "bin/sh", Dir: "/x"}, "/x/bin/sh"},
		{"dot", sandbox.Cmd{Path: "./sh"}, "/sh"},
		{"PATH", sandbox.Cmd{Path: "sh", Env: []string{"PATH=/a:/b"}}, "/a/sh /b/sh"},
		{"last PATH", sandbox.Cmd{Path: "sh", Env: []string{"PATH=/a", "PATH=/b"}}, "/b/sh"},
		{"relative directories", sandbox.Cmd{Path: "sh", Dir: "/x", Env: []string{"PATH=:.:a:/b:"}}, "/b/sh"},
		{"no PATH", sandbox.Cmd{Path: "sh", Env: []string{}}, "/usr/local/sbin/sh /usr/local/bin/sh /usr/sbin/sh /usr/bin/sh /sbin/sh /bin/sh"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, strings.Fields(tt.want), tt.cmd.Candidates())
		})
	}
}

func TestRootfsJSON(t *testing.T) {
	for text, root := range map[string]sandbox.Rootfs{
		`{"type":"Dir","path":"/x"}`:                           sandbox.Dir{Path: "/x"},
		`{"type":"Dir","path":"/x","readOnly":true}`:           sandbox.Dir{Path: "/x", ReadOnly: true},
		`{"type":"Overlay","lower":["/x"],"readOnly":true}`:    sandbox.Overlay{Lower: []string{"/x"}, ReadOnly: true},
		`{"type":"Overlay","lower":["/x","/\u00e4\"\u003c/"]}`: sandbox.Overlay{Lower: []string{"/x", `/ä"</`}},
		`{"type":"HostRoot"}`:                                  sandbox.HostRoot{},
		`{"type":"Scratch"}`:                                   sandbox.Scratch{},
		`null`:                                                 nil,
	} {
		data, err := sandbox.MarshalRootfs(root)
		require.NoError(t, err)
		require.JSONEq(t, text, string(data))
		back, err := sandbox.UnmarshalRootfs([]byte(text))
		require.NoError(t, err)
		require.Equal(t, root, back)
	}
	for _, text := range []string{
		``, `1`, `"Dir"`, `{}`, `{"path":"/x"}`, `{"type":null}`, `{"type":"dir","path":"/x"}`, `{"type":"Dir","paht":"/x"}`,
		`{"type":"HostRoot","path":"/x"}`, `{"type":"Dir","path":1}`, `{"type":"Tmpfs"}`, `{"type":"Dir","path":"/x"}x`,
	} {
		_, err := sandbox.UnmarshalRootfs([]byte(text))
		require.Error(t, err, text)
	}
}
