package cgroup

import (
	"github.com/barepod/barepod/internal/feature"
	"github.com/barepod/barepod/internal/sys"
)

// OOMFile returns the path of the file that counts the group's OOM kills, for
// [ParseOOMKills]: memory.events on v2, memory.oom_control on v1. It is empty if
// the machine has no memory controller.
func (g *Group) OOMFile() string {
	h := g.host.with("memory")
	switch {
	case h == nil:
		return ""
	case h.Unified:
		return g.in(*h) + "/memory.events"
	default:
		return g.in(*h) + "/memory.oom_control"
	}
}

// OOMKills returns how many of the group's processes the kernel killed for want
// of memory, be it the group's limit, a parent's or the machine's. On v2 those
// of the groups below are counted in, on v1 they are not. It needs the memory
// controller.
func (g *Group) OOMKills() (int64, error) {
	file := g.OOMFile()
	if file == "" {
		return 0, g.fail("count OOM kills of", needs("count OOM kills", "memory"))
	}
	data, err := sys.ReadControl(file)
	if err != nil {
		return 0, g.fail("count OOM kills of", err)
	}
	n, err := ParseOOMKills(data)
	return n, g.fail("count OOM kills of", err)
}

// needs returns the error for something that needs a controller.
func needs(what, controller string) error {
	return &feature.Error{Feature: what, Needs: "the " + controller + " cgroup controller"}
}
