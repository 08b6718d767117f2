package sandbox_test

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/sandbox"
)

// bridged is a configuration of a pod with a Bridge. What pods of its state
// directory share goes with the test, so that the next one may have it.
func bridged(t testing.TB, b network.Bridge) sandbox.Config {
	t.Helper()
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, "ip")
	cfg := testConfig(t)
	cfg.Networks = network.Attachments{b}
	t.Cleanup(func() {
		require.NoError(t, sandbox.Sweep(context.Background(), cfg.StateDir))
		require.NotContains(t, ipLink(t), network.DefaultBridge)
	})
	return cfg
}

func ipLink(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("ip", "-o", "link").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// requireNetworkOf requires that of all pods only this one has anything of the
// network.
func requireNetworkOf(t testing.TB, stateDir, id string) {
	t.Helper()
	require.True(t, testutil.Await(func() bool { return strings.Count(ipLink(t), "alias "+id+" eth0") == strings.Count(ipLink(t), ": bp") }), "links")
	holders, err := filepath.Glob(filepath.Join(stateDir, ".network", "*", "holders", "*"))
	require.NoError(t, err)
	for _, h := range holders {
		require.True(t, strings.HasPrefix(filepath.Base(h), id+"@"), h)
	}
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "8080")
	require.NotContains(t, string(out), " . udp . ")
}

// say answers each connection on a listener with a text, until the test ends.
func say(t testing.TB, l net.Listener, text string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
}

// hear connects and returns what it is told; do says where from.
func hear(t testing.TB, do func(func() error) error, address string) string {
	t.Helper()
	var c net.Conn
	require.NoError(t, do(func() (err error) {
		c, err = net.DialTimeout("tcp", address, patience)
		return err
	}))
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	return string(b)
}

func here(f func() error) error { return f() }

func TestNetwork(t *testing.T) {
	cfg := bridged(t, network.Bridge{Ports: []network.Port{{HostPort: 8080, ContainerPort: 80}}})
	web := newSandbox(t, cfg)
	cfg.Networks = network.Attachments{network.Bridge{}}
	client := newSandbox(t, cfg)
	var l net.Listener
	require.NoError(t, web.Do(func() (err error) {
		l, err = net.Listen("tcp", ":80")
		return err
	}))
	say(t, l, "hello")
	ips := web.Network().Addresses()
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.213.0.2"), netip.MustParseAddr("fd62:6172:6570:6f64::2")}, ips)
	for _, ip := range ips {
		require.Equal(t, "hello", hear(t, client.Do, netip.AddrPortFrom(ip, 80).String()))
		require.Equal(t, "hello", hear(t, here, netip.AddrPortFrom(ip, 80).String()))
	}
	require.Equal(t, "hello", hear(t, here, "127.0.0.1:8080"))
	require.Equal(t, "hello", hear(t, client.Do, "10.213.0.1:8080"))

	// The pod's name is on its addresses.
	root := sandbox.Dir{Path: busyboxRoot(t)}
	require.Equal(t, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n"+
		"ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n10.213.0.2\tweb\nfd62:6172:6570:6f64::2\tweb",
		output(t, shell(web, root, "cat /etc/hosts")))

	st, err := web.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, web.Network(), st.Network)
	require.Empty(t, st.NetworkProblem)

	require.NoError(t, web.Remove(t.Context()))
	require.NoError(t, web.Close()) // which holds the namespace, as does
	require.NoError(t, l.Close())   // a socket in it
	_, err = net.DialTimeout("tcp", "127.0.0.1:8080", time.Second)
	require.Error(t, err)
	requireNetworkOf(t, cfg.StateDir, client.ID())
}

// TestCase_R15_NetworkWithoutProcess has no process hold a network, and the one
// that made it killed.
func TestCase_R15_NetworkWithoutProcess(t *testing.T) {
	cfg := bridged(t, network.Bridge{})
	cfg.ID = "orphan"
	p := plan{Op: "new", Config: cfg, Die: 1 << 30}
	_, killed := p.do(t)
	require.False(t, killed)
	sb, err := sandbox.Open(t.Context(), cfg.StateDir, cfg.ID)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sb.Close()) })
	t.Cleanup(func() { require.NoError(t, sb.Remove(context.Background())) })
	var l net.Listener
	require.NoError(t, sb.Do(func() (err error) {
		l, err = net.Listen("tcp", ":80")
		return err
	}))
	say(t, l, "still here")
	require.Equal(t, "still here", hear(t, here, netip.AddrPortFrom(sb.Network().Addresses()[0], 80).String()))
}

// TestCase_R16_OpenKeepsTheNetwork has Open return what New got, and change
// nothing.
func TestCase_R16_OpenKeepsTheNetwork(t *testing.T) {
	sb := newSandbox(t, bridged(t, network.Bridge{Ports: []network.Port{{HostPort: 8080}}}))
	links := ipLink(t)
	again, err := sandbox.Open(t.Context(), sb.Config().StateDir, sb.ID())
	require.NoError(t, err)
	require.Equal(t, sb.Network(), again.Network())
	require.Equal(t, sb.Config(), again.Config())
	require.Equal(t, links, ipLink(t))
	require.NoError(t, again.Close())

	name := sb.Network().Interfaces[0].HostName
	require.NoError(t, exec.Command("ip", "link", "set", name, "down").Run())
	st, err := sb.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, st.NetworkProblem, "link "+name+" on the host is down")
}

// TestCase_R05_RemoveWithoutNamespace has the pod's pin go before its network.
func TestCase_R05_RemoveWithoutNamespace(t *testing.T) {
	cfg := bridged(t, network.Bridge{Ports: []network.Port{{HostPort: 8080}}})
	sb := newSandbox(t, cfg)
	require.NoError(t, sb.Close())
	require.NoError(t, exec.Command("umount", "-l", filepath.Join(cfg.StateDir, sb.ID(), "anchor")).Run())
	require.True(t, testutil.Await(func() bool { return !strings.Contains(ipLink(t), ": bp") }), "the namespace is gone")
	require.NoError(t, sandbox.Remove(t.Context(), cfg.StateDir, sb.ID()))
	requireNetworkOf(t, cfg.StateDir, "nobody")
}

// TestCase_R18_NetworkFails has a New fail for a host port that is taken.
func TestCase_R18_NetworkFails(t *testing.T) {
	cfg := bridged(t, network.Bridge{Ports: []network.Port{{HostPort: 8080}}})
	l, err := net.Listen("tcp4", "127.0.0.1:8080")
	require.NoError(t, err)
	defer l.Close()
	before := testutil.Snapshot()
	_, err = sandbox.New(t.Context(), cfg)
	require.ErrorIs(t, err, fs.ErrExist)
	var taken *network.PortError
	require.ErrorAs(t, err, &taken)
	require.EqualError(t, taken, "host port 0.0.0.0:8080/TCP is taken by a socket of the host")
	requireNetworkOf(t, cfg.StateDir, "nobody")
	require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
	requireNothingLeft(t, before, cfg)
	require.NoDirExists(t, cfg.StateDir)
}
