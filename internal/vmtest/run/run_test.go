package run_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/internal/vmtest/run"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func TestRun(t *testing.T) {
	shell := func(name, script string) run.Program {
		return run.Program{Name: name, Path: "/bin/sh", Dir: "/", Args: []string{"-c", script, "sh"}}
	}
	profiled := shell("profiled", `echo covered > "${1#*=}"`)
	profiled.Profile = true
	plan := run.Plan{
		Env: []string{"A=b"}, Wrap: []string{"/usr/bin/env", "C=d"}, Timeout: time.Minute,
		Programs: []run.Program{
			shell("talks", "echo $A $C; pwd; echo wrong >&2"), shell("fails", "exit 3"), profiled,
			{Name: "missing", Path: "/no/such", Dir: "/"},
		},
	}
	got := map[string]run.Message{}
	var order []string
	require.NoError(t, plan.Run(t.Context(), func(m run.Message) error {
		all := got[m.Name]
		all.Output = append(all.Output, m.Output...)
		if m.Done || m.End {
			order = append(order, m.Name)
			all.Error, all.Profile = m.Error, m.Profile
		}
		got[m.Name] = all
		return nil
	}))
	require.Equal(t, []string{"talks", "fails", "profiled", "missing", ""}, order)
	require.Equal(t, "b d\n/\nwrong\n", string(got["talks"].Output))
	require.Empty(t, got["talks"].Error)
	require.Equal(t, "exit status 3", got["fails"].Error)
	require.Equal(t, "covered\n", string(got["profiled"].Profile))
	require.Equal(t, "exit status 127", got["missing"].Error)

	plan.Timeout, plan.Programs = 50*time.Millisecond, []run.Program{shell("hangs", "exec sleep 60")}
	var last run.Message
	require.NoError(t, plan.Run(t.Context(), func(m run.Message) error {
		if m.Done {
			last = m
		}
		return nil
	}))
	require.Equal(t, "signal: killed", last.Error)

	gone := errors.New("nobody listens")
	require.ErrorIs(t, plan.Run(t.Context(), func(run.Message) error { return gone }), gone)
}
