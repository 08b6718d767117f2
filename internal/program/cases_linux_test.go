package program_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/program"
)

// files hands out open files; which ones does not matter to a compiler.
type files struct{ t testing.TB }

func (f files) open() *os.File {
	f.t.Helper()
	file, err := os.Open(os.DevNull)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = file.Close() })
	return file
}

func (f files) birth() program.Birth {
	return program.Birth{
		Record: f.open(), Argv: []string{"/bin/app", "-v"}, Env: []string{"PATH=/bin", "HOME=/"}, Dir: "/",
		Caps: 1<<unix.CAP_CHOWN | 1<<unix.CAP_KILL | 1<<unix.CAP_SETUID, LastCap: 8,
	}
}

// container is the simplest: a root directory, all namespaces of the pod, a PID
// namespace of its own, cgroup v2.
func (f files) container() *program.Container {
	c := &program.Container{
		Birth: f.birth(), Name: "barepod: pod/app",
		Anchor: f.open(), Nursery: f.open(), Net: f.open(), IPC: f.open(), UTS: f.open(), NewPID: true,
		Root:         program.Root{Dir: f.open()},
		MaskedPaths:  []string{"kcore"},
		MaskedDirs:   []string{"scsi"},
		CgroupMounts: []program.CgroupMount{{Dir: ".", Source: "/sys/fs/cgroup/barepod/pod/web"}},
	}
	c.ReadonlyPaths = []string{"sysrq-trigger"}
	c.Cgroup, c.KeeperCgroup = f.open(), f.open()
	c.OOM, c.KillRest = "/sys/fs/cgroup/pod/app/memory.events", "/sys/fs/cgroup/pod/app/cgroup.kill"
	return c
}

// hybrid has the container in cgroup v1, and a v2 hierarchy without controllers.
func hybrid(c *program.Container) {
	c.Tasks = []string{"/sys/fs/cgroup/memory/pod/app/tasks", "/sys/fs/cgroup/pids/pod/app/tasks"}
	c.OOM = "/sys/fs/cgroup/memory/pod/app/memory.oom_control"
	c.CgroupMounts = []program.CgroupMount{
		{Dir: "unified", Source: "/sys/fs/cgroup/unified/barepod/pod/web"},
		{Dir: "memory", Source: "/sys/fs/cgroup/memory/barepod/pod/web"},
		{Dir: "pids", Source: "/sys/fs/cgroup/pids/barepod/pod/web"},
	}
}

// v1 has no v2 hierarchy.
func v1(c *program.Container) {
	c.Cgroup, c.KeeperCgroup, c.KillRest = nil, nil, ""
	c.Tasks = []string{"/sys/fs/cgroup/cpu,cpuacct/pod/app/tasks", "/sys/fs/cgroup/systemd/pod/app/tasks"}
	c.OOM = "/sys/fs/cgroup/memory/pod/app/memory.oom_control"
	c.CgroupMounts = []program.CgroupMount{
		{Dir: "cpu,cpuacct", Source: "/sys/fs/cgroup/cpu,cpuacct/barepod/pod/web"},
		{Dir: "systemd", Source: "/sys/fs/cgroup/systemd/barepod/pod/web"},
	}
}

// app is a process of an ordinary user's with everything that may be asked for.
func app(f files, b *program.Birth) {
	b.Argv, b.Search, b.Dir = []string{"app", "a b"}, []string{"/usr/bin/app", "/bin/app"}, "/srv"
	b.UID, b.GID, b.Groups = 1000, 1001, []uint32{10, 20}
	b.Rlimits = []program.Rlimit{
		{Resource: unix.RLIMIT_NOFILE, Name: "RLIMIT_NOFILE", Soft: 1024, Hard: 4096},
		{Resource: unix.RLIMIT_CORE, Name: "RLIMIT_CORE", Soft: 0, Hard: unix.RLIM_INFINITY},
	}
	b.Lifeline, b.Hold = f.open(), true
}

// compiled is a program, and what tests have to know of it.
type compiled struct {
	name  string
	birth *program.Birth // nil for Init
	prog  *launch.Program
}

// compile returns programs of every kind.
func compile(t testing.TB) []compiled {
	t.Helper()
	f := files{t}
	var list []compiled
	container := func(name string, change func(c *program.Container)) {
		c := f.container()
		change(c)
		list = append(list, compiled{name, &c.Birth, c.Program()})
	}
	container("dir", func(*program.Container) {})
	container("overlay", func(c *program.Container) {
		c.Root = program.Root{Overlay: []*os.File{f.open(), f.open()}, Upper: f.open()}
		c.ReadOnly = true
		hybrid(c)
	})
	container("hostroot", func(c *program.Container) {
		c.Root = program.Root{Scratch: true, Hide: []string{"var/lib/barepod"}, Entries: []program.Entry{
			{Name: "run", Tmpfs: "size=64m,nr_inodes=16k,mode=755"},
			{Name: "usr", Mount: f.open()},
			{Name: "bin", Link: "usr/bin"},
		}}
		c.ReadOnly = true
	})
	container("scratch_v1", func(c *program.Container) {
		c.Root, c.ReadOnly = program.Root{Scratch: true}, true
		v1(c)
	})
	container("shared_pid", func(c *program.Container) { c.PID, c.NewPID = f.open(), false })
	container("host_namespaces", func(c *program.Container) {
		c.Net, c.IPC, c.UTS, c.NewPID = nil, nil, nil, false
		c.CgroupMounts, c.OOM, c.KillRest = nil, "", ""
	})
	container("volumes", func(c *program.Container) {
		c.Mounts = []program.Mount{
			{Volume: "data", Dir: true, Path: "/data", Propagation: unix.MS_PRIVATE},
			{Volume: "data", Dir: true, SubPath: "a/b", Path: "/srv/b/", ReadOnly: true, Propagation: unix.MS_SLAVE},
			{Volume: "conf", Path: "/etc/app.conf", ReadOnly: true, Propagation: unix.MS_PRIVATE},
			{Volume: "peer", Dir: true, Path: "/peer", Propagation: unix.MS_SHARED},
		}
	})
	container("user", func(c *program.Container) { app(f, &c.Birth) })

	further := func(name string, change func(e *program.Exec)) {
		e := &program.Exec{Birth: f.birth(), Name: "barepod: pod/sh", Target: f.open()}
		change(e)
		list = append(list, compiled{name, &e.Birth, e.Program()})
	}
	further("exec", func(*program.Exec) {})
	further("exec_user", func(e *program.Exec) {
		app(f, &e.Birth)
		e.NewPrivs = true
		e.Tasks, e.OOM = []string{"/sys/fs/cgroup/memory/pod/app/tasks"}, "/sys/fs/cgroup/memory/pod/app/memory.oom_control"
	})

	init := &program.Init{Name: "barepod-init: pod", Nursery: f.open(), Net: f.open(), IPC: f.open(), UTS: f.open(), Cgroup: f.open()}
	list = append(list, compiled{"init", nil, init.Program()})
	init = &program.Init{Name: "barepod-init: pod", Nursery: f.open(), DieWithStarter: true, Hold: true}
	list = append(list, compiled{"init_host_namespaces", nil, init.Program()})
	return list
}
