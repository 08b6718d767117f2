package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// The nftables table, for all pods of the network namespace: its rules never
// change, only the elements of its sets and maps do. So a pod or a port costs
// the same however many there are.
//
//	table inet barepod {
//		set bridges { type ifname }
//		set subnets4 { type ipv4_addr; flags interval }
//		set plain4 { type ipv4_addr }           # pods that are not masqueraded
//		set isolated4 { type ipv4_addr }
//		set publishers4 { type ipv4_addr }      # pods with host ports
//		map ports4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//		map anyports4 { type inet_proto . inet_service : ipv4_addr . inet_service }
//		...                                     # and the same for IPv6
//	}
//
// A pod without any of this has no element, on purpose: to take one out costs
// some 10 ms, for the kernel has who closes a socket of nf_tables wait until
// what was removed is freed (nft_rcv_nl_event, 6.18).
const (
	tableName = "barepod"
	// tableVersion changes with the rules. It stands on the first of them.
	tableVersion = "barepod network 1"
)

// The priorities of the hooks are those that nft calls raw, dstnat, filter and
// srcnat.

// sets are the sets and maps of one family.
type sets struct {
	subnets, plain, isolated, publishers, ports, anyPorts *nftables.Set
	nfproto                                               byte
	addrLen                                               int
	daddr, saddr                                          uint32 // offsets in the header
}

func newTable() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

func newBridges(t *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: t, Name: "bridges", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}
}

func newSets(t *nftables.Table, ip4 bool) sets {
	s, suffix, addr := sets{nfproto: syscall.AF_INET, addrLen: 4, saddr: 12, daddr: 16}, "4", nftables.TypeIPAddr
	if !ip4 {
		s, suffix, addr = sets{nfproto: syscall.AF_INET6, addrLen: 16, saddr: 8, daddr: 24}, "6", nftables.TypeIP6Addr
	}
	place := nftables.MustConcatSetType(addr, nftables.TypeInetService)
	s.subnets = &nftables.Set{Table: t, Name: "subnets" + suffix, KeyType: addr, Interval: true}
	s.plain = &nftables.Set{Table: t, Name: "plain" + suffix, KeyType: addr}
	s.isolated = &nftables.Set{Table: t, Name: "isolated" + suffix, KeyType: addr}
	s.publishers = &nftables.Set{Table: t, Name: "publishers" + suffix, KeyType: addr}
	s.ports = &nftables.Set{
		Table: t, Name: "ports" + suffix, IsMap: true, Concatenation: true, DataType: place,
		KeyType: nftables.MustConcatSetType(addr, nftables.TypeInetProto, nftables.TypeInetService),
	}
	s.anyPorts = &nftables.Set{
		Table: t, Name: "anyports" + suffix, IsMap: true, Concatenation: true, DataType: place,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService),
	}
	return s
}

func (s sets) all() []*nftables.Set {
	return []*nftables.Set{s.subnets, s.plain, s.isolated, s.publishers, s.ports, s.anyPorts}
}

// makeTable makes the table in one transaction. If there is one it is left as it
// is, and looked at: one of another version of ours is an error.
func makeTable() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := c.CreateTable(newTable()) // all or nothing: fails if it exists
	bridges := newBridges(t)
	v4, v6 := newSets(t, true), newSets(t, false)
	for i, s := range slices.Concat([]*nftables.Set{bridges}, v4.all(), v6.all()) {
		// Within the transaction. Without one, AddSet counts in a variable of
		// its package, which is not for several goroutines.
		s.ID = uint32(i + 1)
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	r := &rules{c: c, t: t, bridges: bridges, version: true}
	r.guard(v4)
	hostPorts := r.hostPorts(v4, v6)
	r.redirect("prerouting", nftables.ChainHookPrerouting, hostPorts)
	r.redirect("output", nftables.ChainHookOutput, hostPorts)
	r.isolate(v4, v6)
	r.translate(v4, v6)
	err = c.Flush()
	if errors.Is(err, syscall.EEXIST) {
		return checkTable()
	}
	return nftError(err)
}

// nftError turns the error for a kernel without nf_tables into a typed one.
func nftError(err error) error {
	if errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.EOPNOTSUPP) {
		return &UnsupportedError{Feature: "a Bridge", Needs: "a kernel with nf_tables, NAT and fib for the inet family", Err: err}
	}
	return err
}

// checkTable checks that the table is there and of this version.
func checkTable() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	if there, err := hasTable(c); err != nil || !there {
		return errors.Join(err, fmt.Errorf("nftables table inet %s: %w", tableName, fs.ErrNotExist))
	}
	found, err := c.GetRules(newTable(), &nftables.Chain{Name: guardChain})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("nftables table inet %s has no rules of ours", tableName)
	}
	if v, _ := userdata.GetString(found[0].UserData, userdata.TypeComment); v != tableVersion {
		return fmt.Errorf("nftables table inet %s is of version %q, not %q", tableName, v, tableVersion)
	}
	return nil
}

// hasTable reports whether there is a table of ours. The dumps of the nftables
// package would not say why they fail.
func hasTable(c *nftables.Conn) (bool, error) {
	t := newTable()
	_, err := c.GetSetByName(t, newBridges(t).Name)
	if errors.Is(err, syscall.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// rules adds the rules to the table.
type rules struct {
	c       *nftables.Conn
	t       *nftables.Table
	bridges *nftables.Set
	version bool // has to go on the next rule
}

func (r *rules) chain(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	ch := &nftables.Chain{Name: name, Table: r.t}
	if hook != nil {
		ch.Type, ch.Hooknum, ch.Priority = kind, hook, &priority
	}
	return r.c.AddChain(ch)
}

func (r *rules) add(chain *nftables.Chain, exprs ...[]expr.Any) {
	rule := &nftables.Rule{Table: r.t, Chain: chain}
	if r.version {
		r.version = false
		rule.UserData = userdata.AppendString(nil, userdata.TypeComment, tableVersion)
	}
	for _, e := range exprs {
		rule.Exprs = append(rule.Exprs, e...)
	}
	r.c.AddRule(rule)
}

// guard keeps pods away from the host's loopback services: a bridge that host
// ports lead through from 127.0.0.1 has route_localnet, and would let them in
// (CVE-2020-8558). It comes before connection tracking, which gives the answers
// to such connections their addresses back. IPv6 drops ::1 by itself.
func (r *rules) guard(v4 sets) {
	ch := r.chain(guardChain, nftables.ChainTypeFilter, nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw)
	for _, offset := range []uint32{v4.saddr, v4.daddr} {
		r.add(ch, r.from(), proto(v4), load(offset, 1), equal(loopback4), verdict(expr.VerdictDrop, ""))
	}
}

// hostPorts looks up where a port leads: first by address, then for all.
func (r *rules) hostPorts(families ...sets) *nftables.Chain {
	ch := r.chain("hostports", "", nil, 0)
	// The kernel takes nothing from another interface to ::1, nor from there
	// (RFC 4291), and has no parameter about it as IPv4 has.
	v6 := families[len(families)-1]
	r.add(ch, proto(v6), load(v6.daddr, v6.addrLen), equal(loopback6), verdict(expr.VerdictReturn, ""))
	for _, s := range families {
		// Registers of 4 bytes: the address comes first, or nothing.
		at := uint32(reg32 + s.addrLen/4)
		to := []expr.Any{&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(s.nfproto), RegAddrMin: 1, RegProtoMin: at, Specified: true}}
		r.add(ch, proto(s), load(s.daddr, s.addrLen), protoAndPort(at), lookup(s.ports), to)
		r.add(ch, proto(s), protoAndPort(reg32), lookup(s.anyPorts), to)
	}
	return ch
}

// redirect sends what is for the host itself to hostPorts.
func (r *rules) redirect(name string, hook *nftables.ChainHook, hostPorts *nftables.Chain) {
	ch := r.chain(name, nftables.ChainTypeNAT, hook, *nftables.ChainPriorityNATDest)
	local := []expr.Any{&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true}}
	r.add(ch, local, equal(binaryutil.NativeEndian.PutUint32(syscall.RTN_LOCAL)), verdict(expr.VerdictJump, hostPorts.Name))
}

// isolate drops what goes from one isolated pod to another through the host's
// routing, by a host port, too. The bridge keeps its ports apart by itself.
func (r *rules) isolate(families ...sets) {
	ch := r.chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter)
	for _, s := range families {
		r.add(ch, proto(s), load(s.saddr, s.addrLen), lookup(s.isolated), load(s.daddr, s.addrLen), lookup(s.isolated),
			verdict(expr.VerdictDrop, ""))
	}
}

// translate gives packets another source: those of pods that leave the host, and
// those that a host port brings back to a bridge, or the answer would not come
// through the host.
func (r *rules) translate(families ...sets) {
	masquerade := []expr.Any{&expr.Masq{}}
	ch := r.chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource)
	for _, s := range families {
		// Not by the interface that they came from: bridged packets have none
		// here (br_netfilter).
		pods := slices.Concat(proto(s), load(s.saddr, s.addrLen), lookup(s.subnets))
		r.add(ch, pods, r.to(true), dnatted(), masquerade)
		r.add(ch, pods, load(s.saddr, s.addrLen), lookupNot(s.plain), r.to(false), masquerade)
	}
	v4 := families[0] // from the host itself, through a port of 127.0.0.1
	r.add(ch, proto(v4), load(v4.saddr, 1), equal(loopback4), r.to(true), masquerade)
}

// guardChain is the chain that comes first.
const guardChain = "guard"

// The first byte of 127.0.0.0/8, and ::1.
var (
	loopback4 = []byte{127}
	loopback6 = netip.IPv6Loopback().AsSlice()
)

const reg32 = 8 // NFT_REG32_00, the first four bytes of register 1

func (r *rules) from() []expr.Any { return r.device(expr.MetaKeyIIFNAME, true) }

func (r *rules) to(yes bool) []expr.Any { return r.device(expr.MetaKeyOIFNAME, yes) }

func (r *rules) device(key expr.MetaKey, yes bool) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: r.bridges.Name, SetID: r.bridges.ID, Invert: !yes},
	}
}

func proto(s sets) []expr.Any {
	return append([]expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}}, equal([]byte{s.nfproto})...)
}

func load(offset uint32, n int) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(n)}}
}

func protoAndPort(at uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: at},
		&expr.Payload{DestRegister: at + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

func equal(b []byte) []expr.Any {
	return []expr.Any{&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b}}
}

// lookup looks register 1 up, and puts the value that a map has for it there.
func lookup(s *nftables.Set) []expr.Any {
	l := &expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID}
	if s.IsMap {
		l.DestRegister, l.IsDestRegSet = 1, true
	}
	return []expr.Any{l}
}

func lookupNot(s *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID, Invert: true}}
}

// dnatted is whether a host port has given the connection its destination.
func dnatted() []expr.Any {
	const dstNAT = 1 << 5 // IPS_DST_NAT
	zero := make([]byte, 4)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(dstNAT), Xor: zero},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: zero},
	}
}

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}
