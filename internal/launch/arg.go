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

// form says how an argument is printed. Nothing is formatted before somebody
// looks: most programs are only run.
type form uint8

const (
	literal form = iota // the name as it is
	decimal
	octal
	hexadecimal
	quoted    // the name is a string of the program
	bits      // flags of the table
	numbered  // a descriptor with a name
	described // by a function
)

// Arg is an argument of a call: a number, an address in the image, or the
// result of an earlier call.
type Arg struct {
	place place
	load  bool // the argument is what stands at the address
	form  form
	plus  int32 // how far the value is from what the name says
	value uint64
	name  string
	table *flagTable
	text  func() string
}

// String is the argument as a program prints it.
func (a Arg) String() string {
	text := a.name
	switch a.form {
	case literal:
	case decimal:
		text = strconv.FormatInt(int64(a.value), 10)
	case octal:
		text = "0" + strconv.FormatUint(a.value, 8)
	case hexadecimal:
		text = "0x" + strconv.FormatUint(a.value, 16)
	case quoted:
		text = strconv.Quote(a.name)
	case bits:
		text = flagNames(a.value, a.table)
	case numbered:
		text = strconv.FormatUint(a.value, 10) + "<" + a.name + ">"
	case described:
		text = a.text()
	}
	if a.place == inSlots && a.name == "" {
		text = "r" + strconv.FormatUint(a.value/8, 10)
	} else if a.load {
		text = "*" + text
	}
	if a.plus != 0 {
		text += "+" + strconv.Itoa(int(a.plus))
	}
	return text
}

// Int is a number, printed in decimal.
func Int[T ~int | ~int32 | ~int64 | ~uint32 | ~uint64](n T) Arg {
	return Arg{value: uint64(n), form: decimal}
}

// Octal is a number, printed in octal: a file mode.
func Octal(n uint32) Arg { return Arg{value: uint64(n), form: octal} }

// Hex is a number, printed in hexadecimal.
func Hex(n uint64) Arg { return Arg{value: n, form: hexadecimal} }

// Named is a number with a name.
func Named(n int64, name string) Arg { return Arg{value: uint64(n), name: name} }

// Null is the null pointer.
var Null = Named(0, "NULL")

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
var Status = Arg{value: StatusFD, form: numbered, name: "status"}

// Image is the descriptor of the program's own image: a program closes it
// before anything else.
var Image = Arg{value: imageFD, form: numbered, name: "image"}

// Str is a string in the data, NUL at its end.
func (p *Program) Str(s string) Arg {
	if a, ok := p.strings[s]; ok {
		return a
	}
	if strings.IndexByte(s, 0) >= 0 {
		p.fail(fmt.Errorf("string %q has a NUL", s))
	}
	a := p.bytes(1, len(s)+1)
	copy(p.data[a.value:], s)
	a.form, a.name = quoted, s
	p.strings[s] = a
	return a
}

// Bytes is a copy of b in the data, aligned for any structure.
func (p *Program) Bytes(b []byte, name string) Arg {
	a := p.bytes(8, len(b))
	copy(p.data[a.value:], b)
	a.name = name
	return a
}

// bytes reserves n zeroed bytes of the data.
func (p *Program) bytes(align, n int) Arg {
	at := (len(p.data) + align - 1) / align * align
	p.data = append(p.data, make([]byte, at+n-len(p.data))...)
	return Arg{place: inData, value: uint64(at)}
}

// Strings is an array of pointers to strings with a null pointer at its end:
// an argument vector or an environment.
func (p *Program) Strings(ss []string) Arg {
	a := p.bytes(8, 8*(len(ss)+1))
	for i, s := range ss {
		p.Point(a.Plus(8*i), p.Str(s))
	}
	return a.described(func() string {
		words := make([]string, len(ss))
		for i, s := range ss {
			words[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(words, ", ") + "]"
	})
}

func (a Arg) described(text func() string) Arg {
	a.form, a.text = described, text
	return a
}

// Point has the pointer at where set to the address to, both in the image.
func (p *Program) Point(where, to Arg) {
	if where.place != inData || where.value+8 > uint64(len(p.data)) {
		p.fail(fmt.Errorf("BUG: pointer outside the data: %v", where))
	}
	if to.load {
		p.fail(fmt.Errorf("BUG: pointer to what is not known yet: %v", to))
	}
	p.pointers = append(p.pointers, pointer{where.value, to})
}

// Buffer is n bytes of zeroed memory, writable by the program.
func (p *Program) Buffer(n int, name string) Arg {
	a := Arg{place: inBSS, value: uint64(p.bss), name: name}
	p.bss += (n + 7) &^ 7
	return a
}

// Plus is the address n bytes behind a.
func (a Arg) Plus(n int) Arg {
	a.value += uint64(n)
	a.plus += int32(n)
	return a
}

// Load is the 64 bits that stand at the address a when the call is made.
func (a Arg) Load() Arg {
	a.load = true
	return a
}

// As is a with another text.
func (a Arg) As(text string) Arg {
	a.form, a.name, a.plus = literal, text, 0
	return a
}

// slot is a new place for a result.
func (p *Program) slot() Arg {
	a := Arg{place: inSlots, value: uint64(8 * p.slots)}
	p.slots++
	return a
}

// Number is a constant argument in decimal: a descriptor's number.
func (a Arg) Number() string { return strconv.FormatUint(a.value, 10) }
