package network_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

var ctx = context.Background()

// host is a machine of its own as far as the network goes: a namespace with a
// state directory.
type host struct {
	ns       *namespace.Handle
	stateDir string
}

func newNet(t testing.TB, setup func() error) *namespace.Handle {
	t.Helper()
	set, err := namespace.Unshare(namespace.Net, setup)
	require.NoError(t, err)
	t.Cleanup(func() { _ = set.Close() })
	return set.Of(namespace.Net)
}

func newHost(t testing.TB) *host {
	t.Helper()
	testutil.RequireRoot(t)
	testutil.RequireFeature(t, "ip")
	testutil.RequireFeature(t, "nft")
	ns := newNet(t, func() error {
		// Links between hosts do not look for duplicates; those of pods have
		// to see to that themselves.
		return errors.Join(sys.LoopbackUp(), os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0), bridgeNetfilter("0"))
	})
	return &host{ns: ns, stateDir: t.TempDir()}
}

// bridgeNetfilter says whether bridged packets pass the rules of IP. Where the
// kernel has br_netfilter they do by default.
func bridgeNetfilter(value string) error {
	for _, name := range []string{"iptables", "ip6tables"} {
		err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+name, []byte(value), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// do runs f on the host; what it asserts is to be outside.
func (h *host) do(t testing.TB, f func() error) {
	t.Helper()
	require.NoError(t, h.ns.Do(f))
}

// pod is a pod of a host: a network namespace, so far.
type pod struct {
	network.Pod
	host     *host
	ns       *namespace.Handle
	networks network.Attachments
	result   network.Result
}

var pods atomic.Int32

func (h *host) newPod(t testing.TB, bridges ...network.Bridge) *pod {
	t.Helper()
	p := &pod{Pod: network.Pod{StateDir: h.stateDir, ID: fmt.Sprint("pod", pods.Add(1))}, host: h, ns: newNet(t, sys.LoopbackUp)}
	for _, b := range bridges {
		p.networks = append(p.networks, b)
	}
	return p
}

func (p *pod) tryAttach() error {
	return p.host.ns.Do(func() (err error) {
		p.result, err = network.Attach(ctx, p.Pod, p.ns, p.networks)
		return err
	})
}

func (p *pod) tryDetach() error {
	return p.host.ns.Do(func() error { return network.Detach(ctx, p.Pod, p.networks) })
}

// attach makes a pod that is attached, and detaches it in the end.
func (h *host) attach(t testing.TB, bridges ...network.Bridge) *pod {
	t.Helper()
	p := h.newPod(t, bridges...)
	require.NoError(t, p.tryAttach())
	t.Cleanup(func() { require.NoError(t, p.tryDetach()) })
	return p
}

// ip4 and ip6 are the addresses of the pod's first interface.
func (p *pod) ip4() string { return p.result.Interfaces[0].Addresses[0].Prefix.Addr().String() }

func (p *pod) ip6() string { return p.result.Interfaces[0].Addresses[1].Prefix.Addr().String() }

// run runs a command in a network namespace, and returns what it prints.
func run(t testing.TB, ns *namespace.Handle, name string, args ...string) string {
	t.Helper()
	var out []byte
	err := ns.Do(func() (err error) {
		cmd := exec.Command(name, args...)
		out, err = cmd.CombinedOutput()
		return err
	})
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return string(out)
}

// sysctl sets a kernel parameter of a network namespace, below net.
func sysctl(t testing.TB, ns *namespace.Handle, name, value string) {
	t.Helper()
	require.NoError(t, ns.Do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) }))
}

// eventually waits for what the kernel does in its own time.
func eventually(t testing.TB, cond func() bool, what string) {
	t.Helper()
	require.True(t, testutil.Await(cond), what)
}

func pid() int { return os.Getpid() }
