package network

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/allocator"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/disk"

	"github.com/barepod/barepod/internal/fault"
)

// networkDir is where the leases of a bridge are. No pod has an ID with a dot in
// front.
func networkDir(stateDir, bridge string) string {
	return filepath.Join(stateDir, networksName, bridge)
}

const (
	networksName = ".network"
	// addressesName has a file for each address that is taken, with the pod's
	// ID in it: what the CNI plugin host-local makes.
	addressesName = "addresses"
	// holdersName has a link for each pod and family, to the address. It is
	// made before the file, so that a lease is found by the ID alone, without
	// reading all files, as host-local does.
	holdersName = "holders"
)

// leases are the addresses of a bridge that pods have. It is the store of
// host-local, but for the questions that are about one pod.
type leases struct {
	*disk.Store
	dir string
	// refused is the address that Reserve found to be taken last.
	refused net.IP
}

// openLeases opens the store, under its lock, which the caller must give back.
// ctx bounds the wait for it.
func openLeases(ctx context.Context, dir string) (_ *leases, done func(), err error) {
	if err := os.MkdirAll(filepath.Join(dir, holdersName), 0o700); err != nil {
		return nil, nil, err
	}
	store, err := disk.New(addressesName, dir)
	if err != nil {
		return nil, nil, err
	}
	// The same file as host-local's own lock, which cannot be waited for with a
	// context.
	unlock, err := lock(ctx, filepath.Join(dir, addressesName, "lock"))
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return &leases{Store: store, dir: dir}, func() {
		unlock()
		_ = store.Close()
	}, nil
}

// Lock does nothing: openLeases has locked.
func (l *leases) Lock() error { return nil }

// Unlock does nothing.
func (l *leases) Unlock() error { return nil }

func (l *leases) addressFile(ip net.IP) string {
	return filepath.Join(l.dir, addressesName, ip.String())
}

// holder is the link that leads from a pod's interface to its address.
func holder(dir, id, ifname string, ip4 bool) string {
	suffix := "@6"
	if ip4 {
		suffix = "@4"
	}
	return filepath.Join(dir, holdersName, id+"@"+ifname+suffix)
}

// content is what is in the file of an address.
func content(id, ifname string) string { return id + disk.LineBreak + ifname }

// Reserve takes an address, unless it is taken.
func (l *leases) Reserve(id, ifname string, ip net.IP, rangeID string) (bool, error) {
	if _, err := os.Lstat(l.addressFile(ip)); err == nil {
		l.refused = ip
		return false, nil
	}
	link := holder(l.dir, id, ifname, ip.To4() != nil)
	if err := os.Remove(link); ignore(err, fs.ErrNotExist) != nil { // of an attempt that was cut off
		return false, err
	}
	if err := os.Symlink(ip.String(), link); err != nil {
		return false, err
	}
	if err := fault.Point("attach.lease.file"); err != nil {
		return false, err
	}
	return l.Store.Reserve(id, ifname, ip, rangeID)
}

// LastReservedIP returns the address that was given last, so that one which has
// just become free is not the next: neighbours may remember it.
func (l *leases) LastReservedIP(rangeID string) (net.IP, error) {
	ip, err := l.Store.LastReservedIP(rangeID)
	if err != nil || ip == nil { // missing, or cut off: from the start
		return nil, fs.ErrNotExist
	}
	return ip, nil
}

// GetByID returns the addresses of a pod's interface.
func (l *leases) GetByID(id, ifname string) []net.IP {
	var ips []net.IP
	for _, a := range heldBy(l.dir, id, ifname) {
		ips = append(ips, a.AsSlice())
	}
	return ips
}

// heldBy returns the addresses that a pod's interface has a lease of.
func heldBy(dir, id, ifname string) []netip.Addr {
	var held []netip.Addr
	for _, ip4 := range []bool{true, false} {
		target, err := os.Readlink(holder(dir, id, ifname, ip4))
		if err != nil {
			continue
		}
		a, err := netip.ParseAddr(target)
		if err != nil {
			continue
		}
		owner, err := os.ReadFile(filepath.Join(dir, addressesName, a.String()))
		if err == nil && string(owner) == content(id, ifname) {
			held = append(held, a)
		}
	}
	return held
}

// ReleaseByID gives back what a pod's interface has. It is nil if it has
// nothing.
func (l *leases) ReleaseByID(id, ifname string) error {
	var errs []error
	for _, ip4 := range []bool{true, false} {
		link := holder(l.dir, id, ifname, ip4)
		target, err := os.Readlink(link)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = l.release(net.ParseIP(target), content(id, ifname))
		}
		if err == nil {
			err = fault.Point("detach.lease.file")
		}
		if err == nil { // last, as the file is found by it
			err = os.Remove(link)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (l *leases) release(ip net.IP, owner string) error {
	if ip == nil {
		return nil
	}
	file := l.addressFile(ip)
	has, err := os.ReadFile(file)
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	// Empty: who took it died before it wrote. It cannot be somebody's who is
	// at work, for that is done under the lock.
	if string(has) == owner || len(has) == 0 {
		return os.Remove(file)
	}
	return nil
}

// lease takes an address from each subnet of the bridge for a pod's interface.
func lease(ctx context.Context, dir, id, ifname string, b Bridge) ([]Address, error) {
	l, done, err := openLeases(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer done()
	var all []Address
	for i, s := range b.Subnets {
		a, err := l.take(i, id, ifname, s, b)
		if err != nil {
			return nil, errors.Join(err, l.ReleaseByID(id, ifname))
		}
		all = append(all, Address{Prefix: netip.PrefixFrom(a, s.Prefix.Bits()), Gateway: s.Gateway})
	}
	return all, nil
}

// take takes an address from one subnet: the wanted one, or the next.
func (l *leases) take(i int, id, ifname string, s Subnet, b Bridge) (netip.Addr, error) {
	r := allocator.Range{
		Subnet:  types.IPNet{IP: s.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(s.Prefix.Bits(), s.Prefix.Addr().BitLen())},
		Gateway: s.Gateway.AsSlice(),
	}
	if err := r.Canonicalize(); err != nil {
		return netip.Addr{}, err
	}
	var want netip.Addr
	for _, a := range b.Addresses {
		if s.Prefix.Contains(a) {
			want = a
		}
	}
	l.refused = nil
	cfg, err := allocator.NewIPAllocator(&allocator.RangeSet{r}, l, i).Get(id, ifname, want.AsSlice())
	if err != nil {
		if l.refused == nil {
			return netip.Addr{}, err
		}
		full := &AddressError{Bridge: b.Name, Subnet: s.Prefix, Address: want, Free: l.free(s)}
		if want.IsValid() {
			owner, _ := os.ReadFile(l.addressFile(want.AsSlice()))
			full.By, _, _ = strings.Cut(string(owner), disk.LineBreak)
		}
		return netip.Addr{}, full
	}
	a, _ := netip.AddrFromSlice(cfg.Address.IP)
	return a.Unmap(), nil
}

// free counts the addresses of a subnet that nobody has.
func (l *leases) free(s Subnet) int64 {
	host := s.Prefix.Addr().BitLen() - s.Prefix.Bits()
	if host >= 63 {
		return math.MaxInt64
	}
	n := int64(1)<<host - 2 // without its own address and the gateway's
	if s.Prefix.Addr().Is4() {
		n-- // nor the broadcast address
	}
	names, _ := os.ReadDir(filepath.Join(l.dir, addressesName))
	for _, name := range names {
		if a, err := netip.ParseAddr(name.Name()); err == nil && s.Prefix.Contains(a) {
			n--
		}
	}
	return n
}

// isHolder reports whether an interface has a lease, or died while it took one.
func isHolder(dir, id, ifname string) bool {
	for _, ip4 := range []bool{true, false} {
		if _, err := os.Lstat(holder(dir, id, ifname, ip4)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// unlease gives the addresses of a pod's interface back.
func unlease(ctx context.Context, dir, id, ifname string) error {
	// Nobody else makes or removes these, so this needs no lock.
	if !isHolder(dir, id, ifname) {
		return nil
	}
	l, done, err := openLeases(ctx, dir)
	if err != nil {
		return err
	}
	defer done()
	return l.ReleaseByID(id, ifname)
}
