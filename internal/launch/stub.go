//go:build linux

package launch

import (
	_ "embed"
	"encoding/binary"
)

//go:embed stub/amd64.bin
var stubAMD64 []byte

//go:embed stub/arm64.bin
var stubARM64 []byte

// Where things stand in the image; stub/*.s know these numbers too.
const (
	headerSize = 64 // {status u64, report [2]u32, args [6]u64}
	recordSize = 96
	maxErrs    = 4
)

// kind says what a record does with its arguments a, b, c, d.
type kind uint8

const (
	kindCall  kind = iota // out = the system call's result
	kindIfEq              // if a&b == c go to d
	kindIfNe              // if a&b != c go to d
	kindSum               // out = a + b
	kindStore             // the 32 bits at out = a
)

// record is one step of the program as the interpreter reads it, with every
// address resolved.
type record struct {
	nr    uint32
	kind  kind
	loads uint8 // bit n: argument n is the address of the value
	index uint16
	args  [6]uint64
	out   uint64
	errs  [maxErrs]recordErr
}

// recordErr says where to go on when a call fails with errno.
type recordErr struct{ errno, next uint32 }

func (r *record) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, r.nr)
	b = append(b, byte(r.kind), r.loads)
	b = le.AppendUint16(b, r.index)
	for _, a := range r.args {
		b = le.AppendUint64(b, a)
	}
	b = le.AppendUint64(b, r.out)
	for _, e := range r.errs {
		b = le.AppendUint32(b, e.errno)
		b = le.AppendUint32(b, e.next)
	}
	return b
}
