package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// modules finds kernel modules by their names. (A package of Debian's kernel has
// no modules.dep: that is made when it is installed.)
type modules struct {
	files map[string]string // file by name
	need  func(file string) ([]string, error)
}

// modulesIn finds the modules in a directory and below.
func modulesIn(dir string) (modules, error) {
	m := modules{files: map[string]string{}, need: needed}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			m.files[moduleName(name)] = path
		}
		return err
	})
	return m, err
}

// moduleName is how the kernel spells a module's name.
func moduleName(file string) string { return strings.ReplaceAll(file, "-", "_") }

// closure returns the files of the modules with those of all that they need,
// each after what it needs.
func (m modules) closure(names []string) ([]string, error) {
	var order []string
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = moduleName(name)
		if seen[name] {
			return nil
		}
		seen[name] = true
		file, ok := m.files[name]
		if !ok {
			return fmt.Errorf("no kernel module %s", name)
		}
		needs, err := m.need(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return fmt.Errorf("%w, which %s needs", err, name)
			}
		}
		order = append(order, file)
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// needed returns the names of the modules that one needs, as the file says.
func needed(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info := f.Section(".modinfo")
	if info == nil {
		return nil, errors.New("no section .modinfo")
	}
	data, err := info.Data()
	if err != nil {
		return nil, err
	}
	return parseNeeded(data), nil
}

// parseNeeded reads a list of key=value, each with a zero byte at its end.
func parseNeeded(info []byte) []string {
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(entry, []byte("depends=")); ok {
			return strings.FieldsFunc(string(list), func(r rune) bool { return r == ',' })
		}
	}
	return nil
}
