package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// needs is what a peer has to have on the machine.
type needs struct {
	packages []string // of Debian
	builds   []build
}

// build is a program that Go's module proxy has the source of.
type build struct {
	pkg, version string
	tags         string
	packages     []string // of Debian, to build it
}

var (
	runcBuild = build{
		pkg: "github.com/opencontainers/runc", version: "v1.5.2", tags: "seccomp",
		packages: []string{"gcc", "libc6-dev", "libseccomp-dev", "pkg-config"},
	}
	containerdBuild = build{pkg: "github.com/containerd/containerd/v2/cmd/containerd", version: "v2.4.2"}
	shimBuild       = build{pkg: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", version: "v2.4.2"}
	bridgeBuild     = build{pkg: "github.com/containernetworking/plugins/plugins/main/bridge", version: "v1.9.1"}
	hostLocalBuild  = build{pkg: "github.com/containernetworking/plugins/plugins/ipam/host-local", version: "v1.9.1"}
	ctrBuild        = build{pkg: "github.com/containerd/containerd/v2/cmd/ctr", version: "v2.4.2"}
)

// install installs and builds what is missing.
func install(ctx context.Context, peers []peer) error {
	var packages []string
	var builds []build
	for _, p := range peers {
		n := p.needs()
		packages, builds = append(packages, n.packages...), append(builds, n.builds...)
	}
	for _, b := range builds {
		if !b.done() {
			packages = append(packages, b.packages...)
		}
	}
	if err := installPackages(ctx, packages...); err != nil {
		return err
	}
	for _, b := range builds {
		if err := b.install(ctx); err != nil {
			return fmt.Errorf("build %s@%s: %w", b.pkg, b.version, err)
		}
	}
	return nil
}

func installPackages(ctx context.Context, packages ...string) error {
	var missing []string
	for _, p := range packages {
		out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status}", p).Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) { // an exit status says that it is not known
			return err
		}
		if string(out) != "installed" && !slices.Contains(missing, p) {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	progress("installing %s", strings.Join(missing, ", "))
	if err := command(ctx, "apt-get", "-qq", "update"); err != nil {
		return err
	}
	return command(ctx, "apt-get", append([]string{"-qq", "install", "--no-install-recommends", "-y"}, missing...)...)
}

// command runs a program that the user shall see.
func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// cacheDir is where the builds are kept, for the next run to be quick.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "barepod-bench"), err
}

// dir is where go install leaves the program: one directory for each version.
func (b build) dir() string {
	cache, err := cacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, path(b.pkg)+"@"+b.version)
}

// path is the last element of a package's name that is no major version.
func path(pkg string) string { return pkg[strings.LastIndexByte(pkg, '/')+1:] }

func (b build) program() string { return filepath.Join(b.dir(), path(b.pkg)) }

func (b build) done() bool {
	_, err := os.Stat(b.program())
	return err == nil
}

func (b build) install(ctx context.Context) error {
	dir := b.dir()
	if dir == "" {
		return errors.New("there is no cache directory: neither HOME nor XDG_CACHE_HOME is set")
	}
	if b.done() {
		return nil
	}
	progress("building %s@%s", b.pkg, b.version)
	cmd := exec.CommandContext(ctx, "go", "install", "-tags", b.tags, b.pkg+"@"+b.version)
	cmd.Dir = os.TempDir() // outside of every module
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	cmd.Stderr = os.Stderr
	return cmd.Run()
}
