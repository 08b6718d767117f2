package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// tools are the programs that the virtual machines are made with, with the
// Debian packages that bring them.
var tools = map[string]string{
	"apt-get":            "apt",
	"apt-cache":          "apt",
	"dpkg-deb":           "dpkg",
	"debootstrap":        "debootstrap",
	"mke2fs":             "e2fsprogs",
	"qemu-system-x86_64": "qemu-system-x86",
	"setpriv":            "util-linux",
	"unshare":            "util-linux",
}

// checkTools reports all that are missing.
func checkTools(names ...string) error {
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, fmt.Sprintf("%s (Debian package %s)", name, tools[name]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing here: %s", strings.Join(missing, ", "))
	}
	return nil
}

// output runs a command and returns its standard output. All it wrote is in the
// error.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C.UTF-8")
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out.Bytes(), complaints.Bytes())
	}
	return out.String(), nil
}
