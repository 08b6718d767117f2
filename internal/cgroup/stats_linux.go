package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/barepod/barepod/internal/sys"
)

// Stats reads what the group has used: one small file a value.
func (g *Group) Stats() (Stats, error) {
	var s Stats
	for _, read := range []func(*Stats) error{g.cpuStats, g.memoryStats, g.pidsStats} {
		if err := read(&s); err != nil {
			return Stats{}, g.fail("measure", err)
		}
	}
	return s, nil
}

func (g *Group) cpuStats(s *Stats) error {
	if h := g.host.with("cpuacct"); h != nil {
		ns, err := readInt(g.in(*h) + "/cpuacct.usage")
		s.CPUUsage = time.Duration(ns)
		return err
	}
	h := g.host.unified()
	if h == nil {
		return nil
	}
	// Every group of v2 has this file, with or without the cpu controller.
	data, err := sys.ReadControl(g.in(*h) + "/cpu.stat")
	if err != nil {
		return err
	}
	us, err := parseKey(data, "usage_usec")
	s.CPUUsage = time.Duration(us) * time.Microsecond
	return err
}

func (g *Group) memoryStats(s *Stats) (err error) {
	h := g.host.with("memory")
	if h == nil {
		return nil
	}
	usage, peak, limit := "/memory.usage_in_bytes", "/memory.max_usage_in_bytes", "/memory.limit_in_bytes"
	if h.Unified {
		usage, peak, limit = "/memory.current", "/memory.peak", "/memory.max"
	}
	dir := g.in(*h)
	if s.MemoryUsage, err = readInt(dir + usage); err != nil {
		return err
	}
	if s.MemoryPeak, err = readInt(dir + peak); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.MemoryLimit, err = readInt(dir + limit); err != nil {
		return err
	}
	if s.MemoryLimit >= unlimited() {
		s.MemoryLimit = 0
	}
	data, err := sys.ReadControl(g.OOMFile())
	if err != nil {
		return err
	}
	s.OOMKills, err = ParseOOMKills(data)
	return err
}

func (g *Group) pidsStats(s *Stats) (err error) {
	if h := g.host.with("pids"); h != nil {
		s.PIDs, err = readInt(g.in(*h) + "/pids.current")
	}
	return err
}

// unlimited is what cgroup v1 calls a limit of memory that is none: the largest
// number of whole pages.
func unlimited() int64 { return math.MaxInt64 / int64(os.Getpagesize()) * int64(os.Getpagesize()) }

// readInt reads a file with one number, or "max" for none.
func readInt(path string) (int64, error) {
	data, err := sys.ReadControl(path)
	if err != nil {
		return 0, err
	}
	text := string(bytes.TrimSpace(data))
	if text == "max" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", path, err)
	}
	return n, nil
}
