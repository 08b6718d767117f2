package network

import (
	"errors"
	"syscall"

	mdnetlink "github.com/mdlayher/netlink"
)

// Numbers of nf_tables that package syscall lacks (linux/netfilter/nf_tables.h).
const (
	nftSubsystem        = 10
	nftMsgGetSetElem    = 13
	nftaListTable       = 1
	nftaListSet         = 2
	nftaListElements    = 3
	nftaElemKey         = 1
	nftaElemData        = 2
	nftaDataValue       = 1
	nfprotoInet         = 1
	netlinkNetfilter    = 12
	nlaNested           = 1 << 15
	sizeofNfgenmsg      = 4
	nftaListElementItem = 1
)

// finder asks the kernel for single elements; github.com/google/nftables has only
// the dump of a whole set. The caller must close it.
type finder struct{ *mdnetlink.Conn }

func dialFinder() (finder, error) {
	c, err := mdnetlink.Dial(netlinkNetfilter, nil)
	return finder{c}, err
}

// find returns the value that a map has for an element. It is ENOENT if there is
// no such element.
func (f finder) find(e element) ([]byte, error) {
	ae := mdnetlink.NewAttributeEncoder()
	ae.String(nftaListTable, tableName)
	ae.String(nftaListSet, e.set.Name)
	ae.Nested(nftaListElements, func(ae *mdnetlink.AttributeEncoder) error {
		ae.Nested(nftaListElementItem, func(ae *mdnetlink.AttributeEncoder) error {
			ae.Nested(nftaElemKey, func(ae *mdnetlink.AttributeEncoder) error {
				ae.Bytes(nftaDataValue, e.Key)
				return nil
			})
			return nil
		})
		return nil
	})
	body, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	replies, err := f.Execute(mdnetlink.Message{
		Header: mdnetlink.Header{Type: nftSubsystem<<8 | nftMsgGetSetElem, Flags: mdnetlink.Request},
		Data:   append([]byte{nfprotoInet, 0, 0, 0}, body...),
	})
	if err != nil {
		return nil, err
	}
	if len(replies) == 0 || len(replies[0].Data) < sizeofNfgenmsg {
		return nil, errors.Join(syscall.EBADMSG)
	}
	return elementValue(replies[0].Data[sizeofNfgenmsg:])
}

// elementValue returns the value of the only element in a message.
func elementValue(msg []byte) (value []byte, err error) {
	path := []uint16{nftaListElements, nftaListElementItem, nftaElemData, nftaDataValue}
	b := msg
	for _, kind := range path {
		attrs, err := mdnetlink.UnmarshalAttributes(b)
		if err != nil {
			return nil, err
		}
		b = nil
		for _, a := range attrs {
			if a.Type&^nlaNested == kind {
				b = a.Data
			}
		}
		if b == nil { // a set has no values
			return nil, nil
		}
	}
	return b, nil
}
