package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// judge returns all that is wrong with what machines did: what failed, what was
// skipped although its machine has what it takes, or for no feature that the
// table knows. With complete, which says that all machines ran everything, also
// what ran nowhere.
func judge(all []*results, complete bool) []string {
	var wrong []string
	ran, lacks := map[test]bool{}, map[test][]string{}
	for _, r := range all {
		wrong = append(wrong, r.failures...)
		for t, v := range r.tests {
			switch on, known := features[v.lacks]; {
			case v.action == "fail":
				wrong = append(wrong, fmt.Sprintf("%s: %s failed", r.machine.name, t))
			case v.action == "pass":
				ran[t] = true
			case !known:
				wrong = append(wrong, fmt.Sprintf("%s: %s was skipped for lack of no known feature", r.machine.name, t))
			case on&r.machine.bit() != 0:
				wrong = append(wrong, fmt.Sprintf("%s: %s was skipped for lack of %s, which this machine has", r.machine.name, t, v.lacks))
			default:
				lacks[t] = append(lacks[t], v.lacks)
			}
		}
	}
	slices.Sort(wrong)
	if complete {
		for _, t := range slices.SortedFunc(maps.Keys(lacks), func(a, b test) int { return strings.Compare(a.String(), b.String()) }) {
			if !ran[t] {
				slices.Sort(lacks[t])
				wrong = append(wrong, fmt.Sprintf("%s ran on no machine, for lack of %s", t, strings.Join(slices.Compact(lacks[t]), ", ")))
			}
		}
	}
	return wrong
}

// count says how many tests passed and were skipped on a machine, and how long it
// ran.
func count(all []*results, m machine) string {
	n := map[string]int{}
	var longest time.Duration
	for _, r := range all {
		if r.machine == m {
			longest = max(longest, r.took)
			for _, v := range r.tests {
				n[v.action]++
			}
		}
	}
	return fmt.Sprintf("%d passed, %d failed, %d skipped in %.0f s", n["pass"], n["fail"], n["skip"], longest.Seconds())
}
