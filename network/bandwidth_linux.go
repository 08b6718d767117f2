package network

import (
	"math"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

const (
	// minBurst is the smallest bucket that holds the largest packet.
	minBurst = 64 << 10
	// queueTime is how long a packet waits at the most, in seconds, before it
	// is dropped: what the CNI plugin bandwidth has, too.
	queueTime = 0.025
)

// limit limits what a link sends by a token bucket (tc-tbf(8)). rate and burst
// are in bits; a rate of 0 is no limit.
func limit(c *conn, name string, rate, burst int64, mtu int) error {
	if rate == 0 {
		return nil
	}
	link, err := c.link(name)
	if err != nil {
		return err
	}
	bytes, bucket := float64(rate)/8, float64(burst)/8
	if burst == 0 {
		bucket = max(bytes/10, minBurst)
	}
	bucket = min(bucket, math.MaxUint32/2)
	opt := nl.TcTbfQopt{
		Limit:  uint32(min(bytes*queueTime+bucket, math.MaxUint32)),
		Buffer: uint32(bucket / bytes * 1e6 * netlink.TickInUsec()),
		Mtu:    uint32(mtu),
	}
	opt.Rate.Rate = uint32(min(bytes, math.MaxUint32))
	options := attr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_TBF_PARMS, opt.Serialize())
	options.AddRtAttr(nl.TCA_TBF_BURST, nl.Uint32Attr(uint32(bucket)))
	if bytes > math.MaxUint32 {
		options.AddRtAttr(nl.TCA_TBF_RATE64, nl.Uint64Attr(uint64(bytes)))
	}
	msg := &nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(link.Attrs().Index), Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	err = do("limit "+name, c.request(syscall.RTM_NEWQDISC, syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE, msg,
		attr(nl.TCA_KIND, nl.ZeroTerminated("tbf")), options))
	if ignore(err, os.ErrNotExist) == nil && err != nil {
		return &UnsupportedError{Feature: "Bandwidth", Needs: "a kernel with the token bucket queue, CONFIG_NET_SCH_TBF", Err: err}
	}
	return err
}
