package namespace

import (
	"encoding"
	"fmt"
	"io/fs"
	"iter"
	"strings"
)

// Kind is a set of kinds of namespaces. The values are the kernel's CLONE_NEW*
// flags. In text, and so in JSON, it is the list of their names in
// /proc/<pid>/ns: "net,ipc,uts".
type Kind uint32

// The kinds of namespaces, see namespaces(7).
const (
	Mount  Kind = 0x00020000 // "mnt": the mount table
	UTS    Kind = 0x04000000 // "uts": host name and domain name
	IPC    Kind = 0x08000000 // "ipc": System V IPC and POSIX message queues
	User   Kind = 0x10000000 // "user": user and group IDs, capabilities
	PID    Kind = 0x20000000 // "pid": process IDs
	Net    Kind = 0x40000000 // "net": network devices, addresses, ports
	Cgroup Kind = 0x02000000 // "cgroup": the root of the visible cgroups
	Time   Kind = 0x00000080 // "time": offsets of the boot and monotonic clocks
)

var (
	_ encoding.TextMarshaler   = Kind(0)
	_ encoding.TextUnmarshaler = (*Kind)(nil)
)

// kinds is the order in which kinds are listed and entered. The mount namespace
// is last, because the thread's /proc may be gone there.
var kinds = [...]struct {
	kind Kind
	name string
}{
	{User, "user"},
	{Net, "net"},
	{IPC, "ipc"},
	{UTS, "uts"},
	{PID, "pid"},
	{Cgroup, "cgroup"},
	{Time, "time"},
	{Mount, "mnt"},
}

// Kinds yields the kinds in k one by one, in the order in which String names
// them. Bits that are no kind are left out.
func (k Kind) Kinds() iter.Seq[Kind] {
	return func(yield func(Kind) bool) {
		for _, e := range kinds {
			if k&e.kind != 0 && !yield(e.kind) {
				return
			}
		}
	}
}

// Has reports whether all kinds in other are in k.
func (k Kind) Has(other Kind) bool { return k&other == other }

// String returns the names of the kinds, separated by commas. The empty set is
// "", bits that are no kind are a number.
func (k Kind) String() string {
	var names []string
	rest := k
	for _, e := range kinds {
		if k&e.kind != 0 {
			names = append(names, e.name)
			rest &^= e.kind
		}
	}
	if rest != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(rest)))
	}
	return strings.Join(names, ",")
}

// MarshalText implements encoding.TextMarshaler with what String returns. Bits
// that are no kind are an error.
func (k Kind) MarshalText() ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, &Error{Op: "marshal kind", Err: err}
	}
	return []byte(k.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler: it accepts the names in any
// order. An unknown, empty or repeated name is an error; empty text is the empty
// set.
func (k *Kind) UnmarshalText(text []byte) error {
	var all Kind
	if len(text) > 0 {
		for name := range strings.SplitSeq(string(text), ",") {
			one := kindOf(name)
			switch {
			case one == 0:
				return &Error{Op: "parse kind", Err: fmt.Errorf("unknown name %q: %w", name, fs.ErrInvalid)}
			case all.Has(one):
				return &Error{Op: "parse kind", Err: fmt.Errorf("repeated name %q: %w", name, fs.ErrInvalid)}
			}
			all |= one
		}
	}
	*k = all
	return nil
}

// check returns an error if k has bits that are no kind.
func (k Kind) check() error {
	for one := range k.Kinds() {
		k &^= one
	}
	if k != 0 {
		return fmt.Errorf("unknown kind %#x: %w", uint32(k), fs.ErrInvalid)
	}
	return nil
}

// kindOf returns the kind that /proc/<pid>/ns calls name, 0 if there is none.
func kindOf(name string) Kind {
	for _, e := range kinds {
		if e.name == name {
			return e.kind
		}
	}
	return 0
}
