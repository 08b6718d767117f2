package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/barepod/barepod/internal/vmtest/run"
)

// pkg is a package with tests.
type pkg struct {
	importPath string
	dir        string // below the module's
}

// listPackages returns the module's directory, and those packages of it that match
// the patterns and have tests.
func listPackages(ctx context.Context, patterns []string) (module string, pkgs []pkg, err error) {
	const format = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}\t{{.Dir}}\t{{.Module.Dir}}{{end}}"
	out, err := output(ctx, "", "go", append([]string{"list", "-f", format}, patterns...)...)
	if err != nil {
		return "", nil, err
	}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 3 {
			return "", nil, fmt.Errorf("BUG: go list said %q", line)
		}
		dir, err := filepath.Rel(f[2], f[1])
		if err != nil {
			return "", nil, err
		}
		module, pkgs = f[2], append(pkgs, pkg{f[0], dir})
	}
	if len(pkgs) == 0 {
		return "", nil, fmt.Errorf("no tests in %s", strings.Join(patterns, " "))
	}
	return module, pkgs, nil
}

// binaries are test binaries of packages, and what they are built with.
type binaries struct {
	dir    string
	cgo    bool
	race   bool
	cover  bool
	extra  string // a program that runs after the tests
	module string
}

// build compiles the tests of the packages, and the program.
func (b binaries) build(ctx context.Context, pkgs []pkg) error {
	env := append(os.Environ(), "CGO_ENABLED=0")
	if b.cgo || b.race {
		env = append(os.Environ(), "CGO_ENABLED=1")
	}
	var flags []string
	if b.race {
		flags = append(flags, "-race")
	}
	if err := b.goCommand(ctx, env, append([]string{"build", "-o", b.path(b.extra)}, append(flags, "./"+b.extra)...)); err != nil {
		return err
	}
	for _, p := range pkgs {
		flags := flags[:len(flags):len(flags)]
		if b.counts(p) {
			flags = append(flags, "-cover", "-covermode=atomic", "-coverpkg=./...")
		}
		at := b.path(p.dir) + ".test"
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := b.goCommand(ctx, env, append([]string{"test", "-c", "-o", at}, append(flags, "./"+p.dir)...)); err != nil {
			return err
		}
	}
	return nil
}

// counts reports whether a test binary counts what it covers. Those of examples do
// not: their programs run in places where counting complains.
func (b binaries) counts(p pkg) bool { return b.cover && !strings.HasPrefix(p.dir, "examples/") }

func (b binaries) path(dir string) string { return filepath.Join(b.dir, filepath.FromSlash(dir)) }

func (b binaries) goCommand(ctx context.Context, env, args []string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = b.module, env, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// programs is how to run them: the binaries are in bin, the module's files in
// module.
func (b binaries) programs(pkgs []pkg, bin, module string, args []string) []run.Program {
	var list []run.Program
	for _, p := range pkgs {
		list = append(list, run.Program{
			Name: p.importPath, Path: path.Join(bin, p.dir) + ".test", Dir: path.Join(module, p.dir),
			Args: append([]string{"-test.v=test2json", "-test.paniconexit0"}, args...), Profile: b.counts(p),
		})
	}
	return append(list, run.Program{Name: b.extra, Path: path.Join(bin, b.extra), Dir: module})
}

// copyModule copies the module's files to where everybody can read them.
func copyModule(ctx context.Context, from, to string) error {
	_, err := output(ctx, from, "sh", "-c", `tar -c --exclude=./.git . | tar -x --mode=a+rX -C "$1"`, "sh", to)
	return err
}
