package main

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// coverage is what several runs have covered: statements and how often each
// block ran, by file and place as `go test -coverprofile` writes them.
type coverage map[string]block

type block struct{ statements, count int }

// add adds what one run has covered.
func (c coverage) add(profile []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(profile))
	lines.Scan()
	if lines.Text() != "mode: atomic" {
		return fmt.Errorf("coverage profile begins with %q", lines.Text())
	}
	for lines.Scan() {
		var at string
		var b block
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %d", &at, &b.statements, &b.count); err != nil {
			return fmt.Errorf("coverage profile: %q: %w", lines.Text(), err)
		}
		b.count += c[at].count
		c[at] = b
	}
	return lines.Err()
}

// profile is all of it, for `go tool cover`.
func (c coverage) profile() []byte {
	var b bytes.Buffer
	b.WriteString("mode: atomic\n")
	for _, at := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "%s %d %d\n", at, c[at].statements, c[at].count)
	}
	return b.Bytes()
}

// percent is how many of a package's statements were covered.
func (c coverage) percent() map[string]float64 {
	all, covered := map[string]int{}, map[string]int{}
	for at, b := range c {
		file, _, _ := strings.Cut(at, ":")
		pkg := path.Dir(file)
		all[pkg] += b.statements
		if b.count > 0 {
			covered[pkg] += b.statements
		}
	}
	percent := map[string]float64{}
	for pkg, n := range all {
		if n > 0 {
			percent[pkg] = 100 * float64(covered[pkg]) / float64(n)
		}
	}
	return percent
}
