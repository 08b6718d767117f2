package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// callTimes is how often a system call was made and how long that took.
type callTimes struct {
	name  string
	count int
	took  float64 // microseconds
}

// A line of strace -f -ttt -T is a call, or the end of one that another thread's
// was shown in between of.
var (
	callLine = regexp.MustCompile(`^\d+\s+[\d.]+ (?:<\.\.\. )?(\w+)[( ].* <([\d.]+)>$`)
	markLine = regexp.MustCompile(regexp.QuoteMeta(markPrefix) + `(\w+)/(begin|end)`)
)

// waits are calls in which a thread does nothing but wait for another one.
var waits = []string{"futex", "epoll_pwait", "epoll_wait", "nanosleep", "ppoll", "poll", "wait4", "waitid", "restart_syscall", "pause"}

func readTrace(path string) (map[string][]callTimes, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseTrace(f)
}

// parseTrace adds up the calls of each operation, of all processes, the longest
// first. Those that begin and end between two operations are nobody's.
func parseTrace(r io.Reader) (map[string][]callTimes, error) {
	sums := map[string]map[string]*callTimes{}
	op := ""
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := markLine.FindStringSubmatch(lines.Text()); m != nil {
			if op = ""; m[2] == "begin" {
				op = m[1]
			}
			continue
		}
		m := callLine.FindStringSubmatch(lines.Text())
		if op == "" || m == nil || slices.Contains(waits, m[1]) {
			continue
		}
		seconds, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		if sums[op] == nil {
			sums[op] = map[string]*callTimes{}
		}
		c := sums[op][m[1]]
		if c == nil {
			c = &callTimes{name: m[1]}
			sums[op][m[1]] = c
		}
		c.count++
		c.took += seconds * 1e6
	}
	calls := map[string][]callTimes{}
	for op, sum := range sums {
		for _, c := range sum {
			calls[op] = append(calls[op], *c)
		}
		slices.SortFunc(calls[op], func(a, b callTimes) int {
			return cmp.Or(-cmp.Compare(a.took, b.took), strings.Compare(a.name, b.name))
		})
	}
	return calls, lines.Err()
}

// shown is how many system calls of an operation the table has.
const shown = 8

// callsPart has the longest system calls of each operation.
func callsPart(calls map[string][]callTimes, rounds int) string {
	t := newTable("operation", "system call", "calls", "share of the time in calls")
	for _, op := range operations {
		var count int
		var took float64
		for _, c := range calls[op] {
			count, took = count+c.count, took+c.took
		}
		t.row("**"+op+"**", "all but waits", "**"+perRound(count, rounds)+"**", "")
		for _, c := range calls[op][:min(shown, len(calls[op]))] {
			t.row("", "`"+c.name+"`", perRound(c.count, rounds), fmt.Sprintf("%.0f %%", 100*c.took/took))
		}
	}
	return t.String()
}

func perRound(count, rounds int) string { return digits(float64(count) / float64(rounds)) }
