package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const suite = "bookworm"

// rootPackages are in the guests' root file system, besides Debian's minimum.
var rootPackages = []string{
	"systemd", "dbus", // the second set-up
	"busybox-static", "iproute2", "nftables", "xfsprogs", "e2fsprogs", // the tests
}

// hostsFile is /etc/hosts there, which is Debian's installer's to write, not
// debootstrap's.
const hostsFile = "127.0.0.1\tlocalhost\n::1\tlocalhost\n"

// findRoot has debootstrap make a root file system, unless it is in the cache, and
// returns its image.
func findRoot(ctx context.Context, c cache) (string, error) {
	dir, err := c.entry("root-"+suite, append(rootPackages, hostsFile), func(dir string) error {
		root := filepath.Join(dir, "root")
		// In a mount namespace, so that no mount is left if it is killed.
		if _, err := output(ctx, dir, "unshare", "--mount", "debootstrap", "--variant=minbase",
			"--include="+strings.Join(rootPackages, ","), suite, root); err != nil {
			return err
		}
		for _, rest := range []string{"var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"} {
			if err := os.RemoveAll(filepath.Join(root, rest)); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(root, "etc/hosts"), []byte(hostsFile), 0o644); err != nil {
			return err
		}
		if err := makeImage(ctx, filepath.Join(dir, "image"), root); err != nil {
			return err
		}
		return os.RemoveAll(root)
	})
	return filepath.Join(dir, "image"), err
}

// makeImage makes an ext4 image of a directory, with some room left.
func makeImage(ctx context.Context, at, dir string) error {
	size := int64(64 << 20)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += 4096 + info.Size()*9/8
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = output(ctx, "", "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", dir, at, fmt.Sprint(size>>10))
	return err
}
