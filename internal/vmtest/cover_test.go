package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCoverage(t *testing.T) {
	c := coverage{}
	require.NoError(t, c.add([]byte("mode: atomic\nm/a/x.go:1.2,3.4 3 0\nm/a/x.go:5.1,6.2 1 2\nm/b/y.go:1.1,2.2 7 0\n")))
	require.NoError(t, c.add([]byte("mode: atomic\nm/a/x.go:5.1,6.2 1 5\nm/a/z.go:1.1,2.2 4 1\n")))
	require.Equal(t, "mode: atomic\nm/a/x.go:1.2,3.4 3 0\nm/a/x.go:5.1,6.2 1 7\nm/a/z.go:1.1,2.2 4 1\nm/b/y.go:1.1,2.2 7 0\n", string(c.profile()))
	require.Equal(t, map[string]float64{"m/a": 62.5, "m/b": 0}, c.percent())
	excused["m/b"] = "a reason"
	defer delete(excused, "m/b")
	table, wrong := c.table()
	require.Equal(t, []string{"m/a: less than 85% is covered, and nothing excuses it"}, wrong)
	require.Equal(t, " 62.5% covered\tm/a\tless than 85%\n  0.0% covered\tm/b\tless than 85%: a reason\n", table)
	require.ErrorContains(t, c.add([]byte("mode: set\n")), `begins with "mode: set"`)
	require.ErrorContains(t, c.add(nil), `begins with ""`)
	require.ErrorContains(t, c.add([]byte("mode: atomic\nx\n")), `"x"`)
}
