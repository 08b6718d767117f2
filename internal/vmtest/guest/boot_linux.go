package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// boot goes from the initial RAM file system to the real root.
func boot() error {
	if err := mountAll("", []mount{
		{"proc", "/proc", 0, ""},
		{"sysfs", "/sys", 0, ""},
		{"devtmpfs", "/dev", 0, ""},
	}); err != nil {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	const root = "/newroot"
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/dev/vda", root, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount the root file system: %w", err)
	}
	if err := unix.Mount("/dev/vdb", root+"/mnt", "ext4", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount the tests: %w", err)
	}
	if err := mountAll(root, []mount{
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"tmpfs", "/tmp", 0, "mode=1777"}, // tests have set-user-ID programs there
	}); err != nil {
		return err
	}
	for from, to := range map[string]string{"/init": self, "/plan.json": plan} {
		if err := copyFile(from, root+to); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := unix.Mount(dir, root+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := switchRoot(root); err != nil {
		return err
	}
	if os.Getenv("INIT") == "systemd" {
		return startSystemd()
	}
	return unix.Exec(self, []string{self}, os.Environ())
}

// loadModules loads the modules in the order of their files' names.
func loadModules(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("load module %s: %w", e.Name(), err)
		}
	}
	return nil
}

// switchRoot makes a mount the root of everything, as switch_root(8).
func switchRoot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

type mount struct {
	fstype, at string
	flags      uintptr
	options    string
}

// mountAll mounts file systems that have no device, below root.
func mountAll(root string, list []mount) error {
	for _, m := range list {
		if err := os.MkdirAll(root+m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fstype, root+m.at, m.fstype, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}
