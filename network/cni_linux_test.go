package network_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// cniTest is a host with the plugins of containernetworking, and a store of
// addresses for each of its networks.
type cniTest struct {
	*host
	plugins string
	store   string
}

func newCNI(t testing.TB) *cniTest {
	t.Helper()
	h := newHost(t)
	return &cniTest{host: h, store: t.TempDir(), plugins: testutil.CNIPlugins(t,
		"main/bridge", "main/ptp", "main/macvlan", "main/loopback", "ipam/host-local", "ipam/static",
		"meta/portmap", "meta/firewall", "meta/bandwidth", "meta/tuning")}
}

// ipam is the configuration of host-local.
func (h *cniTest) ipam(subnets ...string) string {
	var ranges []string
	for _, s := range subnets {
		ranges = append(ranges, fmt.Sprintf(`[{"subnet":%q}]`, s))
	}
	return fmt.Sprintf(`{"type":"host-local","dataDir":%q,"ranges":[%s],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`, h.store, strings.Join(ranges, ","))
}

// network is a CNI attachment to a network of plugins.
func (h *cniTest) network(name, version string, plugins ...string) network.CNI {
	return network.CNI{
		Config:     json.RawMessage(fmt.Sprintf(`{"cniVersion":%q,"name":%q,"plugins":[%s]}`, version, name, strings.Join(plugins, ","))),
		PluginDirs: []string{h.plugins},
	}
}

// bridge is the network of the plugin bridge alone.
func (h *cniTest) bridge() network.CNI {
	return h.network("bridged", "1.0.0", `{"type":"bridge","bridge":"cni0","isGateway":true,"ipam":`+h.ipam("10.9.0.0/24", "fd00:9::/64")+`}`)
}

// newCNIPod makes a pod whose ID nobody else on the machine has.
func (h *cniTest) newPod(t testing.TB, networks ...network.Attachment) *pod {
	t.Helper()
	p := h.host.newPod(t)
	p.ID, p.Name, p.networks = fmt.Sprint("cni", pid(), "-", p.ID), "web", networks
	return p
}

func (h *cniTest) attach(t testing.TB, networks ...network.Attachment) *pod {
	t.Helper()
	p := h.newPod(t, networks...)
	require.NoError(t, p.tryAttach())
	t.Cleanup(func() { require.NoError(t, p.tryDetach()) })
	return p
}

// requireNothing requires that no pod of the host has anything.
func (h *cniTest) requireNothing(t testing.TB) {
	t.Helper()
	var files []string
	for _, dir := range []string{h.stateDir, h.store} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Name() != "lock" && !strings.HasPrefix(d.Name(), "last_reserved_ip") && !strings.HasPrefix(d.Name(), "bridge") {
				files = append(files, path)
			}
			return err
		}))
	}
	require.Empty(t, files)
}

func (p *pod) requireUnpinned(t testing.TB) {
	t.Helper()
	require.NoFileExists(t, p.NetNSPath())
	require.NoDirExists(t, filepath.Join(p.StateDir, ".netns", p.ID))
}

// TestCNIChain is the chain of plugins that a Kubernetes node has: the pod has
// what each of them gives, and nothing is left after Detach.
func TestCNIChain(t *testing.T) {
	t.Parallel()
	testutil.RequireFeature(t, "iptables")
	h := newCNI(t)
	outside := h.outside(t)
	c := h.network("chain", "1.0.0",
		`{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"ipMasqBackend":"nftables","hairpinMode":true,"mtu":1400,"ipam":`+h.ipam("10.9.0.0/24", "fd00:9::/64")+`}`,
		`{"type":"portmap","backend":"nftables","capabilities":{"portMappings":true},"snat":true}`,
		`{"type":"firewall","backend":"iptables"}`,
		`{"type":"bandwidth","capabilities":{"bandwidth":true}}`,
		`{"type":"tuning","sysctl":{"net.core.somaxconn":"500"},"capabilities":{"mac":true}}`,
		`{"type":"loopback"}`)
	c.Capabilities = map[string]json.RawMessage{
		"portMappings": json.RawMessage(`[{"hostPort":8080,"containerPort":7,"protocol":"tcp"}]`),
		"bandwidth":    json.RawMessage(`{"ingressRate":100000000,"ingressBurst":10000000,"egressRate":100000000,"egressBurst":10000000}`),
		"mac":          json.RawMessage(`"0a:58:0a:09:00:99"`),
	}
	p := h.attach(t, c)
	require.Equal(t, "10.9.0.2", p.ip4())
	require.Equal(t, "fd00:9::2", p.ip6())
	one := p.result.Interfaces[0]
	require.Equal(t, "eth0", one.Name)
	require.Equal(t, "cni0", one.Bridge)
	require.Equal(t, "0a:58:0a:09:00:99", one.MAC)
	require.Contains(t, run(t, h.ns, "ip", "-o", "link", "show", "master", "cni0"), one.HostName)
	require.Contains(t, run(t, p.ns, "ip", "-o", "link", "show", "eth0"), "mtu 1400")
	require.Equal(t, "500\n", run(t, p.ns, "cat", "/proc/sys/net/core/somaxconn"))
	require.Contains(t, run(t, h.ns, "tc", "qdisc"), "tbf")
	require.Contains(t, run(t, h.ns, "iptables", "-S"), "10.9.0.2")

	serve(t, p.ns, p.ID, ":7")
	requireAnswer(t, h.ns, p.ip4(), 7, p.ID, "10.9.0.1")
	requireAnswer(t, h.ns, p.ip6(), 7, p.ID, "fd00:9::1")
	server, _, err := ask(outside.ns, "tcp", hostAddr4, 8080)
	require.NoError(t, err)
	require.Equal(t, p.ID, server)
	require.NoError(t, p.check())

	// CHECK sees what is different.
	run(t, p.ns, "ip", "addr", "del", "10.9.0.2/24", "dev", "eth0")
	err = p.check()
	require.ErrorIs(t, err, network.ErrMismatch)
	var failed *network.CNIError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "CHECK", failed.Command)

	require.NoError(t, p.tryDetach())
	p.requireUnpinned(t)
	h.requireNothing(t)
	require.NotContains(t, run(t, h.ns, "nft", "list", "ruleset"), "10.9.0.2")
	require.NotContains(t, run(t, h.ns, "ip", "-o", "link"), one.HostName)
	require.NoError(t, p.tryDetach(), "again")
}

// TestCNIPlugins attaches pods by each of the plugins that make interfaces, in
// the old versions of CNI, too.
func TestCNIPlugins(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		for name, conf := range map[string]string{
			"bridge":  `{"type":"bridge","bridge":"cni0","isGateway":true,"ipam":%s}`,
			"ptp":     `{"type":"ptp","ipam":%s}`,
			"macvlan": `{"type":"macvlan","master":"wire0","mode":"bridge","ipam":%s}`,
		} {
			t.Run(name+" "+version, func(t *testing.T) {
				t.Parallel()
				h := newCNI(t)
				h.outside(t)
				c := h.network("net", version, fmt.Sprintf(conf, h.ipam("10.9.0.0/24", "fd00:9::/64")))
				p, q := h.attach(t, c), h.attach(t, c)
				require.Equal(t, "10.9.0.2", p.ip4())
				require.Equal(t, "10.9.0.3", q.ip4())
				require.NoError(t, p.check())
				serve(t, p.ns, p.ID, ":7")
				requireAnswer(t, q.ns, p.ip4(), 7, p.ID, q.ip4())
				requireAnswer(t, q.ns, p.ip6(), 7, p.ID, q.ip6())
				require.NoError(t, p.tryDetach())
				p.requireUnpinned(t)
				require.NoError(t, q.check(), "another's is left alone")
			})
		}
	}
}

// TestCNIMixed gives a pod an interface of each kind.
func TestCNIMixed(t *testing.T) {
	t.Parallel()
	h := newCNI(t)
	static := h.network("static", "1.0.0", `{"type":"bridge","bridge":"cni0","ipam":{"type":"static","addresses":[{"address":"10.9.0.77/24"}],"dns":{"nameservers":["10.9.0.53"],"domain":"d","search":["s.d"],"options":["ndots:5"]}}}`)
	p := h.attach(t, network.Bridge{}, static, network.Bridge{Name: "second", Subnets: subnets("10.5.0.0/24")})
	require.Equal(t, []string{"10.213.0.2", "fd62:6172:6570:6f64::2", "10.9.0.77", "10.5.0.2"}, strings.Split(strings.Trim(fmt.Sprint(p.result.Addresses()), "[]"), " "))
	for i, name := range []string{"eth0", "eth1", "eth2"} {
		require.Equal(t, name, p.result.Interfaces[i].Name)
		require.Contains(t, run(t, p.ns, "ip", "-o", "addr", "show", name), p.result.Interfaces[i].Addresses[0].Prefix.String())
	}
	require.Equal(t, []string{"s.d"}, p.result.DNS.Searches)
	require.Equal(t, "10.9.0.53", p.result.DNS.Nameservers[0].String())
	require.NoError(t, p.check())
	run(t, p.ns, "ip", "link", "del", "eth1")
	require.ErrorIs(t, p.check(), network.ErrMismatch)
	require.NoError(t, p.tryDetach())
	require.Empty(t, h.held(t))
	p.requireUnpinned(t)
}

// TestCNIConfigDir takes networks from files, and forgets the files.
func TestCNIConfigDir(t *testing.T) {
	t.Parallel()
	h := newCNI(t)
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		return path
	}
	list := func(name, subnet string) string {
		return fmt.Sprintf(`{"cniVersion":"1.0.0","name":%q,"plugins":[{"type":"ptp","ipam":%s}]}`, name, h.ipam(subnet))
	}
	write("20-b.conflist", list("b", "10.2.0.0/24"))
	write("30-c.conf", fmt.Sprintf(`{"cniVersion":"0.3.1","name":"c","type":"ptp","ipam":%s}`, h.ipam("10.3.0.0/24")))
	write("40-d.conflist", `{"cniVersion":"1.0.0","name":"d"}`)
	write("d/10-only.conf", fmt.Sprintf(`{"type":"ptp","ipam":%s}`, h.ipam("10.4.0.0/24")))
	for name, ip := range map[string]string{"": "10.2.0.2", "b": "10.2.0.3", "c": "10.3.0.2", "d": "10.4.0.2"} {
		if name == "b" {
			continue // in turn, below
		}
		p := h.attach(t, network.CNI{ConfigDir: dir, Name: name, PluginDirs: []string{h.plugins}})
		require.Equal(t, ip, p.ip4(), name)
	}
	p := h.attach(t, network.CNI{ConfigDir: dir, Name: "b", PluginDirs: []string{h.plugins}})
	require.Equal(t, "10.2.0.3", p.ip4())
	first := write("10-a.conf", fmt.Sprintf(`{"cniVersion":"0.4.0","name":"a","type":"ptp","ipam":%s}`, h.ipam("10.1.0.0/24")))
	q := h.attach(t, network.CNI{ConfigDir: dir, PluginDirs: []string{h.plugins}})
	require.Equal(t, "10.1.0.2", q.ip4())

	require.NoError(t, os.Remove(first))
	require.NoError(t, q.check())
	require.NoError(t, q.tryDetach())
	require.NoFileExists(t, filepath.Join(h.store, "a", "10.1.0.2"))

	none := h.newPod(t, network.CNI{ConfigDir: dir, Name: "e", PluginDirs: []string{h.plugins}})
	require.ErrorIs(t, none.tryAttach(), fs.ErrNotExist)
	none.networks = network.Attachments{network.CNI{ConfigDir: t.TempDir()}}
	require.ErrorIs(t, none.tryAttach(), fs.ErrNotExist)
	none.requireUnpinned(t)
	write("50-f.conflist", `{"cniVersion":"1.0.0","name":"f","plugins":[{"type":"../ptp"}]}`)
	none.networks = network.Attachments{network.CNI{ConfigDir: dir, Name: "f", PluginDirs: []string{h.plugins}}}
	require.ErrorIs(t, none.tryAttach(), fs.ErrInvalid)
	none.requireUnpinned(t)
}

// TestCase_R05_DelWithoutNamespace is for plugins whose DEL fails when the
// namespace is gone: the addresses would be lost.
func TestCase_R05_DelWithoutNamespace(t *testing.T) {
	t.Parallel()
	testutil.RequireFeature(t, "iptables")
	for name, lose := range map[string]func(t *testing.T, p *pod){
		"unpinned": func(t *testing.T, p *pod) { require.NoError(t, namespace.Unpin(p.NetNSPath())) },
		"empty file": func(t *testing.T, p *pod) {
			require.NoError(t, namespace.Unpin(p.NetNSPath()))
			require.NoError(t, os.WriteFile(p.NetNSPath(), nil, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newCNI(t)
			c := h.network("chain", "1.0.0",
				`{"type":"bridge","bridge":"cni0","isGateway":true,"ipam":`+h.ipam("10.9.0.0/24", "fd00:9::/64")+`}`,
				`{"type":"portmap","backend":"nftables","capabilities":{"portMappings":true}}`,
				`{"type":"firewall","backend":"iptables"}`, `{"type":"bandwidth","capabilities":{"bandwidth":true}}`, `{"type":"tuning"}`)
			c.Capabilities = map[string]json.RawMessage{"portMappings": json.RawMessage(`[{"hostPort":8080,"containerPort":7,"protocol":"tcp"}]`)}
			p := h.newPod(t, c)
			require.NoError(t, p.tryAttach())
			require.NoError(t, p.ns.Close())
			lose(t, p)
			require.NoError(t, p.tryDetach())
			p.requireUnpinned(t)
			h.requireNothing(t)
			require.NotContains(t, run(t, h.ns, "nft", "list", "ruleset"), "10.9.0.2")
			require.NotContains(t, run(t, h.ns, "nft", "list", "ruleset"), "8080")
		})
	}
}

// TestCNISweep takes back what a pod has that nobody knows any more.
func TestCNISweep(t *testing.T) {
	t.Parallel()
	h := newCNI(t)
	p, q := h.newPod(t, h.bridge()), h.attach(t, h.bridge())
	require.NoError(t, p.tryAttach())
	h.do(t, func() error {
		return network.Sweep(ctx, h.stateDir, func(id string) bool { return id == q.ID })
	})
	p.requireUnpinned(t)
	require.NoFileExists(t, filepath.Join(h.store, "bridged", p.ip4()))
	require.NoError(t, q.check())
	require.NoError(t, q.tryDetach())
	h.do(t, func() error { return network.Release(ctx, h.stateDir) })
	require.NoDirExists(t, filepath.Join(h.stateDir, ".netns"))
}

// TestCNIGC tells plugins which pods there are, which Sweep and Detach never do.
// (No plugin of containernetworking gives anything back so far.)
func TestCNIGC(t *testing.T) {
	t.Parallel()
	h, second := newCNI(t), newCNI(t)
	c := h.script(t, "keeps", `[ "$CNI_COMMAND" = GC ] && cat > "$dir/gc" && exit; cat >/dev/null; echo '{"cniVersion":"1.1.0"}'`)
	calls := filepath.Join(c.PluginDirs[0], "gc")
	c.Config = json.RawMessage(`{"cniVersion":"1.1.0","name":"gc","plugins":[{"type":"ptp","ipam":` + h.ipam("10.9.0.0/24") + `},{"type":"keeps"}]}`)
	other := h.network("other", "1.1.0", `{"type":"ptp","ipam":`+h.ipam("10.8.0.0/24")+`}`)
	p, q, gone := h.attach(t, other, c), second.attach(t, c), h.attach(t, c)
	require.NoError(t, gone.tryDetach())
	h.do(t, func() error { return network.Sweep(ctx, h.stateDir, func(string) bool { return true }) })
	require.NoFileExists(t, calls)

	for _, tt := range []struct {
		dirs []string
		want string
	}{
		{nil, `[]`},
		{[]string{t.TempDir()}, `[]`},
		{[]string{h.stateDir, second.stateDir}, fmt.Sprintf(`[{"containerID":%q,"ifname":"eth1"},{"containerID":%q,"ifname":"eth0"}]`, p.ID, q.ID)},
	} {
		h.do(t, func() error { return c.GC(ctx, tt.dirs...) })
		var told struct {
			Valid json.RawMessage `json:"cni.dev/valid-attachments"`
		}
		data, err := os.ReadFile(calls)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &told))
		require.JSONEq(t, tt.want, string(told.Valid))
	}
	require.FileExists(t, filepath.Join(h.store, "gc", "10.9.0.2"), "nobody but plugins acts on it")

	require.ErrorIs(t, c.GC(ctx, "relative"), fs.ErrInvalid)
	old := h.network("gc", "1.0.0", `{"type":"ptp","ipam":`+h.ipam("10.9.0.0/24")+`}`)
	require.ErrorIs(t, old.GC(ctx, h.stateDir), errors.ErrUnsupported)
	h.do(t, func() error { return errors.Join(old.Status(ctx), other.Status(ctx)) })
}

// TestCNIFlatNetwork has hosts with a subnet each, as Flannel and Calico have
// them: every pod reaches every other by its own address.
func TestCNIFlatNetwork(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3} {
		for _, plugin := range []string{`"type":"ptp"`, `"type":"bridge","bridge":"cni0","isGateway":true`} {
			t.Run(fmt.Sprint(n, " hosts ", plugin), func(t *testing.T) {
				t.Parallel()
				hosts := make([]*cniTest, n)
				bare := make([]*host, n)
				var pods []*pod
				for i := range hosts {
					hosts[i] = newCNI(t)
					bare[i] = hosts[i].host
					c := hosts[i].network("flat", "1.0.0", fmt.Sprintf(`{%s,"ipam":%s}`, plugin, hosts[i].ipam(fmt.Sprintf("10.%d.0.0/24", i+1), fmt.Sprintf("fd00:%d::/64", i+1))))
					for range 2 {
						p := hosts[i].attach(t, c)
						serve(t, p.ns, p.ID, ":7")
						pods = append(pods, p)
					}
				}
				routeAll(t, bare)
				requireFlat(t, pods)
			})
		}
	}
}

// TestNetNSPath pins a pod as "ip netns add" does.
func TestNetNSPath(t *testing.T) {
	t.Parallel()
	h := &cniTest{host: newHost(t)}
	p := h.newPod(t, network.Bridge{})
	p.Pin = true
	name := filepath.Base(p.NetNSPath())
	require.NoError(t, p.tryAttach())
	require.NoError(t, p.check())
	there, err := namespace.Open(p.NetNSPath())
	require.NoError(t, err)
	require.True(t, there.Equal(p.ns), "the same namespace")
	require.NoError(t, there.Close())
	require.Contains(t, run(t, h.ns, "ip", "netns", "exec", name, "ip", "-o", "addr"), p.ip4())
	require.Contains(t, run(t, h.ns, "ip", "netns", "list"), name)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.Regexp(t, ` /run/netns [^ ]+ shared:`, string(mounts))
	require.Regexp(t, ` /run/netns/`+name+` [^ ]+ shared:`, string(mounts))

	// A pod of the same ID in another state directory.
	other := &cniTest{host: newHost(t)}
	q := other.newPod(t)
	q.ID, q.Pin = p.ID, true
	var taken *network.NetNSError
	err = q.tryAttach()
	require.ErrorAs(t, err, &taken)
	require.ErrorIs(t, err, fs.ErrExist)
	require.NoError(t, q.tryDetach())
	require.NoError(t, p.check(), "it is still the first one's")

	// Who lost the pin can still be detached.
	run(t, h.ns, "ip", "netns", "del", name)
	require.ErrorIs(t, p.check(), network.ErrMismatch)
	require.NoError(t, q.tryAttach())
	require.ErrorIs(t, p.check(), network.ErrMismatch)
	require.NoError(t, p.tryDetach())
	require.NoError(t, q.check(), "the pin is the second's now")
	require.NoError(t, q.tryDetach())
	q.requireUnpinned(t)

	// What a pod that was killed has left is used; what somebody else has made is
	// not.
	require.NoError(t, os.WriteFile(p.NetNSPath(), nil, 0))
	require.NoError(t, p.tryAttach())
	require.NoError(t, p.tryDetach())
	for _, content := range []string{"text", ""} {
		if content == "" {
			require.NoError(t, os.Symlink("/proc/self/ns/net", p.NetNSPath()))
		} else {
			require.NoError(t, os.WriteFile(p.NetNSPath(), []byte(content), 0o600))
		}
		require.ErrorIs(t, p.tryAttach(), fs.ErrExist)
		require.NoError(t, p.tryDetach())
		require.NoError(t, os.Remove(p.NetNSPath()), "it was left alone")
	}
}

// TestCNIClaim is for two pods of one ID: plugins could not tell them apart.
func TestCNIClaim(t *testing.T) {
	t.Parallel()
	h, other := newCNI(t), newCNI(t)
	p, q := h.attach(t, h.bridge()), other.newPod(t, h.bridge())
	q.ID = p.ID
	require.ErrorIs(t, q.tryAttach(), fs.ErrExist)
	require.NoError(t, q.tryDetach())
	require.FileExists(t, filepath.Join(h.store, "bridged", p.ip4()), "nothing of the first one's was deleted")

	// The first lost its pin, and another one has the ID now.
	require.NoError(t, namespace.Unpin(p.NetNSPath()))
	q.networks, q.Pin = nil, true
	require.NoError(t, q.tryAttach())
	require.ErrorIs(t, p.tryDetach(), fs.ErrExist)
	require.NoError(t, q.tryDetach())
}

// TestCNIAgain attaches a pod without Detach in between, as after a crash.
func TestCNIAgain(t *testing.T) {
	t.Parallel()
	h := newCNI(t)
	p := h.attach(t, h.bridge())
	p.ns = newNet(t, sys.LoopbackUp)
	require.NoError(t, p.tryAttach())
	require.NoError(t, p.check())
	require.NoError(t, p.tryDetach())
	h.requireNothing(t)
}

// TestKilledCNI kills a process at every step of attach and detach.
func TestKilledCNI(t *testing.T) {
	h := newCNI(t)
	c := h.network("killed", "1.1.0", `{"type":"bridge","bridge":"cni0","isGateway":true,"ipam":`+h.ipam("10.9.0.0/24")+`}`, `{"type":"tuning"}`)
	networks := network.Attachments{c, network.Bridge{}, c}
	data, err := json.Marshal(networks)
	require.NoError(t, err)
	points := stepsOf(t, h.newPod(t, networks...))
	require.Contains(t, points, "detach.cni.record")
	require.Contains(t, points, "attach.pin.claimed")
	counts := map[string]int{}
	for i, point := range points {
		counts[point]++
		nth := counts[point]
		if skipped(i) || !strings.Contains(point, ".cni") && !strings.Contains(point, ".pin") {
			continue
		}
		t.Run(fmt.Sprint(point, "/", nth), func(t *testing.T) {
			p := h.newPod(t, networks...)
			p.killAt(t, string(data), point, nth)
			require.NoError(t, p.tryDetach())
			p.requireUnpinned(t)
			h.requireNothing(t)
		})
	}
}

// TestCNIUndone is for two lists of plugins in one pod, of which the second fails:
// the first is undone.
func TestCNIUndone(t *testing.T) {
	t.Parallel()
	h := newCNI(t)
	bad := h.network("bad", "1.0.0", `{"type":"macvlan","master":"missing0","ipam":`+h.ipam("10.8.0.0/24")+`}`)
	p := h.newPod(t, h.bridge(), network.Bridge{}, bad)
	err := p.tryAttach()
	var failed *network.CNIError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "macvlan", failed.Plugin)
	require.Equal(t, "bad", failed.Network)
	require.Equal(t, "ADD", failed.Command)
	require.NotZero(t, failed.Code)
	require.Contains(t, failed.Error(), "CNI network bad: plugin macvlan: ADD: code ")
	require.Equal(t, network.Result{}, p.result)
	p.requireUnpinned(t)
	require.Empty(t, h.held(t))
	h.requireNothing(t)
}

// script is a plugin that does what it should not.
func (h *cniTest) script(t testing.TB, name, text string) network.CNI {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\ndir="+dir+"\n"+text+"\n"), 0o755))
	c := h.network("bad", "1.0.0", `{"type":"`+name+`"}`)
	c.PluginDirs = []string{dir, h.plugins}
	return c
}

// TestCNIBadPlugin has plugins that fail in all ways: the error says which and how,
// DEL is called, and nothing is left.
func TestCNIBadPlugin(t *testing.T) {
	t.Parallel()
	const del = `[ "$CNI_COMMAND" = ADD ] || { echo "$CNI_COMMAND" >> "$dir/calls"; exit 0; }` + "\n"
	for _, tt := range []struct{ name, script, want string }{
		{"fails", del + `echo '{"code":107,"msg":"no more","details":"today"}'; exit 1`, "code 107: no more: today: exit status 1"},
		{"silent", del + `exit 3`, "exit status 3"},
		{"stderr", del + `echo 'panic: nil' >&2; exit 2`, `panic: nil`},
		{"killed", del + `kill -SEGV $$`, "signal: segmentation fault"},
		{"nothing", del, `the result "": unexpected end of JSON input`},
		{"text", del + `echo hello`, `the result "hello": invalid character`},
		{"null", del + `echo null`, `is null`},
		{"number", del + `echo 7`, `cannot unmarshal number`},
		{"null element", del + `echo '{"cniVersion":"0.3.1","ips":[null]}'`, "ips[0] is null"},
		{"version", del + `echo '{"cniVersion":"9.9.9"}'`, `9.9.9`},
		{"interface", del + `echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24","interface":7}]}'`, "interface 7 of 0"},
		{"address", del + `echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2"}]}'`, "invalid CIDR address"},
		{"nameserver", del + `echo '{"cniVersion":"1.0.0","dns":{"nameservers":["here"]}}'`, `ParseAddr("here")`},
		{"endless", del + `exec cat /dev/zero`, "prints more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newCNI(t)
			c := h.script(t, "bad", tt.script)
			p := h.newPod(t, h.bridge(), c)
			err := p.tryAttach()
			require.ErrorContains(t, err, tt.want)
			require.Less(t, len(err.Error()), 2000)
			var failed *network.CNIError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, "bad", failed.Network)
			calls, err := os.ReadFile(filepath.Join(c.PluginDirs[0], "calls"))
			require.NoError(t, err)
			require.Equal(t, "DEL\n", string(calls))
			p.requireUnpinned(t)
			h.requireNothing(t)
		})
	}
}

// TestCNIHangingPlugin bounds plugins that do not end, and kills what they have
// started.
func TestCNIHangingPlugin(t *testing.T) {
	t.Parallel()
	h := newCNI(t)
	c := h.script(t, "hangs", `[ "$CNI_COMMAND" = ADD ] || exit 0; sleep 1000 & echo $! > "$dir/pid"; wait`)
	p := h.newPod(t, c)
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	begin := time.Now()
	err := h.ns.Do(func() error {
		_, err := network.Attach(short, p.Pod, p.ns, p.networks)
		return err
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "plugin hangs: ADD")
	require.Less(t, time.Since(begin), patience)
	p.requireUnpinned(t)
	requireEnded(t, filepath.Join(c.PluginDirs[0], "pid"))

	// One that ends, and leaves somebody who has its output open.
	c = h.script(t, "leaves", `[ "$CNI_COMMAND" = ADD ] || exit 0; sleep 1000 & echo $! > "$dir/pid"; echo '{"cniVersion":"1.0.0"}'`)
	p.networks = network.Attachments{c}
	begin = time.Now()
	require.NoError(t, p.tryAttach())
	require.Less(t, time.Since(begin), patience)
	require.NoError(t, p.tryDetach())
	require.NoError(t, kill(t, filepath.Join(c.PluginDirs[0], "pid")))
}

// TestCNIProgramKilled kills the program in the middle of an ADD: the plugin does not
// go on while somebody else undoes it.
func TestCNIProgramKilled(t *testing.T) {
	t.Parallel()
	h := newCNI(t)
	c := h.script(t, "hangs", `[ "$CNI_COMMAND" = ADD ] || exit 0; echo $$ > "$dir/.pid"; mv "$dir/.pid" "$dir/pid"; exec sleep 1000`)
	p := h.newPod(t, c)
	data, err := json.Marshal(p.networks)
	require.NoError(t, err)
	var child *testutil.ChildProcess
	h.do(t, func() error {
		child = testutil.StartChild(t, "killed at", p.StateDir, p.ID, string(data), "nowhere", "1")
		return nil
	})
	pidFile := filepath.Join(c.PluginDirs[0], "pid")
	eventually(t, func() bool { _, err := os.Stat(pidFile); return err == nil }, "the plugin runs")
	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	requireEnded(t, pidFile)
	require.NoError(t, p.tryDetach())
	p.requireUnpinned(t)
}

func readPID(t testing.TB, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	return n
}

// requireEnded requires that the process whose number is in a file has ended.
func requireEnded(t testing.TB, file string) {
	t.Helper()
	n := readPID(t, file)
	eventually(t, func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, "the plugin's child has ended")
}

func kill(t testing.TB, file string) error {
	t.Helper()
	p, err := os.FindProcess(readPID(t, file))
	if err != nil {
		return err
	}
	return errors.Join(p.Kill(), p.Release())
}

// TestCNIStatus does not attach a pod to a network that is not ready.
func TestCNIStatus(t *testing.T) {
	t.Parallel()
	h := newCNI(t)
	c := h.script(t, "starting", `echo "$CNI_COMMAND" >> "$dir/calls"; echo '{"code":50,"msg":"the daemon is not up"}'; exit 1`)
	c.Config = json.RawMessage(strings.Replace(string(c.Config), "1.0.0", "1.1.0", 1))
	var failed *network.CNIError
	require.ErrorAs(t, c.Status(ctx), &failed)
	require.Equal(t, uint(50), failed.Code)
	p := h.newPod(t, c)
	require.ErrorAs(t, p.tryAttach(), &failed)
	require.Equal(t, "STATUS", failed.Command)
	calls, err := os.ReadFile(filepath.Join(c.PluginDirs[0], "calls"))
	require.NoError(t, err)
	require.Equal(t, "STATUS\nSTATUS\n", string(calls), "neither ADD nor DEL")
	p.requireUnpinned(t)
}

// TestCNIMissingPlugin names what is missing and where it was looked for, before
// anything is called.
func TestCNIMissingPlugin(t *testing.T) {
	t.Parallel()
	h := newCNI(t)
	for _, conf := range []string{`{"type":"missing"}`, `{"type":"bridge","ipam":{"type":"missing"}}`, `{"type":"bridge","delegate":{"type":"missing"}}`} {
		c := h.network("net", "1.0.0", `{"type":"ptp","ipam":`+h.ipam("10.9.0.0/24")+`}`, conf)
		c.PluginDirs = []string{"/none", h.plugins}
		p := h.newPod(t, c)
		err := p.tryAttach()
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, "CNI network net: plugin missing: ADD: no executable in /none, "+h.plugins)
		p.requireUnpinned(t)
		h.requireNothing(t)
	}
}

// TestCVE_2021_20206 has a plugin's type lead out of the plugin directories.
func TestCVE_2021_20206_PluginPath(t *testing.T) {
	t.Parallel()
	h := newCNI(t)
	c := h.script(t, "evil", `touch "$dir/called"`)
	evil := filepath.Join(c.PluginDirs[0], "evil")
	for _, conf := range []string{
		`{"type":%q}`, `{"type":"bridge","ipam":{"type":%q}}`, `{"type":"bridge","delegate":{"type":%q}}`,
		`{"type":"bridge","delegate":{"type":"ptp","ipam":{"type":%q}}}`, `{"type":"bridge","delegates":[{"type":%q}]}`,
	} {
		for _, name := range []string{"../" + filepath.Base(c.PluginDirs[0]) + "/evil", evil, "../../../../../../../.." + evil, "..", "."} {
			p := h.newPod(t, h.network("net", "1.0.0", `{"type":"ptp"}`, fmt.Sprintf(conf, name)))
			require.ErrorIs(t, p.tryAttach(), fs.ErrInvalid)
			require.NoFileExists(t, filepath.Join(c.PluginDirs[0], "called"))
			p.requireUnpinned(t)
		}
	}
}

// TestCNIEnvironment shows what a plugin is told, and that it is told nothing of
// the host program.
func TestCNIEnvironment(t *testing.T) {
	h := newCNI(t)
	t.Setenv("SECRET", "of the program")
	t.Setenv("CNI_NETNS_OVERRIDE", "1")
	c := h.script(t, "tells", `env | grep -v ^PWD= | sort > "$dir/$CNI_COMMAND"; cat > "$dir/$CNI_COMMAND.json"; echo '{"cniVersion":"1.0.0"}'`)
	c.Config = json.RawMessage(`{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"tells","capabilities":{"mac":true}}]}`)
	c.Args = map[string]string{"K8S_POD_NAMESPACE": "shop", "More": "x"}
	c.Capabilities = map[string]json.RawMessage{"mac": json.RawMessage(`"0a:58:0a:09:00:99"`)}
	p := h.attach(t, c)
	require.NoError(t, p.tryDetach())
	want := func(command string) string {
		return "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=" + p.ID + ";K8S_POD_NAMESPACE=shop;More=x\n" +
			"CNI_COMMAND=" + command + "\nCNI_CONTAINERID=" + p.ID + "\nCNI_IFNAME=eth0\nCNI_NETNS=" + p.NetNSPath() + "\nCNI_PATH=" + strings.Join(c.PluginDirs, ":") + "\nPATH=" + os.Getenv("PATH") + "\n"
	}
	for _, command := range []string{"ADD", "DEL"} {
		got, err := os.ReadFile(filepath.Join(c.PluginDirs[0], command))
		require.NoError(t, err)
		require.Equal(t, want(command), string(got))
		stdin, err := os.ReadFile(filepath.Join(c.PluginDirs[0], command+".json"))
		require.NoError(t, err)
		require.Contains(t, string(stdin), `"runtimeConfig":{"mac":"0a:58:0a:09:00:99"}`)
	}
	p.networks = network.Attachments{network.CNI{Config: c.Config, PluginDirs: c.PluginDirs, Capabilities: map[string]json.RawMessage{"bandwidth": json.RawMessage(`{}`)}}}
	require.ErrorIs(t, p.tryAttach(), fs.ErrInvalid, "no plugin would take it")
	p.requireUnpinned(t)
}
