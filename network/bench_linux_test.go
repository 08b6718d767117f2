package network_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/disk"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
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

// way is one of several to give a pod its network, to be compared.
type way struct {
	name   string
	attach func(i int, ns *namespace.Handle) error
	detach func(i int) error
	setup  func() error // in the pod's namespace, before
}

// ours is the way of this package.
func (h *host) ours(name string, b network.Bridge) way {
	networks := network.Attachments{b}
	pod := func(i int) network.Pod { return network.Pod{StateDir: h.stateDir, ID: fmt.Sprint("bench", i)} }
	return way{
		name: name,
		attach: func(i int, ns *namespace.Handle) error {
			_, err := network.Attach(ctx, pod(i), ns, networks)
			return err
		},
		detach: func(i int) error { return network.Detach(ctx, pod(i), networks) },
	}
}

// bare is the way of nobody: the messages that make the same links, addresses and
// routes, and no more.
var bare = way{name: "bare", attach: bareAttach, detach: bareDetach}

// compare times attach and detach of each way in turn, with several pods at a
// time, in namespaces that are made and dropped outside of the time. It reports
// medians for one pod, and how many times the first way's each of the others is.
func (h *host) compare(b *testing.B, parallel int, ways ...way) {
	b.Helper()
	times := make([][]float64, len(ways)) // in ms
	number := 0
	for round := range b.N {
		for k := range ways {
			k := (k + round) % len(ways)
			w := ways[k]
			pods := make([]namespace.Set, parallel)
			for p := range pods {
				set, err := namespace.Unshare(namespace.Net, func() error {
					if w.setup == nil {
						return sys.LoopbackUp()
					}
					return errors.Join(sys.LoopbackUp(), w.setup())
				})
				require.NoError(b, err)
				pods[p] = set
			}
			errs := make([]error, parallel)
			var done sync.WaitGroup
			begin := time.Now()
			for p := range pods {
				i := number + p
				done.Go(func() {
					errs[p] = h.ns.Do(func() error {
						if err := w.attach(i, pods[p][0]); err != nil {
							return err
						}
						return w.detach(i)
					})
				})
			}
			done.Wait()
			times[k] = append(times[k], time.Since(begin).Seconds()*1000/float64(parallel))
			number += parallel
			require.NoError(b, errors.Join(errs...), w.name)
			for _, set := range pods {
				require.NoError(b, set.Close())
			}
			time.Sleep(time.Duration(40+parallel) * time.Millisecond) // the kernel takes the links away
		}
	}
	b.ReportMetric(0, "ns/op") // it is the rounds'
	for k, w := range ways {
		b.ReportMetric(median(times[k]), w.name+"-ms")
		if k > 0 {
			b.ReportMetric(median(times[k])/median(times[0]), w.name+"/"+ways[0].name)
		}
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// BenchmarkAttachDetach is a pod with a Bridge, without the making of its
// namespace, beside the bare messages; with a host port, which takes an element
// out of a set of nf_tables; and beside the same network made by CNI's plugins.
func BenchmarkAttachDetach(b *testing.B) {
	h := benchHost(b)
	h.compare(b, 1, bare, h.ours("bridge", network.Bridge{}),
		h.ours("port", network.Bridge{Ports: []network.Port{{HostPort: 80}}}), h.plugins(b))
}

// BenchmarkParallel has 32 pods attached and detached at a time. A lock of ours
// around the kernel's would show in a worse ratio than that of one pod.
func BenchmarkParallel(b *testing.B) {
	for _, n := range []int{1, 32} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := benchHost(b)
			h.compare(b, n, bare, h.ours("bridge", network.Bridge{}))
		})
	}
}

// plugins is the way of CNI's bridge and host-local: executables, called by the
// protocol itself, without a library in between.
func (h *host) plugins(b *testing.B) way {
	b.Helper()
	dir := testutil.CNIPlugins(b, "main/bridge", "ipam/host-local")
	config := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "cni0",
		"isGateway": true, "ipMasq": true, "ipMasqBackend": "nftables",
		"ipam": {"type": "host-local", "dataDir": %q,
			"ranges": [[{"subnet": "10.214.0.0/16"}], [{"subnet": "fd00:214::/64"}]],
			"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}`, filepath.Join(h.stateDir, "cni"))
	call := func(command string, i int, netns string) error {
		cmd := exec.Command(filepath.Join(dir, "bridge"))
		cmd.Stdin = strings.NewReader(config)
		cmd.Env = []string{
			"CNI_COMMAND=" + command, fmt.Sprint("CNI_CONTAINERID=bench", i), "CNI_NETNS=" + netns, "CNI_IFNAME=eth0",
			"CNI_PATH=" + dir, "PATH=" + os.Getenv("PATH"),
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, out)
		}
		return nil
	}
	var netns string
	return way{
		name: "cni",
		// It would wait for duplicate address detection.
		setup: func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0) },
		attach: func(i int, ns *namespace.Handle) error {
			netns = fmt.Sprintf("/proc/%d/fd/%d", pid(), ns.File().Fd())
			return call("ADD", i, netns)
		},
		detach: func(i int) error { return call("DEL", i, netns) },
	}
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

// BenchmarkManyPods attaches the 2nd, 20th, 300th and 1,000th pod of a bridge, and
// has the 1,024th told that it is full.
func BenchmarkManyPods(b *testing.B) {
	testutil.RequireFeature(b, "time") // it makes 1,022 pods
	h := benchHost(b)
	var pods []*pod
	defer func() {
		for _, p := range pods {
			require.NoError(b, errors.Join(p.tryDetach(), p.ns.Close()))
		}
	}()
	fill := func(n int) { // with that of benchHost
		for len(pods) < n-1 {
			p := h.newPod(b, network.Bridge{})
			require.NoError(b, p.tryAttach())
			pods = append(pods, p)
		}
	}
	for _, n := range []int{2, 20, 300, 1000} {
		fill(n - 1)
		b.Run(fmt.Sprint(n), func(b *testing.B) { h.compare(b, 1, bare, h.ours("bridge", network.Bridge{})) })
	}
	fill(1023)
	before := h.held(b)
	require.ErrorIs(b, h.newPod(b, network.Bridge{}).tryAttach(), network.ErrBridgeFull)
	require.Equal(b, before, h.held(b))
}

// BenchmarkHostPort adds a pod with one port where as many ports are.
func BenchmarkHostPort(b *testing.B) {
	for _, n := range []int{1, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := benchHost(b)
			h.attach(b, network.Bridge{Ports: []network.Port{{HostPort: 10000, Range: n}}})
			h.compare(b, 1, bare, h.ours("port", network.Bridge{Ports: []network.Port{{HostPort: 80}}}))
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
