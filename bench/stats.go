package main

import (
	"math"
	"slices"
)

// spread is the middle of some numbers and where the middle half of them is.
type spread struct{ low, median, high float64 }

// spreadOf returns the quartiles; NaN for no numbers at all.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	return spread{quantile(sorted, 0.25), quantile(sorted, 0.5), quantile(sorted, 0.75)}
}

// quantile interpolates between the two nearest of sorted numbers.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i == len(sorted)-1 {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// ratios divides the numbers of the same round: what slows the machine down for
// a while slows both down.
func ratios(over, under []float64) []float64 {
	n := min(len(over), len(under))
	list := make([]float64, n)
	for i := range n {
		list[i] = over[i] / under[i]
	}
	return list
}
