//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"debug/elf"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// libraryDir is where a container has shared libraries.
const libraryDir = "/lib"

// library is a file that a dynamically linked program needs in its container.
type library struct {
	file string // on the host
	path string // in the container
}

// libraries returns what this program needs beside itself to run in an empty
// root: nothing if it is statically linked; else, as package net is where go
// finds a C compiler, the dynamic linker and the libraries that it has mapped
// into this process.
func libraries() ([]library, error) {
	linker, err := interpreter("/proc/self/exe")
	if err != nil || linker == "" {
		return nil, err
	}
	file, err := filepath.EvalSymlinks(linker)
	if err != nil {
		return nil, err
	}
	byPath := map[string]string{linker: file}
	maps_, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(maps_)) {
		i := strings.IndexByte(line, '/')
		if i < 0 {
			continue // not a file
		}
		file := strings.TrimSuffix(line[i:], "\n")
		if name := soname(file); name != "" {
			byPath[libraryDir+"/"+name] = file
		}
	}
	var libs []library
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		libs = append(libs, library{file: byPath[path], path: path})
	}
	return libs, nil
}

// interpreter returns the path of the dynamic linker that a program asks for,
// which is empty for a statically linked one.
func interpreter(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(p.Open())
			return string(bytes.TrimRight(b, "\x00")), err
		}
	}
	return "", nil
}

// soname returns the name by which programs ask for a library. It is empty for
// files of other kinds.
func soname(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	names, err := f.DynString(elf.DT_SONAME)
	if err != nil || len(names) == 0 {
		return ""
	}
	return names[0]
}
