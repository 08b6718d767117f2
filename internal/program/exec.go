//go:build linux

package program

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// Exec is the start of a further command in a container.
type Exec struct {
	Birth
	Name string
	// Target is the pidfd of a process of the container.
	Target *os.File
}

// Program compiles the start of the command.
func (e *Exec) Program() *launch.Program {
	p := launch.New(e.Name)
	target := p.File
	e.begin(p, func() {
		p.Note("join the container's PID namespace")
		p.Call("setns", target(e.Target, "container"), launch.CloneFlags(unix.CLONE_NEWPID))
	})
	p.Note("enter the container")
	p.Call("setns", target(e.Target, "container"), launch.CloneFlags(unix.CLONE_NEWNS|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC|unix.CLONE_NEWNET|unix.CLONE_NEWCGROUP))
	e.finish(p)
	return p
}
