package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	cgroupfs "github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"

	"github.com/barepod/barepod/internal/sys"
)

// control is a control file of a limit with its content.
type control struct {
	controller string
	file       string
	want       string // as the kernel shows it
	limits     bool   // want is a limit, not the lack of one
	optional   bool   // not all kernels have it
	field      string // of Resources
}

// Set makes the limits of the group exactly those of r: a limit that r does not
// have is lifted. Afterwards the kernel is asked what it took; anything but what
// r says is an error. An error leaves the limits that were set before it.
func (g *Group) Set(r Resources) error {
	if err := r.Validate(); err != nil {
		return g.fail("limit", err)
	}
	if g.unit != nil && g.pod {
		r.CPU = float64(roundPercent(r.quota())) / float64(cpuPeriod.Microseconds())
	}
	return g.fail("limit", g.set(r))
}

func (g *Group) set(r Resources) error {
	var differ []control
	var controllers []string
	v1, v2 := &cgroups.Resources{}, &cgroups.Resources{}
	for _, c := range g.controls(r) {
		h := g.host.with(c.controller)
		if h == nil {
			if c.limits {
				return needs(c.field+" limit", c.controller)
			}
			continue
		}
		is, err := g.read(c)
		switch {
		case errors.Is(err, fs.ErrNotExist) && (c.optional || !c.limits) && g.exists(*h):
			continue
		case errors.Is(err, fs.ErrNotExist) && g.exists(*h):
			return needs(c.field+" limit", c.controller)
		case err != nil:
			return err
		case is == c.want:
			continue
		}
		differ = append(differ, c)
		if !slices.Contains(controllers, c.controller) {
			controllers = append(controllers, c.controller)
		}
		if h.Unified {
			c.add(v2, r)
		} else {
			c.add(v1, r)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	if err := g.apply(controllers, v1, v2); err != nil {
		return err
	}
	for _, c := range differ {
		switch is, err := g.read(c); {
		case err != nil:
			return err
		case is != c.want:
			return fmt.Errorf("%s: kernel has %q in %s, not %q", c.field, is, c.file, c.want)
		}
	}
	return nil
}

// controls returns the control files for r.
func (g *Group) controls(r Resources) []control {
	var list []control
	v2 := func(controller string) bool {
		h := g.host.with(controller)
		return h != nil && h.Unified
	}
	cpu := control{controller: "cpu", limits: r.CPU != 0, field: "CPU"}
	weight := control{controller: "cpu", limits: r.CPUWeight != 0, field: "CPUWeight"}
	if v2("cpu") {
		cpu.file, cpu.want = "cpu.max", fmt.Sprintf("%s %d", number(r.quota()), cpuPeriod.Microseconds())
		weight.file, weight.want = "cpu.weight", strconv.FormatUint(r.weight(), 10)
		list = append(list, cpu, weight)
	} else {
		cpu.file, cpu.want = "cpu.cfs_quota_us", strconv.FormatInt(r.quota(), 10)
		weight.file, weight.want = "cpu.shares", strconv.FormatUint(r.shares(), 10)
		period := cpu
		period.file, period.want = "cpu.cfs_period_us", strconv.FormatInt(cpuPeriod.Microseconds(), 10)
		list = append(list, period, cpu, weight)
	}

	memory := control{controller: "memory", limits: r.Memory != 0, field: "Memory"}
	swap := memory
	swap.optional = true
	page := int64(os.Getpagesize())
	bytes := r.Memory / page * page
	if v2("memory") {
		memory.file, memory.want = "memory.max", number(orNone(bytes))
		swap.file, swap.want = "memory.swap.max", "max"
		if r.Memory != 0 {
			swap.want = "0"
		}
	} else {
		if bytes == 0 {
			bytes = unlimited()
		}
		memory.file, memory.want = "memory.limit_in_bytes", strconv.FormatInt(bytes, 10)
		swap.file, swap.want = "memory.memsw.limit_in_bytes", memory.want
	}
	pids := control{controller: "pids", limits: r.PIDs != 0, field: "PIDs", file: "pids.max", want: number(orNone(r.PIDs))}
	return append(list, memory, swap, pids)
}

// add asks for the limit of c in the library's terms.
func (c control) add(to *cgroups.Resources, r Resources) {
	switch c.file {
	case "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us":
		to.CpuQuota, to.CpuPeriod = r.quota(), uint64(cpuPeriod.Microseconds())
	case "cpu.weight":
		to.CpuWeight = r.weight()
	case "cpu.shares":
		to.CpuShares = r.shares()
	case "memory.max", "memory.limit_in_bytes":
		to.Memory = orNone(r.Memory)
	case "memory.swap.max", "memory.memsw.limit_in_bytes":
		// Memory and swap together; with v2 the library subtracts the one
		// from the other.
		to.Memory, to.MemorySwap = orNone(r.Memory), orNone(r.Memory)
	case "pids.max":
		n := orNone(r.PIDs)
		to.PidsLimit = &n
	}
}

// apply sets the limits of the controllers named, each through the library's
// type for it: fs.Manager.Set goes through all controllers and has a data race
// in that of blkio.
func (g *Group) apply(controllers []string, v1, v2 *cgroups.Resources) error {
	if g.unit != nil && g.pod {
		return g.applyUnit(v1, v2)
	}
	unified := false
	for _, c := range controllers {
		h := g.host.with(c)
		if h.Unified {
			unified = true
			continue
		}
		var sub interface {
			Set(path string, r *cgroups.Resources) error
		}
		switch c {
		case "cpu":
			sub = &cgroupfs.CpuGroup{}
		case "memory":
			sub = &cgroupfs.MemoryGroup{}
		case "pids":
			sub = &cgroupfs.PidsGroup{}
		}
		if err := sub.Set(g.in(*h), v1); err != nil {
			return err
		}
	}
	if !unified {
		return nil
	}
	m, err := fs2.NewManager(&cgroups.Cgroup{Resources: v2}, g.in(*g.host.unified()))
	if err != nil {
		return err
	}
	return m.Set(v2)
}

// read returns the content of a control file.
func (g *Group) read(c control) (string, error) {
	data, err := sys.ReadControl(g.in(*g.host.with(c.controller)) + "/" + c.file)
	return strings.TrimSpace(string(data)), err
}

func (g *Group) exists(h Hierarchy) bool {
	_, err := os.Lstat(g.in(h))
	return err == nil
}

// orNone turns 0, no limit here, into -1, no limit in the library.
func orNone(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// number writes a number as v2 does, with "max" for -1.
func number(n int64) string {
	if n == -1 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}
