package main

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Sizes and colours of the chart.
const (
	barHeight   = 13 // points
	chartWidth  = 680
	labelWidth  = 90
	valueWidth  = 130
	groupHeight = 2 // bars between two jobs, for the title of the next
)

var (
	ours   = color.RGBA{R: 0x0b, G: 0x7a, B: 0x75, A: 0xff}
	theirs = color.RGBA{R: 0x9a, G: 0xa5, B: 0xb1, A: 0xff}
	bare   = color.RGBA{R: 0xd8, G: 0xb8, B: 0x6a, A: 0xff}
	ink    = color.RGBA{R: 0x22, G: 0x2b, B: 0x35, A: 0xff}
)

// bar is one median; a group of them is a job.
type bar struct {
	peer   string
	median float64
	note   string
}

type group struct {
	title string
	bars  []bar
}

// groups are the jobs with their peers, the quickest first.
func groups(res *results) []group {
	var list []group
	for _, j := range append(slices.Clone(cycle), jobLife) {
		g := group{title: titles[j]}
		for _, p := range res.peers {
			if len(res.of(quantity(j), p)) == 0 {
				continue
			}
			b := bar{peer: p, median: res.median(quantity(j), p)}
			b.note = digits(b.median) + " ms"
			if p != res.peers[0] && len(res.of(quantity(j), res.peers[0])) > 0 {
				b.note += fmt.Sprintf("  (%s×)", digits(res.ratio(quantity(j), p, res.peers[0]).median))
			}
			g.bars = append(g.bars, b)
		}
		slices.SortStableFunc(g.bars, func(a, b bar) int { return int(math.Copysign(1, a.median-b.median)) })
		if len(g.bars) > 0 {
			list = append(list, g)
		}
	}
	return list
}

// drawChart draws horizontal bars on a logarithmic scale.
func drawChart(path string, res *results) error {
	list := groups(res)
	if len(list) == 0 {
		return nil
	}
	b := bars{groups: list, low: math.Inf(1), high: math.Inf(-1)}
	for _, g := range list {
		b.rows += float64(len(g.bars) + groupHeight)
		b.low, b.high = min(b.low, g.bars[0].median), max(b.high, g.bars[len(g.bars)-1].median)
	}
	// A bar's length means nothing on such a scale, but its end does.
	b.low = math.Pow(10, math.Floor(math.Log10(b.low)))
	b.high = math.Pow(10, math.Ceil(math.Log10(b.high)))

	plot.DefaultFont.Variant = "Sans"
	p := plot.New()
	p.Title.Text = "barepod and its peers: medians in milliseconds, logarithmic"
	p.Title.TextStyle.Color = ink
	p.Title.Padding = vg.Points(8)
	p.BackgroundColor = color.White
	p.HideY()
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.X.Min, p.X.Max = b.low, b.high
	p.Y.Min, p.Y.Max = 0, b.rows
	p.Add(b)

	canvas := vgsvg.New(vg.Points(chartWidth), vg.Points(b.rows*barHeight+60))
	// Names stand left of the axis, numbers right of the bars.
	p.Draw(draw.Crop(draw.New(canvas), vg.Points(labelWidth), -vg.Points(valueWidth), vg.Points(4), -vg.Points(4)))
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := canvas.WriteTo(f); err != nil {
		return err
	}
	return f.Close()
}

// bars implements plot.Plotter.
type bars struct {
	groups    []group
	rows      float64 // in heights of a bar
	low, high float64
}

func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	label := text.Style{Color: ink, Font: font.From(plot.DefaultFont, 9), Handler: plot.DefaultTextHandler, YAlign: text.YCenter}
	title := label
	title.Font = font.From(plot.DefaultFont, 10)
	title.Font.Weight = 2 // bold
	row := b.rows
	for _, g := range b.groups {
		c.FillText(title, vg.Point{X: c.Min.X, Y: y(row - groupHeight/2 - 0.2)}, g.title)
		row -= groupHeight
		for _, bar := range g.bars {
			top, bottom := y(row-0.1), y(row-0.9)
			middle := (top + bottom) / 2
			c.FillPolygon(colorOf(bar.peer), []vg.Point{{X: c.Min.X, Y: top}, {X: x(bar.median), Y: top}, {X: x(bar.median), Y: bottom}, {X: c.Min.X, Y: bottom}})
			name := label
			name.XAlign = text.XRight
			c.FillText(name, vg.Point{X: c.Min.X - vg.Points(10), Y: middle}, bar.peer)
			c.FillText(label, vg.Point{X: x(bar.median) + vg.Points(4), Y: middle}, bar.note)
			row--
		}
	}
}

func colorOf(peer string) color.Color {
	switch peer {
	case "barepod":
		return ours
	case "floor":
		return bare
	}
	return theirs
}
