package network_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/disk"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// benchHost is a host whose state directory is on tmpfs, as it should be, and that
// has the bridge already.
func benchHost(b *testing.B) *host {
	b.Helper()
	h := newHost(b)
	require.NoError(b, unix.Mount("bench", h.stateDir, "tmpfs", 0, ""))
	b.Cleanup(func() { require.NoError(b, unix.Unmount(h.stateDir, unix.MNT_DETACH)) })
	h.attach(b, network.Bridge{})
	return h
}

// BenchmarkAttachDetach is a pod with a Bridge, without the making of its
// namespace, beside the bare messages that make the same links, addresses and
// routes.
func BenchmarkAttachDetach(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		h := benchHost(b)
		benchPods(b, h, func(i int, ns *namespace.Handle) error { return bareAttach(i, ns) }, func(i int) error { return bareDetach(i) })
	})
	for name, bridge := range map[string]network.Bridge{
		"bridge": {},
		"port":   {Ports: []network.Port{{HostPort: 80}}},
	} {
		b.Run(name, func(b *testing.B) {
			h := benchHost(b)
			networks := network.Attachments{bridge}
			pod := func(i int) network.Pod { return network.Pod{StateDir: h.stateDir, ID: fmt.Sprint("bench", i)} }
			benchPods(b, h, func(i int, ns *namespace.Handle) error {
				_, err := network.Attach(ctx, pod(i), ns, networks)
				return err
			}, func(i int) error { return network.Detach(ctx, pod(i), networks) })
		})
	}
}

// benchPods times attach and detach, each pod in a namespace that is made and
// dropped outside of the time.
func benchPods(b *testing.B, h *host, attach func(int, *namespace.Handle) error, detach func(int) error) {
	i := 0
	require.NoError(b, h.ns.Do(func() error {
		b.ResetTimer()
		for range b.N {
			b.StopTimer()
			i++
			set, err := namespace.Unshare(namespace.Net, sys.LoopbackUp)
			if err != nil {
				return err
			}
			b.StartTimer()
			if err := attach(i, set[0]); err != nil {
				return err
			}
			if err := detach(i); err != nil {
				return err
			}
			b.StopTimer()
			if err := set.Close(); err != nil {
				return err
			}
			time.Sleep(5 * time.Millisecond) // the kernel takes the links away
			b.StartTimer()
		}
		return nil
	}))
}

// bareAttach is what nobody can do without, by the netlink package's own calls.
func bareAttach(i int, ns *namespace.Handle) error {
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer host.Close()
	pod, err := netlink.NewHandleAt(netns.NsHandle(ns.File().Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer pod.Close()
	bridge, err := host.LinkByName(network.DefaultBridge)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex, attrs.Flags = fmt.Sprint("bare", i), 1500, bridge.Attrs().Index, net.FlagUp
	if err := host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns.File().Fd())}); err != nil {
		return err
	}
	eth0, err := pod.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, s := range []string{fmt.Sprintf("10.213.%d.%d/16", 100+i/250, 1+i%250), fmt.Sprintf("fd62:6172:6570:6f64::b:%x/64", i)} {
		a, err := netlink.ParseAddr(s)
		if err != nil {
			return err
		}
		a.Flags = syscall.IFA_F_NODAD
		if err := pod.AddrAdd(eth0, a); err != nil {
			return err
		}
	}
	if err := pod.LinkSetUp(eth0); err != nil {
		return err
	}
	for _, gw := range []string{"10.213.0.1", "fd62:6172:6570:6f64::1"} {
		if err := pod.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: net.ParseIP(gw)}); err != nil {
			return err
		}
	}
	return nil
}

func bareDetach(i int) error {
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer host.Close()
	link, err := host.LinkByName(fmt.Sprint("bare", i))
	if err != nil {
		return err
	}
	return host.LinkSetDown(link)
}

// BenchmarkManyPods attaches one more where 20, 300 and 1,000 are.
func BenchmarkManyPods(b *testing.B) {
	h := benchHost(b)
	networks := network.Attachments{network.Bridge{}}
	standing := 1
	for _, n := range []int{20, 300, 1000} {
		require.NoError(b, h.ns.Do(func() error {
			for ; standing < n; standing++ {
				set, err := namespace.Unshare(namespace.Net, sys.LoopbackUp)
				if err != nil {
					return err
				}
				b.Cleanup(func() { _ = set.Close() })
				if _, err := network.Attach(ctx, network.Pod{StateDir: h.stateDir, ID: fmt.Sprint("standing", standing)}, set[0], networks); err != nil {
					return err
				}
			}
			return nil
		}))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			pod := func(i int) network.Pod { return network.Pod{StateDir: h.stateDir, ID: fmt.Sprint("bench", n, "-", i)} }
			benchPods(b, h, func(i int, ns *namespace.Handle) error {
				_, err := network.Attach(ctx, pod(i), ns, networks)
				return err
			}, func(i int) error { return network.Detach(ctx, pod(i), networks) })
		})
	}
}

// BenchmarkHostPort adds a pod with one port where as many ports are.
func BenchmarkHostPort(b *testing.B) {
	for _, n := range []int{1, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := benchHost(b)
			h.attach(b, network.Bridge{Ports: []network.Port{{HostPort: 10000, Range: n}}})
			networks := network.Attachments{network.Bridge{Ports: []network.Port{{HostPort: 80}}}}
			pod := func(i int) network.Pod { return network.Pod{StateDir: h.stateDir, ID: fmt.Sprint("bench", i)} }
			benchPods(b, h, func(i int, ns *namespace.Handle) error {
				_, err := network.Attach(ctx, pod(i), ns, networks)
				return err
			}, func(i int) error { return network.Detach(ctx, pod(i), networks) })
		})
	}
}

// BenchmarkLeasesOfHostLocal is what the questions about one pod would cost in
// host-local's own store, which reads every lease for them.
func BenchmarkLeasesOfHostLocal(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := benchHost(b)
			dir := filepath.Join(h.stateDir, "plain")
			require.NoError(b, os.MkdirAll(dir, 0o700))
			store, err := disk.New("net", dir)
			require.NoError(b, err)
			defer store.Close()
			a := netip.MustParseAddr("10.0.0.1")
			for i := range n {
				ok, err := store.Reserve(fmt.Sprint("pod", i), "eth0", a.AsSlice(), "0")
				require.NoError(b, err)
				require.True(b, ok)
				a = a.Next()
			}
			for b.Loop() {
				store.GetByID("pod0", "eth0")                            // of Get
				require.NoError(b, store.ReleaseByID("another", "eth0")) // of Release
			}
		})
	}
}
