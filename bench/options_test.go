package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOptions(t *testing.T) {
	o, err := parse([]string{"-peers", "barepod,runc-debian", "-jobs", "exec,stand", "-pods", "2,7", "-rounds", "1"})
	require.NoError(t, err)
	p, err := o.plan()
	require.NoError(t, err)
	require.Len(t, p.peers, 2)
	require.Equal(t, []job{jobExec, jobStand}, p.jobs)
	require.Equal(t, []int{2, 7}, p.pods)
	require.Empty(t, o.command)

	o, err = parse([]string{profileCommand, "-rounds", "3"})
	require.NoError(t, err)
	require.Equal(t, profileCommand, o.command)
	require.Equal(t, 3, o.rounds)

	o, err = parse([]string{throughputCommand})
	require.NoError(t, err)
	require.Equal(t, throughputCommand, o.command)
}

func TestOptionsThatAreWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"a peer":       {[]string{"-peers", "barepod,docker"}, `no peer "docker"`},
		"the first":    {[]string{"-peers", "crun,barepod"}, "the first peer has to be barepod"},
		"a job":        {[]string{"-jobs", "sleep"}, `no job "sleep"`},
		"no rounds":    {[]string{"-rounds", "0"}, "-rounds"},
		"too few pods": {[]string{"-pods", "1"}, "-pods 1"},
		"pods in text": {[]string{"-pods", "many"}, "-pods many"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parse(tt.args)
			require.NoError(t, err)
			_, err = o.plan()
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// Each round begins with another peer, and has only those that have the job.
func TestPlanWith(t *testing.T) {
	o, err := parse([]string{"-peers", "barepod,floor,bwrap"})
	require.NoError(t, err)
	p, err := o.plan()
	require.NoError(t, err)
	names := func(j job, round int) (list []string) {
		for _, q := range p.with(j, round) {
			list = append(list, q.name())
		}
		return list
	}
	require.Equal(t, []string{"barepod", "floor", "bwrap"}, names(jobLife, 0))
	require.Equal(t, []string{"bwrap", "barepod", "floor"}, names(jobLife, 2))
	require.Equal(t, []string{"floor", "barepod"}, names(jobExec, 1))
}
