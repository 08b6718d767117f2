//go:build linux

package launch

import (
	"fmt"
	"strconv"
	"strings"
)

// place says what an argument's value is relative to.
type place uint8

const (
	constant place = iota // the value itself
	inData                // an offset in the data
	inSlots               // an offset in the slots
	inBSS                 // an offset in the zeroed memory
)

// Arg is an argument of a call: a number, an address in the image, or the
// result of an earlier call, with the text to print for it.
type Arg struct {
	place place
	value uint64
	load  bool // the argument is what stands at the address
	text  string
}

// Int is a number, printed in decimal.
func Int[T ~int | ~int32 | ~int64 | ~uint32 | ~uint64](n T) Arg {
	return Arg{value: uint64(n), text: strconv.FormatInt(int64(n), 10)}
}

// Octal is a number, printed in octal: a file mode.
func Octal(n uint32) Arg {
	return Arg{value: uint64(n), text: "0" + strconv.FormatUint(uint64(n), 8)}
}

// Hex is a number, printed in hexadecimal.
func Hex(n uint64) Arg {
	return Arg{value: n, text: "0x" + strconv.FormatUint(n, 16)}
}

// Named is a number with a name.
func Named(n int64, name string) Arg { return Arg{value: uint64(n), text: name} }

// Null is the null pointer.
var Null = Arg{text: "NULL"}

// AtFDCWD is the working directory.
var AtFDCWD = Named(-100, "AT_FDCWD")

// NoArg is 0 where the kernel ignores the argument.
var NoArg = Int(0)

// StatusFD is the descriptor on which a program speaks with its starter.
const StatusFD = 3

// imageFD is the image's own descriptor, through which it is executed.
const imageFD = 4

// firstFD is the first descriptor given out by [Program.File].
const firstFD = 5

// Status is [StatusFD] as an argument.
var Status = Arg{value: StatusFD, text: "3<status>"}

// Image is the descriptor of the program's own image: a program closes it
// before anything else.
var Image = Arg{value: imageFD, text: "4<image>"}

// Str is a string in the data, NUL at its end.
func (p *Program) Str(s string) Arg {
	if a, ok := p.strings[s]; ok {
		return a
	}
	if strings.IndexByte(s, 0) >= 0 {
		p.fail(fmt.Errorf("string %q has a NUL", s))
	}
	a := p.bytes(append([]byte(s), 0), 1, strconv.Quote(s))
	p.strings[s] = a
	return a
}

// Bytes is a copy of b in the data, aligned for any structure.
func (p *Program) Bytes(b []byte, text string) Arg { return p.bytes(b, 8, text) }

func (p *Program) bytes(b []byte, align int, text string) Arg {
	for len(p.data)%align != 0 {
		p.data = append(p.data, 0)
	}
	a := Arg{place: inData, value: uint64(len(p.data)), text: text}
	p.data = append(p.data, b...)
	return a
}

// Strings is an array of pointers to strings with a null pointer at its end:
// an argument vector or an environment.
func (p *Program) Strings(ss []string) Arg {
	quoted := make([]string, len(ss))
	ptrs := make([]Arg, len(ss)+1)
	for i, s := range ss {
		ptrs[i] = p.Str(s)
		quoted[i] = strconv.Quote(s)
	}
	a := p.Bytes(make([]byte, 8*len(ptrs)), "["+strings.Join(quoted, ", ")+"]")
	for i, s := range ptrs {
		p.Point(a.Plus(8*i), s)
	}
	return a
}

// Point has the pointer at where set to the address to, both in the image.
func (p *Program) Point(where, to Arg) {
	if where.place != inData {
		p.fail(fmt.Errorf("BUG: pointer outside the data: %s", where.text))
	}
	p.pointers = append(p.pointers, pointer{where.value, to})
}

// Buffer is n bytes of zeroed memory, writable by the program.
func (p *Program) Buffer(n int, name string) Arg {
	a := Arg{place: inBSS, value: uint64(p.bss), text: name}
	p.bss += (n + 7) &^ 7
	return a
}

// Plus is the address n bytes behind a.
func (a Arg) Plus(n int) Arg {
	a.value += uint64(n)
	if n != 0 {
		a.text += "+" + strconv.Itoa(n)
	}
	return a
}

// Load is the 64 bits that stand at the address a when the call is made.
func (a Arg) Load() Arg {
	a.load = true
	a.text = "*" + a.text
	return a
}

// As is a with another text.
func (a Arg) As(text string) Arg {
	a.text = text
	return a
}

// slot is a new place for a result.
func (p *Program) slot() Arg {
	a := Arg{place: inSlots, value: uint64(8 * p.slots), text: "r" + strconv.Itoa(p.slots)}
	p.slots++
	return a
}

// Number is a constant argument in decimal: a descriptor's number.
func (a Arg) Number() string { return strconv.FormatUint(a.value, 10) }
