package testutil

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// threadMargin is how many idle threads more are no leak: the Go runtime keeps
// one for every system call that once blocked at the same time as others.
const threadMargin = 128

// State is what a process holds of the machine at one moment.
type State struct {
	items      map[string]int    // descriptors, mounts, ...: how often each is there
	goroutines map[string]string // stack by number
	threads    int
}

// Snapshot records what this process and the machine hold: descriptors,
// goroutines, threads and what they are in, children; and for the whole
// machine mounts, namespaces, cgroups named barepod, network links, and
// processes that run from an image of ours. As an ordinary user it leaves out what only root makes.
//
// Elsewhere than in [Main] it is for tests that run alone, not in parallel.
func Snapshot() State {
	startPoller()
	s := State{items: map[string]int{}, goroutines: goroutines()}
	collectors := []func(add func(string)){descriptors, children, mounts}
	if !sharedMachine() {
		collectors = append(collectors, cgroups, links, namespaces)
	}
	if !sharedMachine() || os.Geteuid() != 0 { // others' images are not shown to an ordinary user
		collectors = append(collectors, strays)
	}
	add := func(item string) { s.items[item]++ }
	for _, collect := range collectors {
		collect(add)
	}
	s.threads = threads(add)
	return s
}

// Leaks lists what is in after and was not in before.
func Leaks(before, after State) []string {
	var left []string
	for item, n := range after.items {
		switch more := n - before.items[item]; {
		case more == 1:
			left = append(left, item)
		case more > 1:
			left = append(left, fmt.Sprintf("%s (%d times)", item, more))
		}
	}
	for id, stack := range after.goroutines {
		if _, ok := before.goroutines[id]; !ok {
			left = append(left, "goroutine "+id+" "+strings.ReplaceAll(stack, "\n", "\n\t"))
		}
	}
	if more := after.threads - before.threads; more > threadMargin {
		left = append(left, fmt.Sprintf("%d threads more than the %d before", more, before.threads))
	}
	slices.Sort(left)
	return left
}

// RequireNoLeaks fails the test unless all that came after before is gone, or
// goes within a few seconds.
func RequireNoLeaks(t testing.TB, before State) {
	t.Helper()
	if left := settle(before, settleTime); len(left) > 0 {
		t.Fatalf("left behind:\n\t%s", strings.Join(left, "\n\t"))
	}
}

// settle waits until nothing is left, but not longer than limit.
//
// It does not call runtime.GC: that would close leaked files and hide them.
func settle(before State, limit time.Duration) []string {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		left := Leaks(before, Snapshot())
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(pause)
	}
}

// goroutines returns the stacks of all goroutines but the caller's and those
// that the standard library starts once and keeps.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := strings.Split(string(buf), "\n\n")
	found := map[string]string{}
	for _, stack := range stacks[1:] { // the first is the caller's
		if strings.Contains(stack, "os/signal.loop") || strings.Contains(stack, "runtime.ensureSigM") {
			continue
		}
		id, rest, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		found[id] = strings.TrimSpace(rest)
	}
	return found
}
