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
var excused = map[string]string{}

// report merges what the machines covered, writes it to a file, and prints what
// that is of each package.
func report(all []*results, file string) error {
	c := coverage{}
	for _, r := range all {
		for _, profile := range r.profiles {
			if err := c.add(profile); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(file, c.profile(), 0o644); err != nil {
		return err
	}
	fmt.Print(c.table())
	return nil
}

// table lists the packages with what is covered, and why that is not enough.
func (c coverage) table() string {
	var b strings.Builder
	percent := c.percent()
	for _, pkg := range slices.Sorted(maps.Keys(percent)) {
		fmt.Fprintf(&b, "%5.1f%% covered\t%s", percent[pkg], pkg)
		if percent[pkg] < enough {
			fmt.Fprintf(&b, "\tless than %d%%", enough)
			if why, ok := excused[pkg]; ok {
				fmt.Fprintf(&b, ": %s", why)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
