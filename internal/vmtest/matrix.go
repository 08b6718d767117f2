package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/barepod/barepod/internal/vmtest/run"
)

// quickstart is a program that has to succeed on every machine with root.
const quickstart = "examples/quickstart"

// matrix runs the tests on the machines.
func matrix(ctx context.Context, opt options) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root: this machine's tests do, and debootstrap")
	}
	module, pkgs, err := listPackages(ctx, opt.patterns)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "vmtest")
	if err != nil {
		return err
	}
	if opt.keep {
		fmt.Println("temporary files are in", tmp)
	} else {
		defer os.RemoveAll(tmp)
	}
	if err := os.Chmod(tmp, 0o755); err != nil { // for the ordinary user
		return err
	}
	l := lab{options: opt, module: module, pkgs: pkgs, tmp: tmp, test2json: filepath.Join(tmp, "test2json")}
	if err := l.prepare(ctx); err != nil {
		return err
	}
	all := l.runAll(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, m := range opt.machines {
		fmt.Printf("%s (%s): %s\n", m.name, m.about, count(all, m))
	}
	complete := len(opt.machines) == len(machines) && opt.run == ""
	wrong := judge(all, complete)
	if opt.cover != "" {
		uncovered, err := report(all, opt.cover)
		if err != nil {
			return err
		}
		if complete && slices.Equal(opt.patterns, everything) {
			wrong = append(wrong, uncovered...)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("FAIL\n\t%s", strings.Join(wrong, "\n\t"))
	}
	return nil
}

// lab is what the machines are made from.
type lab struct {
	options
	module    string
	pkgs      []pkg
	tmp       string
	test2json string

	native, static binaries
	stage          string // the static binaries in bin, the module's files in module
	guest          guest
}

// prepare makes what the machines asked for need.
func (l *lab) prepare(ctx context.Context) error {
	if _, err := output(ctx, "", "go", "build", "-o", l.test2json, "cmd/test2json"); err != nil {
		return err
	}
	asked := func(some set) bool {
		return slices.ContainsFunc(l.machines, func(m machine) bool { return m.bit()&some != 0 })
	}
	if asked(host) {
		l.native = binaries{dir: filepath.Join(l.tmp, "host"), cgo: true, race: l.race, cover: l.cover != "", extra: quickstart, module: l.module}
		if err := l.native.build(ctx, l.pkgs); err != nil {
			return err
		}
	}
	if !asked(user | debian | systemd) {
		return nil
	}
	l.stage = filepath.Join(l.tmp, "stage")
	l.static = binaries{dir: filepath.Join(l.stage, "bin"), cover: l.cover != "", extra: quickstart, module: l.module}
	if err := os.MkdirAll(filepath.Join(l.stage, "module"), 0o755); err != nil {
		return err
	}
	if err := errors.Join(l.static.build(ctx, l.pkgs), copyModule(ctx, l.module, filepath.Join(l.stage, "module"))); err != nil {
		return err
	}
	if !asked(debian | systemd) {
		return nil
	}
	return l.prepareGuest(ctx)
}

func (l *lab) prepareGuest(ctx context.Context) error {
	if err := checkTools("apt-get", "apt-cache", "dpkg-deb", "debootstrap", "mke2fs", "unshare", "qemu-system-x86_64"); err != nil {
		return err
	}
	c, err := openCache()
	if err != nil {
		return err
	}
	g := guest{tests: filepath.Join(l.tmp, "tests"), binary: filepath.Join(l.tmp, "guest")}
	if g.kernel, err = findKernel(ctx, c); err != nil {
		return err
	}
	if g.root, err = findRoot(ctx, c); err != nil {
		return err
	}
	if err := makeImage(ctx, g.tests, l.stage); err != nil {
		return err
	}
	env := append(os.Environ(), "CGO_ENABLED=0")
	if err := (binaries{module: l.module}).goCommand(ctx, env, []string{"build", "-o", g.binary, "./internal/vmtest/guest"}); err != nil {
		return err
	}
	l.guest = g
	return nil
}

// runAll runs the tests on the machines: the virtual ones last, all at a time, as
// most tests wait more than they compute.
func (l *lab) runAll(ctx context.Context) []*results {
	var all []*results
	for _, m := range l.machines {
		if !m.virtual() {
			plan := l.plan(m)
			r := newResults(m, plan, os.Stdout, l.verbose, l.test2json)
			r.close(plan.Run(ctx, r.message))
			all = append(all, r)
		}
	}
	var guests sync.WaitGroup
	for _, m := range l.machines {
		if !m.virtual() {
			continue
		}
		parts := []run.Plan{l.plan(m)}
		if m.only("") == "" {
			parts = split(parts[0])
		}
		for i, part := range parts {
			r := newResults(m, part, os.Stdout, l.verbose, l.test2json)
			guests.Go(func() { r.close(l.boot(ctx, m, i, part, r)) })
			all = append(all, r)
		}
	}
	guests.Wait()
	return all
}

// boot starts a virtual machine and has it run a part of its plan.
func (l *lab) boot(ctx context.Context, m machine, number int, part run.Plan, r *results) error {
	g := l.guest
	g.dir = filepath.Join(l.tmp, fmt.Sprintf("%s-%d", m.name, number))
	if m.bit() == systemd {
		g.init = "systemd"
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return err
	}
	return g.run(ctx, part, r.message)
}

// split divides a plan that has all tests into parts for a virtual machine each.
// The tests of sandbox take as long as all others together.
func split(p run.Plan) []run.Plan {
	long := func(program run.Program) bool { return strings.HasSuffix(program.Name, "/sandbox") }
	if i := slices.IndexFunc(p.Programs, long); i >= 0 && len(p.Programs) > 1 {
		first, second := p, p
		first.Programs = p.Programs[i : i+1]
		second.Programs = slices.Delete(slices.Clone(p.Programs), i, i+1)
		return []run.Plan{first, second}
	}
	return []run.Plan{p}
}

// plan is what a machine runs.
func (l *lab) plan(m machine) run.Plan {
	args := []string{"-test.timeout=" + (l.timeout - 10*time.Second).String(), fmt.Sprintf("-test.count=%d", l.count)}
	if m.virtual() { // where each of 10,000 forks takes 20 ms
		args = append(args, "-test.short")
	}
	p := run.Plan{Timeout: l.timeout}
	require := "BAREPOD_REQUIRE=" + m.features()
	switch m.bit() {
	case host:
		p.Env = append(os.Environ(), require)
		p.Programs = l.native.programs(l.pkgs, l.native.dir, l.module, args)
	case user:
		p.Wrap = []string{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--"}
		p.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", require}
		p.Programs = l.static.programs(l.pkgs, l.static.dir, filepath.Join(l.stage, "module"), args)
		p.Programs = p.Programs[:len(p.Programs)-1] // the quickstart needs root
	default:
		p.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", require}
		p.Programs = l.static.programs(l.pkgs, "/mnt/bin", "/mnt/module", args)
	}
	for i, program := range p.Programs {
		if run := cmp.Or(l.options.run, m.only(program.Name)); run != "" && program.Name != quickstart {
			p.Programs[i].Args = append(program.Args, "-test.run="+run)
		}
	}
	return p
}
