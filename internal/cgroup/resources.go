package cgroup

import (
	"fmt"
	"math"
	"time"

	"github.com/barepod/barepod/internal/invalid"
)

const (
	// cpuPeriod is the period of the CPU bandwidth limit, the kernel's default.
	cpuPeriod = 100 * time.Millisecond

	minCPU    = 0.01 // the kernel takes no quota below 1 ms a period
	maxCPU    = 1 << 20
	maxWeight = 10000
	minMemory = 64 << 10 // the largest page: a smaller limit could round to none
	maxMemory = 1 << 60
	maxPIDs   = 1 << 22 // PID_MAX_LIMIT of 64-bit kernels

	defaultWeight = 100
)

// Resources limits what the processes of a group may use together. The zero
// value of a field is no limit; a limit whose controller the machine does not
// have is refused, not ignored.
type Resources struct {
	// CPU is the number of cores, at least 0.01: 1.5 is one and a half core's
	// time in each period of 100 ms, on any cores. With the [Systemd] driver a
	// pod's limit is rounded up to a hundredth of a core. It needs the cpu
	// controller with CONFIG_CFS_BANDWIDTH.
	CPU float64 `json:"cpu,omitempty"`

	// CPUWeight is the share of the CPU under contention, relative to the
	// siblings' weights, from 1 to 10000; 0 is the kernel's default of 100. On
	// cgroup v1 it becomes cpu.shares in the kernel's own proportion, 1024
	// shares for a weight of 100. It needs the cpu controller.
	CPUWeight uint64 `json:"cpuWeight,omitempty"`

	// Memory is in bytes, at least 64 KiB, rounded down to whole pages. It
	// counts anonymous memory, page cache, memory volumes and kernel memory. At
	// the limit the kernel reclaims, then kills (OOM). No swap can be used on
	// top of it where the kernel accounts swap (memory.swap.max on v2,
	// memory.memsw on v1); where it does not (CONFIG_SWAP off, or booted with
	// swapaccount=0), swap stays unlimited. It needs the memory controller.
	Memory int64 `json:"memory,omitempty"`

	// PIDs is the number of processes and threads: at the limit fork and clone
	// fail with EAGAIN. It needs the pids controller.
	PIDs int64 `json:"pids,omitempty"`
}

// Validate returns an [*invalid.Error] for the first field that no kernel can
// honour.
func (r Resources) Validate() error {
	refuse := func(field string, value any, format string, args ...any) error {
		return &invalid.Error{Field: field, Value: value, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case math.IsNaN(r.CPU) || r.CPU != 0 && r.CPU < minCPU || r.CPU > maxCPU:
		return refuse("CPU", r.CPU, "must be 0 or from %v to %d cores", minCPU, maxCPU)
	case r.CPUWeight > maxWeight:
		return refuse("CPUWeight", r.CPUWeight, "must be from 0 to %d", maxWeight)
	case r.Memory != 0 && r.Memory < minMemory || r.Memory > maxMemory:
		return refuse("Memory", r.Memory, "must be 0 or from %d to %d bytes", minMemory, int64(maxMemory))
	case r.PIDs < 0 || r.PIDs > maxPIDs:
		return refuse("PIDs", r.PIDs, "must be from 0 to %d", maxPIDs)
	}
	return nil
}

// quota returns the CPU time of a period in microseconds, -1 for no limit.
func (r Resources) quota() int64 {
	if r.CPU == 0 {
		return -1
	}
	return int64(math.Round(r.CPU * float64(cpuPeriod.Microseconds())))
}

// weight returns CPUWeight or its default.
func (r Resources) weight() uint64 {
	if r.CPUWeight == 0 {
		return defaultWeight
	}
	return r.CPUWeight
}

// shares returns the weight as cgroup v1 has it. The proportion is the one by
// which the scheduler reads cpu.weight (sched_weight_from_cgroup).
func (r Resources) shares() uint64 {
	return (r.weight()*1024 + defaultWeight/2) / defaultWeight
}
