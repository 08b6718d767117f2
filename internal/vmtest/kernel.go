package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// kernelPackage depends on Debian's newest kernel of this architecture.
const kernelPackage = "linux-image-amd64"

// wantedModules are what the guest loads, besides what they need.
var wantedModules = []string{
	"virtio_pci", "virtio_blk", "virtio_console",
	"crc32c_generic", // ext4 and xfs ask for crc32c by modprobe, which the guest does not have
	"ext4", "xfs", "loop", "quota_v2", "overlay",
	"veth", "bridge", "br_netfilter", "macvlan", "ipvlan", "dummy", "tun",
	"nf_tables", "nft_chain_nat", "nft_ct", "nft_nat", "nft_masq", "nft_fib_inet", "nft_redir", "nft_reject_inet", "nft_limit", "nft_log",
	"sch_tbf", "sctp",
	"fuse",
}

// kernel is a kernel in the cache.
type kernel struct {
	version string // of the package
	dir     string // with vmlinuz, and modules in the order of their names
}

// findKernel has apt download the kernel that is newest in its lists, unless it
// is in the cache. Nothing is installed.
func findKernel(ctx context.Context, c cache) (kernel, error) {
	pkg, version, err := newestKernel(ctx)
	if err != nil {
		return kernel{}, err
	}
	dir, err := c.entry(fmt.Sprintf("%s_%s", pkg, version), wantedModules, func(dir string) error {
		return unpackKernel(ctx, pkg+"="+version, dir)
	})
	return kernel{version: pkg + " " + version, dir: dir}, err
}

// dependsOn matches what the metapackage depends on.
var dependsOn = regexp.MustCompile(`(?m)^Depends:.*\b(linux-image-[0-9][^ ,]*) \(= ([^)]*)\)`)

func newestKernel(ctx context.Context) (pkg, version string, err error) {
	out, err := output(ctx, "", "apt-cache", "show", "--no-all-versions", kernelPackage)
	if err != nil {
		return "", "", fmt.Errorf("%w (is this Debian, and did `apt-get update` run?)", err)
	}
	return parseDependency(out)
}

// parseDependency reads what apt-cache shows of the metapackage.
func parseDependency(shown string) (pkg, version string, err error) {
	found := dependsOn.FindStringSubmatch(shown)
	if found == nil {
		return "", "", fmt.Errorf("%s depends on no kernel:\n%s", kernelPackage, shown)
	}
	return found[1], found[2], nil
}

func unpackKernel(ctx context.Context, pkg, dir string) error {
	tmp, err := os.MkdirTemp(dir, "unpack")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// apt's own user cannot write there.
	if _, err := output(ctx, tmp, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", pkg); err != nil {
		return err
	}
	deb, err := only(tmp + "/*.deb")
	if err != nil {
		return err
	}
	if _, err := output(ctx, tmp, "dpkg-deb", "-x", deb, tmp); err != nil {
		return err
	}
	image, err := only(tmp + "/boot/vmlinuz-*")
	if err != nil {
		return err
	}
	if err := os.Rename(image, filepath.Join(dir, "vmlinuz")); err != nil {
		return err
	}
	all, err := modulesIn(filepath.Join(tmp, "lib/modules"))
	if err != nil {
		return err
	}
	files, err := all.closure(wantedModules)
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "modules"), 0o755); err != nil {
		return err
	}
	for i, file := range files {
		if err := os.Rename(file, filepath.Join(dir, "modules", fmt.Sprintf("%03d-%s", i, filepath.Base(file)))); err != nil {
			return err
		}
	}
	return nil
}

// only returns the one file that matches the pattern.
func only(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d files match %s", len(found), pattern)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// initramfs writes the initial RAM file system of a guest.
func (k kernel) initramfs(at, guest string, plan []byte) error {
	f, err := os.Create(at)
	if err != nil {
		return err
	}
	defer f.Close()
	program, err := os.ReadFile(guest)
	if err != nil {
		return err
	}
	a := &archive{w: f}
	for _, dir := range []string{"proc", "sys", "dev", "modules"} {
		a.dir(dir)
	}
	a.device("dev/console", 5, 1) // init's standard streams
	a.file("init", 0o755, program)
	a.file("plan.json", 0o644, plan)
	entries, err := os.ReadDir(filepath.Join(k.dir, "modules"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(k.dir, "modules", e.Name()))
		if err != nil {
			return err
		}
		a.file("modules/"+e.Name(), 0o644, data)
	}
	if err := a.close(); err != nil {
		return err
	}
	return f.Close()
}

func (k kernel) String() string { return strings.TrimPrefix(k.version, "linux-image-") }
