package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/barepod/barepod/internal/sys"
)

// writeSysctl sets a kernel parameter of the calling thread's namespaces and
// reads it back.
func writeSysctl(name, value string) error {
	f, err := sys.OpenSysctl(strings.ReplaceAll(name, ".", "/"), os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return &UnsupportedError{Feature: "sysctl " + name, Needs: "a kernel that has it in a namespace", Err: err}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return fmt.Errorf("sysctl %s = %s: %w", name, value, err)
	}
	b := make([]byte, 4096)
	n, err := f.ReadAt(b, 0)
	if n == 0 {
		return fmt.Errorf("sysctl %s: read back: %w", name, err)
	}
	if got := strings.Fields(string(b[:n])); !slices.Equal(got, strings.Fields(value)) {
		return fmt.Errorf("sysctl %s = %s: the kernel made it %s", name, value, strings.Join(got, " "))
	}
	return nil
}

// sorted ranges over a map in the order of its keys.
func sorted(m map[string]string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
