package launch

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// MemfdCreate is the real one.
var MemfdCreate = unix.MemfdCreate

// ReplaceMemfdCreate has Start make its memfd with f until the test ends.
func ReplaceMemfdCreate(t testing.TB, f func(name string, flags int) (int, error)) {
	t.Helper()
	memfdCreate = f
	t.Cleanup(func() { memfdCreate = unix.MemfdCreate })
}

// Numbers are the numbers of the system calls on amd64 and arm64.
var Numbers = numbers

// Attach is the starter's side of a program that the test runs itself. status
// is its end of the socket; only Receive and Send may be called.
func Attach(p *Program, status *os.File) *Run { return &Run{prog: p, status: status} }

// Socketpair returns the two ends of a status socket.
func Socketpair() (ours, theirs *os.File, err error) { return socketpair() }

// Layout constants that tests of the image look for.
const (
	CodeAddr   = codeAddr
	DataAddr   = dataAddr
	CodeOff    = codeOff
	HeaderSize = headerSize
	RecordSize = recordSize
)
