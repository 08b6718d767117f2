package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// enough is the percentage of its statements that a package's tests should cover.
const enough = 85

// excused says why a package may be covered less.
var excused = map[string]string{
	"github.com/barepod/barepod/internal/cgroup":   "systemd's part runs in a process of its own, which is not counted",
	"github.com/barepod/barepod/internal/testutil": "what it has against leaks and skips works in processes that a test starts",
	"github.com/barepod/barepod/internal/tree":     "what is left are races with others and failures of the kernel",
	"github.com/barepod/barepod/internal/vmtest":   "that machines are made is seen by the tests that they run",
}

// report merges what the machines covered, writes it to a file, and prints what
// that is of each package. It returns what there is no excuse for.
func report(all []*results, file string) (wrong []string, err error) {
	c := coverage{}
	for _, r := range all {
		for _, profile := range r.profiles {
			if err := c.add(profile); err != nil {
				return nil, err
			}
		}
	}
	if err := os.WriteFile(file, c.profile(), 0o644); err != nil {
		return nil, err
	}
	table, wrong := c.table()
	fmt.Print(table)
	return wrong, nil
}

// table lists the packages with what is covered, and why that is not enough. Those
// for which nothing says why are wrong.
func (c coverage) table() (table string, wrong []string) {
	var b strings.Builder
	percent := c.percent()
	for _, pkg := range slices.Sorted(maps.Keys(percent)) {
		fmt.Fprintf(&b, "%5.1f%% covered\t%s", percent[pkg], pkg)
		if percent[pkg] < enough {
			fmt.Fprintf(&b, "\tless than %d%%", enough)
			if why, ok := excused[pkg]; ok {
				fmt.Fprintf(&b, ": %s", why)
			} else {
				wrong = append(wrong, fmt.Sprintf("%s: less than %d%% is covered, and nothing excuses it", pkg, enough))
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), wrong
}
