package main

import (
	"fmt"
	"io"
)

// archive writes a cpio archive of the kind that the kernel unpacks for an
// initial RAM file system: "newc" in Documentation/driver-api/early-userspace/buffer-format.rst.
type archive struct {
	w     io.Writer
	inode int
	err   error
}

const (
	typeDevice = 0o020000
	typeDir    = 0o040000
	typeFile   = 0o100000
)

func (a *archive) dir(name string) { a.entry(name, typeDir|0o755, 0, 0, nil) }

func (a *archive) device(name string, major, minor int) {
	a.entry(name, typeDevice|0o600, major, minor, nil)
}

func (a *archive) file(name string, mode int, data []byte) {
	a.entry(name, typeFile|mode, 0, 0, data)
}

// close writes the trailer, and returns the first error of all.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return a.err
}

func (a *archive) entry(name string, mode, major, minor int, data []byte) {
	a.inode++
	header := "070701"
	for _, field := range []int{a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0} {
		header += fmt.Sprintf("%08X", field)
	}
	a.write([]byte(header + name + "\x00"))
	a.write(data)
}

// write pads to a multiple of four, as both parts of an entry are.
func (a *archive) write(data []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(append(data[:len(data):len(data)], make([]byte, -len(data)&3)...))
	}
}
