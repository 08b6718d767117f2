package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"path"
	"slices"
	"strings"
)

// Command returns the command for a container: a process with a root of its
// own in the pod. Its Rootfs has to be set. It reads like os/exec's.
func (s *Sandbox) Command(path string, args ...string) *Cmd {
	return &Cmd{Path: path, Args: append([]string{path}, args...), sb: s}
}

// Exec returns a further command in p's container: in all its namespaces and
// its cgroup, with its user, capabilities, environment, directory and limits,
// which may be changed until Start.
func (p *Process) Exec(path string, args ...string) *Cmd {
	c := p.cmd.clone()
	c.Name, c.Path, c.Args = "", path, append([]string{path}, args...)
	c.Rootfs, c.Mounts, c.Resources = nil, nil, Resources{}
	c.Stdin, c.Stdout, c.Stderr = nil, nil, nil
	c.sb, c.target, c.started = p.sb, p, false
	return &c
}

// Run starts the command and waits for it. If ctx ends first the process goes
// on running, and Run returns the context's error.
func (c *Cmd) Run(ctx context.Context) (Exit, error) {
	p, err := c.Start(ctx)
	if err != nil {
		return Exit{}, err
	}
	defer p.Close()
	return p.Wait(ctx)
}

// defaultPath is where programs are looked for if Env does not say.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// clone returns a deep copy of what is data in the command.
func (c *Cmd) clone() Cmd {
	d := *c
	d.Args, d.Env, d.Mounts = slices.Clone(c.Args), slices.Clone(c.Env), slices.Clone(c.Mounts)
	d.User.Groups = slices.Clone(c.User.Groups)
	d.Capabilities.Add, d.Capabilities.Drop = slices.Clone(c.Capabilities.Add), slices.Clone(c.Capabilities.Drop)
	d.Rlimits = slices.Clone(c.Rlimits)
	return d
}

// complete returns a copy with the defaults filled in.
func (c *Cmd) complete() Cmd {
	d := c.clone()
	if d.Name == "" {
		b := make([]byte, 6)
		_, _ = rand.Read(b) // never fails
		d.Name = "p-" + hex.EncodeToString(b)
	}
	if len(d.Args) == 0 {
		d.Args = []string{d.Path}
	}
	if d.Env == nil {
		d.Env = []string{"PATH=" + defaultPath, "HOME=/"}
	}
	if d.Dir == "" {
		d.Dir = "/"
	}
	return d
}

// candidates are the paths at which the program may be, in order.
func (c *Cmd) candidates() []string {
	if strings.Contains(c.Path, "/") {
		if path.IsAbs(c.Path) {
			return []string{c.Path}
		}
		return []string{path.Join(c.Dir, c.Path)}
	}
	list := defaultPath
	for _, e := range c.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			list = v
		}
	}
	var paths []string
	for _, dir := range strings.Split(list, ":") {
		if path.IsAbs(dir) { // never the working directory by accident
			paths = append(paths, path.Join(dir, c.Path))
		}
	}
	return paths
}
