package sandbox

import (
	"slices"
	"strings"
	"syscall"

	"github.com/barepod/barepod/internal/program"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/volume"
)

// What the usual container runtimes hide of /proc, because it tells about the
// whole machine or controls it. Sources: runtime-spec's default config and
// Kubernetes' DefaultProcMount.
var (
	maskedPaths   = []string{"kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "interrupts"}
	maskedDirs    = []string{"acpi", "asound", "scsi"}
	readonlyPaths = []string{"bus", "fs", "irq", "sys", "sysrq-trigger"}
)

// fill puts what a command says about its process into the launch program.
func (c *Cmd) fill(b *program.Birth) {
	b.Argv, b.Env, b.Dir = c.Args, c.Env, c.Dir
	b.Search = c.candidates()
	b.UID, b.GID, b.Groups = c.User.UID, c.User.GID, c.User.Groups
	b.LastCap = sys.LastCap()
	set, _ := c.Capabilities.set() // validated
	b.Caps = set & (1<<(b.LastCap+1) - 1)
	b.NewPrivs = c.AllowPrivilegeEscalation
	for _, r := range c.Rlimits {
		b.Rlimits = append(b.Rlimits, program.Rlimit{Resource: slices.Index(rlimits, r.Type), Name: r.Type, Soft: r.Soft, Hard: r.Hard})
	}
}

// container compiles the start of a container.
func (s *start) container(name string, root *openedRoot) *program.Container {
	sb := s.sb
	c := &program.Container{
		Birth: s.birth, Name: name,
		Anchor: sb.anchor.File(),
		Net:    sb.sharedFile(namespace.Net), IPC: sb.sharedFile(namespace.IPC), UTS: sb.sharedFile(namespace.UTS),
		PID:    sb.sharedFile(namespace.PID),
		NewPID: !sb.cfg.ShareProcessNamespace && !sb.cfg.HostNamespaces.Has(namespace.PID),
		Root:   root.root, ReadOnly: root.readOnly,
		MaskedPaths: maskedPaths, MaskedDirs: maskedDirs, ReadonlyPaths: readonlyPaths,
	}
	// What is above comes first, or it would hide what is below.
	mounts := slices.SortedFunc(slices.Values(s.cmd.Mounts), func(a, b volume.Mount) int { return strings.Compare(a.Path, b.Path) })
	for _, m := range mounts {
		c.Mounts = append(c.Mounts, program.Mount{
			Volume: m.Volume, Dir: !sb.isFile(m.Volume), SubPath: m.SubPath, Path: m.Path, ReadOnly: m.ReadOnly,
			Propagation: propagation(m.Propagation),
		})
	}
	for _, m := range s.group.Mounts() {
		c.CgroupMounts = append(c.CgroupMounts, program.CgroupMount{Dir: m.Dir, Source: m.Source})
	}
	return c
}

func propagation(p volume.Propagation) uint64 {
	switch p {
	case volume.Slave:
		return syscall.MS_SLAVE
	case volume.Shared:
		return syscall.MS_SHARED
	}
	return syscall.MS_PRIVATE
}

// isFile reports whether a volume is a single file.
func (s *Sandbox) isFile(volume string) bool { return slices.Contains(s.res.FileVolumes, volume) }

// covered reports whether a mount of the command hides path in its root.
func (c *Cmd) covered(path string) bool {
	return slices.ContainsFunc(c.Mounts, func(m volume.Mount) bool {
		return path == m.Path || strings.HasPrefix(path, m.Path+"/")
	})
}
