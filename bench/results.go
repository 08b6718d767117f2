package main

import "fmt"

// results are the numbers of a run: for each quantity and peer one a round.
type results struct {
	peers    []string // the first is barepod
	versions map[string]string
	rounds   int
	pods     []int // how many stood
	values   map[quantity]map[string][]float64
}

// quantity is what is measured; times are in milliseconds, memory in KiB.
type quantity string

// The quantities beside the jobs themselves.
const (
	cpuPerLife  quantity = "cpu"
	memHelpers  quantity = "helpers" // a pod
	memKernel   quantity = "kernel"  // a pod
	memDaemon   quantity = "daemon"
	lifeMounts0 quantity = "mounts0" // a life, no foreign mounts
	lifeMounts  quantity = "mounts"
	lifeHeap0   quantity = "heap0" // a life, small heap
	lifeHeap    quantity = "heap"
)

func atATime(n int) quantity  { return quantity(fmt.Sprintf("life by %d", n)) }
func standing(n int) quantity { return quantity(fmt.Sprintf("life beside %d", n)) }

func (r *results) add(q quantity, peer string, value float64) {
	if r.values[q] == nil {
		r.values[q] = map[string][]float64{}
	}
	r.values[q][peer] = append(r.values[q][peer], value)
}

// of returns the numbers of a quantity and a peer; none if the peer lacks it.
func (r *results) of(q quantity, peer string) []float64 { return r.values[q][peer] }

func (r *results) median(q quantity, peer string) float64 { return spreadOf(r.of(q, peer)).median }

// ratio is how many times more of a quantity one peer takes than another.
func (r *results) ratio(q quantity, over, under string) spread {
	return spreadOf(ratios(r.of(q, over), r.of(q, under)))
}

// scale is how many times more a peer takes with something than without, each
// measured in turn.
func (r *results) scale(peer string, without, with quantity) spread {
	return spreadOf(ratios(r.of(with, peer), r.of(without, peer)))
}

// apart is scale for what could not be measured in turn.
func (r *results) apart(peer string, without, with quantity) spread {
	base := r.median(without, peer)
	s := spreadOf(r.of(with, peer))
	return spread{s.low / base, s.median / base, s.high / base}
}
