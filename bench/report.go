package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// The parts of the documentation that a comparison writes.
const (
	partMachine = "machine"
	partGoals   = "goals"
	partTimes   = "times"
	partScale   = "scale"
	partMemory  = "memory"
)

// write writes the tables and the chart.
func write(dir string, res *results) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	where, err := describe()
	if err != nil {
		return err
	}
	parts := map[string]string{
		partMachine: machinePart(where, res), partGoals: goalsPart(res), partTimes: timesPart(res),
		partScale: scalePart(res), partMemory: memoryPart(res),
	}
	order := []string{partMachine, partGoals, partTimes, partScale, partMemory}
	if err := updateDoc(dir, parts, order); err != nil {
		return err
	}
	if err := drawChart(filepath.Join(dir, chartName), res); err != nil {
		return err
	}
	progress("written to %s and %s", filepath.Join(dir, docName), filepath.Join(dir, chartName))
	return nil
}

// machinePart says what was measured, and where.
func machinePart(where string, res *results) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d rounds on %s.\n", res.rounds, where)
	for i, p := range res.peers {
		sep := "; "
		if i == 0 {
			sep = "Measured: "
		}
		fmt.Fprintf(&b, "%s%s (%s)", sep, p, res.versions[p])
	}
	b.WriteString(".")
	return b.String()
}

// table is a Markdown table.
type table struct{ strings.Builder }

func newTable(head ...string) *table {
	t := &table{}
	t.row(head...)
	t.WriteString("|" + strings.Repeat("---|", len(head)) + "\n")
	return t
}

func (t *table) row(cells ...string) { t.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

// none stands where a peer does not have the job.
const none = "–"

// timesPart has a row for each job and a column for each peer: the median, and
// below how many times barepod's that is, with the middle half of the rounds.
func timesPart(res *results) string {
	rows := []struct {
		q     quantity
		title string
	}{
		{quantity(jobSandbox), titles[jobSandbox]},
		{quantity(jobStart), titles[jobStart]},
		{quantity(jobExec), titles[jobExec]},
		{quantity(jobRun), titles[jobRun]},
		{quantity(jobRemove), titles[jobRemove]},
		{quantity(jobLife), titles[jobLife]},
		{sandboxAddress, addressTitles[sandboxAddress]},
		{removeAddress, addressTitles[removeAddress]},
		{lifeAddress, addressTitles[lifeAddress]},
	}
	for _, n := range concurrent {
		rows = append(rows, struct {
			q     quantity
			title string
		}{atATime(n), fmt.Sprintf("a life when %d are led at a time (their time / %d)", n, n)})
	}
	rows = append(rows, struct {
		q     quantity
		title string
	}{cpuPerLife, "processor time of a life"})

	t := newTable(append([]string{"ms"}, res.peers...)...)
	for _, row := range rows {
		if len(res.values[row.q]) == 0 {
			continue
		}
		cells := []string{row.title}
		for _, p := range res.peers {
			cells = append(cells, res.cell(row.q, p))
		}
		t.row(cells...)
	}
	return t.String()
}

func (r *results) cell(q quantity, peer string) string {
	if len(r.of(q, peer)) == 0 {
		return none
	}
	text := digits(r.median(q, peer))
	if peer == r.peers[0] || len(r.of(q, r.peers[0])) == 0 {
		return "**" + text + "**"
	}
	return text + "<br>" + times(r.ratio(q, peer, r.peers[0]))
}

// times prints a ratio and its spread.
func times(s spread) string {
	return fmt.Sprintf("%s× (%s–%s)", digits(s.median), digits(s.low), digits(s.high))
}

// digits prints a number with as many digits as mean something.
func digits(x float64) string {
	switch {
	case math.IsNaN(x):
		return none
	case math.Abs(x) >= 100:
		return fmt.Sprintf("%.0f", x)
	case math.Abs(x) >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// scalePart compares each peer with itself: alone and in a crowd.
func scalePart(res *results) string {
	t := newTable("a life, ms", "peer", "without", "with", "ratio")
	row := func(title, peer string, without, with quantity, ratio spread) {
		if len(res.of(with, peer)) > 0 {
			t.row(title, peer, digits(res.median(without, peer)), digits(res.median(with, peer)), times(ratio))
		}
	}
	for _, n := range res.pods {
		for _, p := range res.peers {
			row(fmt.Sprintf("pod %d beside %d standing ones", n, n-1), p, standing(1), standing(n), res.apart(p, standing(1), standing(n)))
		}
	}
	for _, p := range res.peers {
		row("foreign mounts on the host", p, lifeMounts0, lifeMounts, res.scale(p, lifeMounts0, lifeMounts))
	}
	for _, p := range res.peers {
		row("a large heap of the host program", p, lifeHeap0, lifeHeap, res.scale(p, lifeHeap0, lifeHeap))
	}
	return t.String()
}

func memoryPart(res *results) string {
	t := newTable("memory", "helpers of a pod, PSS", "kernel's, a pod", "daemon, PSS")
	for _, p := range res.peers {
		if len(res.of(memHelpers, p)) == 0 {
			continue
		}
		t.row(p, size(res.last(memHelpers, p)), size(res.last(memKernel, p)), size(res.median(memDaemon, p)))
	}
	return t.String()
}

// last is the number with the most pods.
func (r *results) last(q quantity, peer string) float64 {
	values := r.of(q, peer)
	if len(values) == 0 {
		return math.NaN()
	}
	return values[len(values)-1]
}

func size(kib float64) string {
	switch {
	case math.IsNaN(kib):
		return none
	case kib >= 1024:
		return fmt.Sprintf("%.1f MiB", kib/1024)
	}
	return fmt.Sprintf("%.0f KiB", kib)
}
