package network

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/barepod/barepod/internal/fault"
)

// Attributes that package syscall lacks.
const (
	iflaAddrGenMode = 8 // IFLA_INET6_ADDR_GEN_MODE
	addrGenNone     = 1 // IN6_ADDR_GEN_MODE_NONE
	iflaNetNSFd     = 28
	iflaAFSpec      = 26
	iflaIfalias     = 20
)

// veth is a pair of links: one end is a port of a bridge on the host, the other
// the interface of a pod.
type veth struct {
	hostName, podName string
	mac               net.HardwareAddr // of the pod's end
	mtu               int
	bridge            int // index
	isolated          bool
	hairpin           bool
	alias             string // of the host's end: whose it is, for people
}

// errBridgeFull is the kernel's when a bridge has BR_MAX_PORTS.
const errBridgeFull = syscall.EXFULL

// make makes the pair: the one end on the bridge, the other in the namespace that
// pod is of, where it never had another name or was in another namespace.
func (v veth) make(ctx context.Context, host *conn, pod *os.File) error {
	deleted := false
	for begin := time.Now(); ; {
		err := v.create(host, pod)
		switch {
		case errors.Is(err, syscall.EEXIST) && !deleted:
			// A pod of this ID is not gone from the kernel yet, or left its
			// link in a namespace that somebody still holds. The caller has
			// the ID now, and so the name.
			deleted = true
			if err := host.deleteLink(v.hostName); err != nil {
				return err
			}
			continue
		case errors.Is(err, errBridgeFull):
			// The kernel takes ports away some 30 ms after their pods.
			if time.Since(begin) < 200*time.Millisecond && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			return ErrBridgeFull
		case err != nil:
			return err
		}
		if err := fault.Point("attach.port"); err != nil {
			return err
		}
		return v.configure(host)
	}
}

func (v veth) create(host *conn, pod *os.File) error {
	info := attr(syscall.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, syscall.AF_UNSPEC)
	peer.AddRtAttr(syscall.IFLA_IFNAME, nl.ZeroTerminated(v.podName))
	peer.AddRtAttr(syscall.IFLA_ADDRESS, v.mac)
	peer.AddRtAttr(syscall.IFLA_MTU, nl.Uint32Attr(uint32(v.mtu)))
	raw, err := pod.SyscallConn()
	if err != nil {
		return err
	}
	var doErr error
	err = raw.Control(func(fd uintptr) {
		peer.AddRtAttr(iflaNetNSFd, nl.Uint32Attr(uint32(fd)))
		doErr = do("make link "+v.hostName, host.request(syscall.RTM_NEWLINK, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL,
			nl.NewIfInfomsg(syscall.AF_UNSPEC),
			attr(syscall.IFLA_IFNAME, nl.ZeroTerminated(v.hostName)),
			attr(syscall.IFLA_MTU, nl.Uint32Attr(uint32(v.mtu))),
			attr(syscall.IFLA_MASTER, nl.Uint32Attr(uint32(v.bridge))),
			info))
	})
	return errors.Join(err, doErr)
}

// configure sets the host's end up. It has no IPv6 address of its own: it is a
// mere port.
func (v veth) configure(host *conn) error {
	af := attr(iflaAFSpec, nil)
	af.AddRtAttr(syscall.AF_INET6, nil).AddRtAttr(iflaAddrGenMode, []byte{addrGenNone})
	info := attr(syscall.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	port := info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	port.AddRtAttr(nl.IFLA_BRPORT_MODE, flag(v.hairpin))
	port.AddRtAttr(nl.IFLA_BRPORT_ISOLATED, flag(v.isolated))
	data := []nl.NetlinkRequestData{
		upMsg(),
		attr(syscall.IFLA_IFNAME, nl.ZeroTerminated(v.hostName)),
		attr(iflaIfalias, []byte(v.alias)),
		info,
	}
	what := "set link " + v.hostName + " up"
	err := do(what, host.request(syscall.RTM_NEWLINK, 0, append(data, af)...))
	if errors.Is(err, syscall.EAFNOSUPPORT) { // there is no IPv6
		err = do(what, host.request(syscall.RTM_NEWLINK, 0, data...))
	}
	return err
}

func flag(on bool) []byte {
	if on {
		return []byte{1}
	}
	return []byte{0}
}
