package main

import (
	"fmt"
	"math"
)

// goal is what barepod shall reach in one run on one machine.
type goal struct {
	title string
	want  float64
	least bool // at least want times better; else at most want times as much
	got   spread
}

func (g goal) met() bool {
	if g.least {
		return g.got.median >= g.want
	}
	return g.got.median <= g.want
}

// goals are those that the run has the numbers for.
func goals(res *results) []goal {
	var list []goal
	better := func(q quantity, title, peer string, want float64) {
		list = append(list, goal{title: title, want: want, least: true, got: res.ratio(q, peer, res.peers[0])})
	}
	better(quantity(jobSandbox), "pod sandbox, against containerd's RunPodSandbox", "containerd", 80)
	better(sandboxAddress, "pod sandbox with an address, against containerd's RunPodSandbox", "containerd", 80)
	better(quantity(jobStart), "container start in it, against `crun run`", "crun", 6)
	better(quantity(jobStart), "container start in it, against `runc run`", "runc", 20)
	better(quantity(jobExec), "exec, against containerd's ExecSync", "containerd", 25)
	better(quantity(jobExec), "exec, against `podman exec`", "podman", 25)
	better(quantity(jobRemove), "stop and remove, against containerd", "containerd", 60)
	helpers := res.last(memHelpers, "containerd") / res.last(memHelpers, res.peers[0])
	list = append(list, goal{"memory of helpers a pod, against containerd's shim and pause", 60, true, spread{helpers, helpers, helpers}})
	for _, j := range append(cycle, jobLife) {
		list = append(list, goal{"against the floor: " + titles[j], 1.6, false, res.ratio(quantity(j), res.peers[0], "floor")})
	}
	for _, q := range []quantity{sandboxAddress, lifeAddress} {
		list = append(list, goal{"against the floor: " + addressTitles[q], 1.6, false, res.ratio(q, res.peers[0], "floor")})
	}
	for _, n := range res.pods {
		list = append(list, goal{fmt.Sprintf("pod %d against the first", n), 1.2, false, res.apart(res.peers[0], standing(1), standing(n))})
	}
	list = append(list, goal{"host with foreign mounts against one without", 1.2, false, res.scale(res.peers[0], lifeMounts0, lifeMounts)})

	have := list[:0]
	for _, g := range list {
		if !math.IsNaN(g.got.median) {
			have = append(have, g)
		}
	}
	return have
}

func goalsPart(res *results) string {
	t := newTable("barepod", "wanted", "measured", "")
	for _, g := range goals(res) {
		want := fmt.Sprintf("at most %g times", g.want)
		if g.least {
			want = fmt.Sprintf("at least %g times better", g.want)
		}
		verdict := "**missed**"
		if g.met() {
			verdict = "met"
		}
		t.row(g.title, want, times(g.got), verdict)
	}
	return t.String()
}
