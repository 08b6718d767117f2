package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/internal/vmtest/run"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// The table knows every feature that a test can ask for, and no other.
func TestFeatures(t *testing.T) {
	require.ElementsMatch(t, testutil.Features(), slices.Collect(maps.Keys(features)))
	for _, m := range machines {
		list := strings.Split(m.features(), ",")
		require.True(t, slices.IsSorted(list))
		require.NotEqual(t, slices.Contains(list, "root"), slices.Contains(list, "unprivileged"), m.name)
		require.NotEqual(t, slices.Contains(list, "systemd"), slices.Contains(list, "no-systemd"), m.name)
	}
}

func TestParse(t *testing.T) {
	opt, err := parse(nil)
	require.NoError(t, err)
	require.Equal(t, machines, opt.machines)
	require.Equal(t, []string{"./..."}, opt.patterns)
	opt, err = parse([]string{"-machine", "systemd,user", "-run", "X", "./pod", "./volume"})
	require.NoError(t, err)
	require.Equal(t, []machine{machines[3], machines[1]}, opt.machines)
	require.Equal(t, "X", opt.run)
	require.Equal(t, []string{"./pod", "./volume"}, opt.patterns)
	_, err = parse([]string{"-machine", "vax"})
	require.EqualError(t, err, `no machine "vax": there are host,user,debian,systemd`)
}

func TestSplit(t *testing.T) {
	names := func(parts []run.Plan) [][]string {
		var all [][]string
		for _, p := range parts {
			require.Equal(t, time.Minute, p.Timeout)
			var list []string
			for _, program := range p.Programs {
				list = append(list, program.Name)
			}
			all = append(all, list)
		}
		return all
	}
	plan := run.Plan{Timeout: time.Minute, Programs: []run.Program{{Name: "m/a"}, {Name: "m/sandbox"}, {Name: "m/z"}}}
	require.Equal(t, [][]string{{"m/sandbox"}, {"m/a", "m/z"}}, names(split(plan)))
	require.Equal(t, "m/sandbox", plan.Programs[1].Name, "the plan itself stays as it is")
	plan.Programs = plan.Programs[:1]
	require.Equal(t, [][]string{{"m/a"}}, names(split(plan)))
}
