package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/sandbox"
)

// cni is a configuration of a pod in a network of CNI plugins, and the directory
// with a file for each address that is taken.
func cni(t testing.TB) (cfg sandbox.Config, store string) {
	t.Helper()
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, "ip")
	cfg, store = testConfig(t), t.TempDir()
	cfg.Networks = network.Attachments{network.CNI{
		PluginDirs: []string{testutil.CNIPlugins(t, "main/ptp", "ipam/host-local")},
		Config: json.RawMessage(fmt.Sprintf(`{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"ptp","ipam":`+
			`{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.9.0.0/24"}],[{"subnet":"fd00:9::/64"}]],"routes":[{"dst":"0.0.0.0/0"}]},`+
			`"dns":{"nameservers":["10.9.0.53"],"search":["cluster.example"],"options":["ndots:5"]}}]}`, store)),
	}}
	t.Cleanup(func() { require.NoError(t, sandbox.Sweep(context.Background(), cfg.StateDir)) })
	return cfg, filepath.Join(store, "net")
}

// leases are the addresses that pods have.
func leases(t testing.TB, store string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(store, "*[.:]*[.:]*"))
	require.NoError(t, err)
	return files
}

func TestCNI(t *testing.T) {
	cfg, store := cni(t)
	sb := newSandbox(t, cfg)
	ips := sb.Network().Addresses()
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("fd00:9::2")}, ips)
	var l net.Listener
	require.NoError(t, sb.Do(func() (err error) {
		l, err = net.Listen("tcp", ":80")
		return err
	}))
	say(t, l, "hello")
	require.Equal(t, "hello", hear(t, here, "10.9.0.2:80"))

	root := sandbox.Dir{Path: busyboxRoot(t)}
	require.Contains(t, output(t, shell(sb, root, "cat /etc/hosts")), "10.9.0.2\tweb\nfd00:9::2\tweb")
	require.Equal(t, "nameserver 10.9.0.53\nsearch cluster.example\noptions ndots:5", output(t, shell(sb, root, "cat /etc/resolv.conf")))

	ns, err := sb.Namespace(namespace.Net)
	require.NoError(t, err)
	defer ns.Close()
	there, err := namespace.Open(sb.NetNSPath())
	require.NoError(t, err)
	require.True(t, ns.Equal(there))
	require.NoError(t, there.Close())

	again, err := sandbox.Open(t.Context(), cfg.StateDir, sb.ID())
	require.NoError(t, err)
	require.Equal(t, sb.Network(), again.Network())
	require.Equal(t, sb.NetNSPath(), again.NetNSPath())
	require.Equal(t, sb.Config(), again.Config())
	require.NoError(t, again.Close())

	st, err := sb.Status(t.Context())
	require.NoError(t, err)
	require.Empty(t, st.NetworkProblem)
	out, err := exec.Command("ip", "netns", "exec", filepath.Base(sb.NetNSPath()), "ip", "addr", "del", "10.9.0.2/24", "dev", "eth0").CombinedOutput()
	require.NoError(t, err, "%s", out)
	st, err = sb.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, st.NetworkProblem, "plugin ptp: CHECK")

	require.Len(t, leases(t, store), 2)
	require.NoError(t, sb.Remove(t.Context()))
	require.Empty(t, leases(t, store))
	require.NoFileExists(t, sb.NetNSPath())
	require.NoDirExists(t, filepath.Join(cfg.StateDir, ".netns", sb.ID()))
}

// TestCNICrash kills a process that makes or removes a pod of a CNI network at
// each step that has to do with it: Remove leaves nothing.
func TestCNICrash(t *testing.T) {
	cfg, store := cni(t)
	for _, op := range []string{"new", "remove"} {
		t.Run(op, func(t *testing.T) {
			p := crashPlan(t, op, sandbox.Config{})
			p.Config.Networks = cfg.Networks
			check := func(i int) {
				t.Helper()
				require.NoError(t, sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID))
				require.Empty(t, leases(t, store), "killed at step %d", i)
				require.NoFileExists(t, "/run/netns/barepod-"+p.Config.ID)
				require.NoDirExists(t, filepath.Join(p.Config.StateDir, ".netns", p.Config.ID))
			}
			p.prepare(t)
			p.Die = -1
			points, _ := p.do(t)
			check(-1)
			require.Contains(t, points, map[string]string{"new": "attach.cni.add", "remove": "detach.cni"}[op])
			for i, point := range points {
				// The others are those of a sandbox without a network.
				if _, step, _ := strings.Cut(point, "."); !strings.HasPrefix(step, "cni") && !strings.HasPrefix(step, "pin") && step != "network" && step != "result" {
					continue
				}
				p.prepare(t)
				p.Die = i
				_, killed := p.do(t)
				require.True(t, killed)
				check(i)
			}
		})
	}
}

// TestCNIReboot removes a pod whose state has survived a reboot: the addresses,
// which are on disk, too.
func TestCNIReboot(t *testing.T) {
	cfg, store := cni(t)
	sb := newSandbox(t, cfg)
	path := sb.NetNSPath()
	editState(t, filepath.Join(cfg.StateDir, sb.ID(), "sandbox"), func(state map[string]any) { state["bootId"] = "another" })
	require.NoError(t, namespace.Unpin(path))
	require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
	require.Empty(t, leases(t, store))
	require.NoFileExists(t, path)
}

// TestNetNSPath gives a pod without CNI a path.
func TestNetNSPath(t *testing.T) {
	testutil.RequireFeature(t, "ip")
	cfg := testConfig(t)
	require.Empty(t, newSandbox(t, cfg).NetNSPath())
	cfg.NetNSPath = true
	sb := newSandbox(t, cfg)
	require.Equal(t, "/run/netns/barepod-"+sb.ID(), sb.NetNSPath())
	link := "net:[" + fmt.Sprint(netInode(t, sb)) + "]\n"
	out, err := exec.Command("ip", "netns", "exec", filepath.Base(sb.NetNSPath()), "readlink", "/proc/self/ns/net").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, link, string(out))
	require.NoError(t, sb.Remove(t.Context()))
	_, err = os.Lstat(sb.NetNSPath())
	require.ErrorIs(t, err, os.ErrNotExist)
}

func netInode(t testing.TB, sb *sandbox.Sandbox) uint64 {
	t.Helper()
	st, err := sb.Status(t.Context())
	require.NoError(t, err)
	return st.Namespaces["net"]
}
