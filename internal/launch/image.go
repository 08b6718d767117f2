//go:build linux

package launch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
)

// The image: one page of header and code, then the data. The data's address
// equals its offset in the file modulo 64 KiB, the largest page of arm64.
const (
	codeAddr = 0x400000
	dataOff  = 0x1000
	dataAddr = 0x600000 + dataOff
	elfSize  = 64
	phdrSize = 56
	phdrs    = 3
	codeOff  = elfSize + phdrs*phdrSize
)

// arch is what differs between the machines.
type arch struct {
	machine uint16 // ELF e_machine
	stub    []byte
	number  int // which column of numbers
}

var arches = map[string]arch{
	"amd64": {62, stubAMD64, 0},
	"arm64": {183, stubARM64, 1},
}

// ErrArch says that launch programs do not run on this architecture.
var ErrArch = fmt.Errorf("launch programs run on amd64 and arm64, not on %s: %w", runtime.GOARCH, errors.ErrUnsupported)

// Image returns the program as a static ELF executable for goarch. The program
// keeps it: it is valid until the next call of Image or Free.
func (p *Program) Image(goarch string) ([]byte, error) {
	a, ok := arches[goarch]
	if !ok {
		return nil, ErrArch
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	l := p.layout()
	img := appendELF(slices.Grow(p.image[:0], dataOff+int(l.fileSize)), a, l)
	img = append(img, a.stub...)
	if len(img) > dataOff {
		return nil, errors.New("launch program: BUG: code larger than its page")
	}
	img = append(img, make([]byte, dataOff-len(img))...)
	img = binary.LittleEndian.AppendUint64(img, StatusFD)
	img = append(img, make([]byte, headerSize-8)...)
	for i := range p.steps {
		r, err := p.record(i, a, l)
		if err != nil {
			return nil, err
		}
		img = r.append(img)
	}
	data := len(img)
	img = append(img, p.data...)
	for _, ptr := range p.pointers {
		binary.LittleEndian.PutUint64(img[data+int(ptr.at):], l.address(ptr.to))
	}
	p.image = img
	return img, nil
}

// layout is where the parts of the data segment begin.
type layout struct {
	data, slots, bss  uint64 // addresses
	fileSize, memSize uint64 // of the segment
	discard           uint64 // where results go that nobody wants
	stepAddr          uint64
}

func (p *Program) layout() layout {
	l := layout{stepAddr: dataAddr + headerSize}
	l.data = l.stepAddr + uint64(len(p.steps))*recordSize
	l.fileSize = l.data + uint64(len(p.data)) - dataAddr
	// The first of the header's resolved arguments doubles as the place for
	// unwanted results: it is written before every step anyway.
	l.discard = dataAddr + 16
	l.slots = (dataAddr + l.fileSize + 15) &^ 15
	l.bss = l.slots + uint64(8*p.slots)
	l.memSize = l.bss + uint64(p.bss) - dataAddr
	return l
}

func (l layout) address(a Arg) uint64 {
	switch a.place {
	case inData:
		return l.data + a.value
	case inSlots:
		return l.slots + a.value
	case inBSS:
		return l.bss + a.value
	case constant:
	}
	return a.value
}

func (l layout) step(n int) uint64 { return l.stepAddr + uint64(n)*recordSize }

func (p *Program) record(i int, a arch, l layout) (record, error) {
	s := &p.steps[i]
	r := record{kind: s.kind, index: uint16(i), out: l.discard}
	if s.kind == kindCall {
		r.nr = uint32(s.nr[a.number])
	}
	for n, arg := range s.args {
		r.args[n] = l.address(arg)
		if arg.load {
			r.loads |= 1 << n
		}
	}
	if s.target != nil {
		r.args[3] = l.step(s.target.step)
	}
	if s.out.place != constant {
		r.out = l.address(s.out)
	}
	for n, e := range s.errs {
		next := l.step(i + 1)
		if e.to != nil {
			next = l.step(e.to.step)
		}
		r.errs[n] = recordErr{uint32(e.errno), uint32(next)}
	}
	if l.memSize > 1<<24 {
		return r, fmt.Errorf("launch program: %d bytes of data", l.memSize)
	}
	return r, nil
}

// appendELF writes the ELF header and three program headers: code that is not
// writable, data that is not executable, a stack that is not executable.
func appendELF(b []byte, a arch, l layout) []byte {
	le := binary.LittleEndian
	b = append(b, 0x7f, 'E', 'L', 'F', 2, 1, 1, 0) // 64 bit, little endian
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, a.machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, codeAddr+codeOff)
	b = le.AppendUint64(b, elfSize) // program headers
	b = le.AppendUint64(b, 0)       // no sections
	b = le.AppendUint32(b, 0)
	for _, n := range []uint16{elfSize, phdrSize, phdrs, 0, 0, 0} {
		b = le.AppendUint16(b, n)
	}
	phdr := func(typ, flags uint32, off, addr, file, mem, align uint64) {
		b = le.AppendUint32(b, typ)
		b = le.AppendUint32(b, flags)
		for _, n := range []uint64{off, addr, addr, file, mem, align} {
			b = le.AppendUint64(b, n)
		}
	}
	const load, stack, r, w, x = 1, 0x6474e551, 4, 2, 1
	code := uint64(codeOff + len(a.stub))
	phdr(load, r|x, 0, codeAddr, code, code, 0x10000)
	phdr(load, r|w, dataOff, dataAddr, l.fileSize, l.memSize, 0x10000)
	phdr(stack, r|w, 0, 0, 0, 0, 16)
	return b
}
