package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/barepod/barepod/internal/fault"
)

// steps are the times of an operation's steps, in microseconds: by operation,
// in the order of their first occurrence.
type steps struct {
	order map[string][]string
	times map[string]map[string][]float64 // by operation and step: one a round
}

// recorder notes when each step of an operation begins: the library tells at
// its fault points.
type recorder struct {
	mu    sync.Mutex
	names []string
	begun []time.Time
}

func (r *recorder) begin(name string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names, r.begun = append(r.names, name), append(r.begun, now)
}

// Names of what comes before an operation's first step and after its last one.
const (
	stepBefore = "before the first step"
	stepAfter  = "return"
)

// timeSteps times the steps of all operations.
func timeSteps(ctx context.Context, b *barepod, rounds int) (*steps, error) {
	progress("steps")
	s := &steps{order: map[string][]string{}, times: map[string]map[string][]float64{}}
	for _, op := range operations {
		s.times[op] = map[string][]float64{}
	}
	r := &recorder{}
	defer fault.Set(func(point string) error {
		r.begin(point)
		return nil
	})()
	for range rounds {
		err := drive(ctx, b, func(op string, do func() error) error {
			r.names, r.begun = nil, nil
			r.begin(stepBefore)
			err := do()
			r.begin("")
			s.add(op, r)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// add takes what was noted of one execution of an operation.
func (s *steps) add(op string, r *recorder) {
	took := map[string]float64{}
	for i := range len(r.names) - 1 {
		name := r.names[i]
		if _, known := s.times[op][name]; !known && took[name] == 0 {
			s.order[op] = append(s.order[op], name)
		}
		took[name] += float64(r.begun[i+1].Sub(r.begun[i])) / float64(time.Microsecond)
	}
	for name, t := range took {
		s.times[op][name] = append(s.times[op][name], t)
	}
}

// stepsPart has a row for each step of each operation.
func stepsPart(s *steps) string {
	t := newTable("operation", "step", "µs", "share")
	for _, op := range operations {
		var total float64
		for _, name := range s.order[op] {
			total += spreadOf(s.times[op][name]).median
		}
		t.row("**"+op+"**", "", "**"+digits(total)+"**", "")
		for _, name := range s.order[op] {
			median := spreadOf(s.times[op][name]).median
			title := name
			if _, step, ok := strings.Cut(name, "."); ok {
				title = step
			}
			if title == "done" {
				title = stepAfter
			}
			t.row("", title, digits(median), fmt.Sprintf("%.0f %%", 100*median/total))
		}
	}
	return t.String()
}
