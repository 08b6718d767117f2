package network

import (
	"github.com/vishvananda/netlink"

	"github.com/barepod/barepod/namespace"
)

// Stats returns what the interfaces of a network namespace count, loopback
// included, in the order of their numbers.
func Stats(ns *namespace.Handle) (stats []InterfaceStats, err error) {
	err = ns.Do(func() error {
		links, err := dump((&netlink.Handle{}).LinkList)
		for _, l := range links {
			a := l.Attrs()
			if a.Statistics == nil {
				continue
			}
			stats = append(stats, InterfaceStats{
				Name:    a.Name,
				RxBytes: a.Statistics.RxBytes, RxPackets: a.Statistics.RxPackets, RxErrors: a.Statistics.RxErrors, RxDropped: a.Statistics.RxDropped,
				TxBytes: a.Statistics.TxBytes, TxPackets: a.Statistics.TxPackets, TxErrors: a.Statistics.TxErrors, TxDropped: a.Statistics.TxDropped,
			})
		}
		return err
	})
	return stats, wrap("count", "", err)
}
