//go:build linux

package launch

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Program is a launch program under construction. The zero value is not ready
// for use: call [New]. Methods record the first mistake, which Image and Start
// return.
type Program struct {
	// Name is the program's argv[0], and with that what ps shows for its
	// processes.
	Name string

	steps    []step
	data     []byte
	strings  map[string]Arg
	structs  map[string]Arg
	args     []Arg // of all steps
	pointers []pointer
	slots    int
	bss      int
	files    []*os.File
	note     *note
	image    []byte
	err      error
}

// pointer is an address to be filled in when the layout is known.
type pointer struct {
	at uint64 // in the data
	to Arg
}

// step is a record that may still refer to labels.
type step struct {
	kind   kind
	call   string
	nr     [2]int
	args   []Arg
	out    Arg // constant place: no result wanted
	errs   []onErr
	target *Label
	note   *note
}

// note says what calls are for; it is formatted when somebody looks.
type note struct {
	format string
	args   []any
}

func (n *note) String() string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf(n.format, n.args...)
}

type onErr struct {
	errno syscall.Errno
	to    *Label // nil: go on with the next step
}

// Label is a step to jump to.
type Label struct {
	name string
	step int // -1 until placed
}

// String is the name with what is no letter or digit replaced.
func (l *Label) String() string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, l.name)
}

// New returns an empty program.
func New(name string) *Program {
	p, ok := free.Get().(*Program)
	if !ok {
		p = &Program{strings: make(map[string]Arg, 128), structs: make(map[string]Arg, 32)}
	}
	p.Name = name
	return p
}

// free are programs with memory to be used again: a container's program takes
// 200 KiB, which would otherwise be fresh memory for every start.
var free sync.Pool

// Free leaves the program's memory to the next one. Nobody may use it or what
// Image returned afterwards, and neither a [Run] of it but for Close. Who does
// not call Free leaves the memory to the garbage collector.
func (p *Program) Free() {
	clear(p.steps)
	clear(p.args)
	clear(p.files)
	clear(p.strings)
	clear(p.structs)
	free.Put(&Program{
		steps: p.steps[:0], args: p.args[:0], files: p.files[:0], data: p.data[:0], pointers: p.pointers[:0], image: p.image[:0],
		strings: p.strings, structs: p.structs,
	})
	*p = Program{}
}

func (p *Program) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// File gives the process started from the program a descriptor of f and
// returns its number. The program borrows f until [Start] has returned. The
// same file has the same number.
func (p *Program) File(f *os.File, name string) Arg {
	for i, g := range p.files {
		if g == f && f != nil {
			return Arg{value: uint64(firstFD + i), form: numbered, name: name}
		}
	}
	p.files = append(p.files, f)
	return Arg{value: uint64(firstFD + len(p.files) - 1), form: numbered, name: name}
}

// FirstFree is the first descriptor that the program does not know: descriptors
// from here on are results of its own calls.
func (p *Program) FirstFree() int { return firstFD + len(p.files) }

// Note says in a few words what the following calls are for; a failure of
// theirs is reported with it.
func (p *Program) Note(format string, args ...any) { p.note = &note{format, args} }

// Call appends a system call and returns its result as an argument for later
// calls. An error that no [Call.On] expects ends the process with a report.
func (p *Program) Call(name string, args ...Arg) Call {
	nr, ok := numbers[name]
	if !ok {
		p.fail(fmt.Errorf("BUG: unknown system call %q", name))
	}
	if len(args) > 6 {
		p.fail(fmt.Errorf("BUG: %s with %d arguments", name, len(args)))
	}
	p.steps = append(p.steps, step{kind: kindCall, call: name, nr: nr, args: p.keep(args...), note: p.note})
	return Call{p: p, step: len(p.steps) - 1}
}

// keep copies arguments to where those of all steps are: one allocation for
// many.
func (p *Program) keep(args ...Arg) []Arg {
	first := len(p.args)
	p.args = append(p.args, args...)
	return p.args[first:len(p.args):len(p.args)]
}

// Call is a call just appended.
type Call struct {
	p    *Program
	step int
}

// Result is the call's result: a slot that holds 0 before the call was made.
func (c Call) Result() Arg {
	s := &c.p.steps[c.step]
	if s.out.place == constant {
		s.out = c.p.slot()
	}
	return s.out.loaded()
}

// To has the 64 bits of the result stored at the address a.
func (c Call) To(a Arg) Call {
	s := &c.p.steps[c.step]
	if s.out.place != constant {
		c.p.fail(fmt.Errorf("BUG: two places for the result of %s", s.call))
	}
	s.out = c.p.writable(a)
	return c
}

// Into has the result stored in a slot of [Program.Var].
func (c Call) Into(v Arg) {
	v.load = false
	c.To(v)
}

// writable is the address a, to which a step writes.
func (p *Program) writable(a Arg) Arg {
	if a.place == constant || a.load {
		p.fail(fmt.Errorf("BUG: not an address in the image: %v", a))
	}
	return a
}

// loaded is the value in a slot; it is printed by the slot's name.
func (a Arg) loaded() Arg {
	a.load = true
	return a
}

// On has the program go to label to when the call fails with errno.
func (c Call) On(errno syscall.Errno, to *Label) Call {
	s := &c.p.steps[c.step]
	s.errs = append(s.errs, onErr{errno, to})
	if len(s.errs) > maxErrs {
		c.p.fail(fmt.Errorf("BUG: more than %d expected errors of %s", maxErrs, s.call))
	}
	return c
}

// Ignore has the program go on when the call fails with one of errnos.
func (c Call) Ignore(errnos ...syscall.Errno) Call {
	for _, e := range errnos {
		c.On(e, nil)
	}
	return c
}

// Retry has the program make the call again when it fails with one of errnos.
func (c Call) Retry(errnos ...syscall.Errno) Call {
	again := &Label{name: "retry", step: c.step}
	for _, e := range errnos {
		c.On(e, again)
	}
	return c
}

// NewLabel returns a label to be placed once with [Program.Place].
// Bytes of the name that do not belong into one are replaced when it is printed.
func (p *Program) NewLabel(name string) *Label { return &Label{name: name, step: -1} }

// Place puts the label before the next step.
func (p *Program) Place(l *Label) {
	if l.step >= 0 {
		p.fail(fmt.Errorf("BUG: label %s placed twice", l.name))
	}
	l.step = len(p.steps)
}

// Here is a label before the next step.
func (p *Program) Here(name string) *Label {
	l := p.NewLabel(name)
	p.Place(l)
	return l
}

// IfZero jumps if a is 0.
func (p *Program) IfZero(a Arg, to *Label) { p.IfEqual(a, ^uint64(0), 0, to) }

// IfEqual jumps if the bits mask of a are want.
func (p *Program) IfEqual(a Arg, mask, want uint64, to *Label) {
	p.steps = append(p.steps, step{kind: kindIfEq, args: p.keep(a, Hex(mask), Hex(want)), target: to})
}

// IfNot jumps if the bits mask of a are not want.
func (p *Program) IfNot(a Arg, mask, want uint64, to *Label) {
	p.steps = append(p.steps, step{kind: kindIfNe, args: p.keep(a, Hex(mask), Hex(want)), target: to})
}

// Goto jumps.
func (p *Program) Goto(to *Label) { p.IfEqual(Int(0), 0, 0, to) }

// Sum is a+b, stored in the slot into (a result of an earlier Sum or of
// [Program.Var]).
func (p *Program) Sum(into, a, b Arg) {
	into.load = false
	p.steps = append(p.steps, step{kind: kindSum, args: p.keep(a, b), out: p.writable(into)})
}

// Var is a slot that holds 0 at first: a counter.
func (p *Program) Var() Arg { return p.slot().loaded() }

// Store32 writes the low 32 bits of a to the address to.
func (p *Program) Store32(to, a Arg) {
	p.steps = append(p.steps, step{kind: kindStore, args: p.keep(a), out: p.writable(to)})
}

// Len is the number of steps.
func (p *Program) Len() int { return len(p.steps) }

// check reports what is wrong with the program as a whole.
func (p *Program) check() error {
	if p.err != nil {
		return fmt.Errorf("launch program: %w", p.err)
	}
	if len(p.steps) == 0 || len(p.steps) > 0xffff {
		return errors.New("launch program: " + strconv.Itoa(len(p.steps)) + " steps")
	}
	for i := range p.steps {
		s := &p.steps[i]
		if s.target != nil && (s.target.step < 0 || s.target.step >= len(p.steps)) {
			return fmt.Errorf("launch program: BUG: label %s is not placed", s.target.name)
		}
		for _, e := range s.errs {
			if e.to != nil && (e.to.step < 0 || e.to.step >= len(p.steps)) {
				return fmt.Errorf("launch program: BUG: label %s is not placed", e.to.name)
			}
		}
	}
	last := &p.steps[len(p.steps)-1]
	jump := last.kind == kindIfEq && last.args[1].value == 0
	if !jump && last.call != "exit_group" {
		return errors.New("launch program: BUG: runs past its end")
	}
	return nil
}

// String prints the program in the manner of strace, one call a line.
func (p *Program) String() string {
	names := make(map[int][]string)
	mark := func(l *Label) {
		if l == nil || l.step < 0 {
			return
		}
		for _, n := range names[l.step] {
			if n == l.String() {
				return
			}
		}
		names[l.step] = append(names[l.step], l.String())
	}
	for i := range p.steps {
		mark(p.steps[i].target)
		for _, e := range p.steps[i].errs {
			if e.to == nil || e.to.step != i { // no Retry
				mark(e.to)
			}
		}
	}
	var b strings.Builder
	var note *note
	for i := range p.steps {
		s := &p.steps[i]
		for _, n := range names[i] {
			b.WriteString(n + ":\n")
		}
		if s.kind == kindCall && s.note != note {
			note = s.note
			b.WriteString("\t# " + note.String() + "\n")
		}
		b.WriteString("\t" + s.String() + "\n")
	}
	return b.String()
}

// String prints one step.
func (s *step) String() string {
	texts := make([]string, len(s.args))
	for i, a := range s.args {
		texts[i] = a.String()
	}
	switch s.kind {
	case kindIfEq, kindIfNe:
		if s.args[1].value == 0 {
			return "goto " + s.target.String()
		}
		op := map[kind]string{kindIfEq: "==", kindIfNe: "!="}[s.kind]
		if s.args[1].value == ^uint64(0) {
			return fmt.Sprintf("if %s %s %s goto %s", texts[0], op, texts[2], s.target)
		}
		return fmt.Sprintf("if %s & %s %s %s goto %s", texts[0], texts[1], op, texts[2], s.target)
	case kindSum:
		return fmt.Sprintf("%s = %s + %s", s.out, texts[0], texts[1])
	case kindStore:
		return fmt.Sprintf("*(u32*)%s = %s", s.out, texts[0])
	case kindCall:
	}
	line := s.call + "(" + strings.Join(texts, ", ") + ")"
	if s.out.place != constant {
		line = s.out.String() + " = " + line
	}
	for _, e := range s.errs {
		to := "ignore"
		if e.to != nil {
			to = e.to.String()
		}
		line += " | " + errnoName(e.errno) + ": " + to
	}
	return line
}
