package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/barepod/barepod/internal/sys"
)

// Hierarchy is one mounted cgroup hierarchy.
type Hierarchy struct {
	// Unified tells v2 from v1.
	Unified bool
	// Controllers are the hierarchy's controllers, several if they are mounted
	// together, sorted.
	Controllers []string
	// Name is that of a v1 hierarchy without controllers, as in name=systemd.
	Name string
	// Mountpoint is where this process sees it.
	Mountpoint string
}

// dir returns the name under which a container sees the hierarchy below
// /sys/fs/cgroup.
func (h Hierarchy) dir() string {
	switch {
	case h.Unified:
		return "unified"
	case h.Name != "":
		return h.Name
	default:
		return strings.Join(h.Controllers, ",")
	}
}

func (h Hierarchy) has(controller string) bool { return slices.Contains(h.Controllers, controller) }

// Host is what this machine has. It is not changed once made.
type Host struct {
	Hierarchies []Hierarchy

	once  sync.Once
	inUse []Hierarchy // see used
}

// Detect returns the machine's hierarchies as this process sees them. They are
// looked up once in the life of a process: a hierarchy with groups in it cannot
// be taken apart. The caller must not change the result.
func Detect() (*Host, error) { return detect() }

var detect = sync.OnceValues(func() (*Host, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	names, err := os.ReadFile("/proc/cgroups")
	if err != nil && !os.IsNotExist(err) { // a kernel without v1 may lack it
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	h := ParseHost(mounts, names, visible)
	for i := range h.Hierarchies {
		u := &h.Hierarchies[i]
		if !u.Unified {
			continue
		}
		list, err := sys.ReadControl(u.Mountpoint + "/cgroup.controllers")
		if err != nil {
			return nil, fmt.Errorf("find cgroups: %w", err)
		}
		u.Controllers = strings.Fields(string(list))
		slices.Sort(u.Controllers)
	}
	return h, nil
})

// visible reports whether the file system of device dev ("major:minor") is what
// a look-up of mountpoint finds, not one mounted over it.
func visible(mountpoint, dev string) bool {
	var st syscall.Stat_t
	if err := syscall.Lstat(mountpoint, &st); err != nil {
		return false
	}
	// The encoding of dev_t in user space, see gnu_dev_major(3).
	major := (st.Dev>>8)&0xfff | (st.Dev>>32)&^0xfff
	minor := st.Dev&0xff | (st.Dev>>12)&^0xff
	return dev == fmt.Sprintf("%d:%d", major, minor)
}

// ParseHost reads the hierarchies from the texts of /proc/self/mountinfo and
// /proc/cgroups. visible says whether the device is what the mount point shows.
// Of several mounts of a hierarchy the first one below /sys/fs/cgroup counts,
// else the first: those elsewhere belong to containers. The controllers of the
// unified hierarchy are not in these texts.
func ParseHost(mountinfo, controllers []byte, visible func(mountpoint, dev string) bool) *Host {
	known := parseControllers(controllers)
	var found []Hierarchy
	at := map[string]int{} // device: index in found
	for line := range bytes.Lines(mountinfo) {
		hier, dev, ok := parseMount(string(line), known)
		if !ok {
			continue
		}
		i, again := at[dev]
		better := !again || !standard(found[i].Mountpoint) && standard(hier.Mountpoint)
		if !better || !visible(hier.Mountpoint, dev) {
			continue
		}
		if again {
			found[i] = hier
			continue
		}
		at[dev] = len(found)
		found = append(found, hier)
	}
	return &Host{Hierarchies: found}
}

func standard(mountpoint string) bool {
	return mountpoint == "/sys/fs/cgroup" || path.Dir(mountpoint) == "/sys/fs/cgroup"
}

// parseControllers returns the controllers named in /proc/cgroups.
func parseControllers(data []byte) []string {
	var names []string
	for line := range bytes.Lines(data) {
		if f := strings.Fields(string(line)); len(f) == 4 && f[0][0] != '#' && f[3] == "1" {
			names = append(names, f[0])
		}
	}
	return names
}

// parseMount reads one line of mountinfo, see proc_pid_mountinfo(5):
//
//	35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
func parseMount(line string, known []string) (h Hierarchy, dev string, ok bool) {
	mount, super, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
	m, s := strings.Split(mount, " "), strings.Split(super, " ")
	if !ok || len(m) < 6 || len(s) < 3 {
		return h, "", false
	}
	h.Mountpoint = unescape(m[4])
	switch s[0] {
	case "cgroup2":
		h.Unified = true
		return h, m[2], true
	case "cgroup":
	default:
		return h, "", false
	}
	for o := range strings.SplitSeq(s[2], ",") {
		if name, ok := strings.CutPrefix(o, "name="); ok {
			h.Name = name
		} else if slices.Contains(known, o) {
			h.Controllers = append(h.Controllers, o)
		}
	}
	slices.Sort(h.Controllers)
	return h, m[2], h.Name != "" || len(h.Controllers) > 0
}

// unescape undoes the octal escapes of mountinfo, such as \040 for a space.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unified returns the v2 hierarchy, nil if there is none.
func (h *Host) unified() *Hierarchy {
	i := slices.IndexFunc(h.Hierarchies, func(x Hierarchy) bool { return x.Unified })
	if i < 0 {
		return nil
	}
	return &h.Hierarchies[i]
}

// pure reports whether there is v2 and nothing else.
func (h *Host) pure() bool { return len(h.Hierarchies) == 1 && h.Hierarchies[0].Unified }

// with returns the hierarchy that has the controller, nil if none has.
func (h *Host) with(controller string) *Hierarchy {
	i := slices.IndexFunc(h.Hierarchies, func(x Hierarchy) bool { return x.has(controller) })
	if i < 0 {
		return nil
	}
	return &h.Hierarchies[i]
}

// delegated returns those of the unified hierarchy's controllers that groups
// are given.
func (h *Host) delegated() []string {
	u := h.unified()
	if u == nil {
		return nil
	}
	var list []string
	for _, c := range [...]string{"cpu", "memory", "pids"} {
		if u.has(c) {
			list = append(list, c)
		}
	}
	return list
}

// used returns the hierarchies that groups are made in. The unified one is the
// first: its mkdir is the lock on a group's name. The caller must not change
// the result.
func (h *Host) used() []Hierarchy {
	h.once.Do(func() {
		names := []string{"cpu", "cpuacct", "memory", "pids"}
		named := ""
		if u := h.unified(); u != nil {
			h.inUse = append(h.inUse, *u)
		} else {
			names, named = append(names, "freezer"), "systemd"
		}
		for _, x := range h.Hierarchies {
			if x.Unified {
				continue
			}
			if named != "" && x.Name == named || slices.ContainsFunc(names, x.has) {
				h.inUse = append(h.inUse, x)
			}
		}
	})
	return h.inUse
}
