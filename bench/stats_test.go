package main

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpreadOf(t *testing.T) {
	for name, tt := range map[string]struct {
		values []float64
		want   spread
	}{
		"one":        {[]float64{3}, spread{3, 3, 3}},
		"two":        {[]float64{4, 2}, spread{2.5, 3, 3.5}},
		"odd":        {[]float64{5, 1, 3, 2, 4}, spread{2, 3, 4}},
		"an outlier": {[]float64{1, 1, 1, 1, 1000}, spread{1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			before := append([]float64(nil), tt.values...)
			require.Equal(t, tt.want, spreadOf(tt.values))
			require.Equal(t, before, tt.values, "the order of the rounds is changed")
		})
	}
	none := spreadOf(nil)
	require.True(t, math.IsNaN(none.low) && math.IsNaN(none.median) && math.IsNaN(none.high))
}

func TestRatios(t *testing.T) {
	require.Equal(t, []float64{2, 3}, ratios([]float64{4, 30, 7}, []float64{2, 10}))
	require.Empty(t, ratios(nil, []float64{1}))
}

// A slow spell of the machine that hits both peers does not change their ratio.
func TestRatioOfTheSameRound(t *testing.T) {
	res := &results{values: map[quantity]map[string][]float64{}}
	for _, slow := range []float64{1, 1, 10, 1, 10} {
		res.add("q", "a", 6*slow)
		res.add("q", "b", 2*slow)
	}
	require.Equal(t, spread{3, 3, 3}, res.ratio("q", "a", "b"))
}

func TestGoalMet(t *testing.T) {
	got := spread{1, 5, 9}
	require.True(t, goal{want: 5, least: true, got: got}.met())
	require.False(t, goal{want: 5.1, least: true, got: got}.met())
	require.True(t, goal{want: 5, got: got}.met())
	require.False(t, goal{want: 4.9, got: got}.met())
}

func TestDigits(t *testing.T) {
	for x, want := range map[float64]string{0.034: "0.03", 2.345: "2.35", 23.45: "23.4", 234.5: "234", math.NaN(): none} {
		require.Equal(t, want, digits(x))
	}
}
