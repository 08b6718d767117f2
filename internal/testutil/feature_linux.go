package testutil

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// feature is something that not every machine has.
type feature struct {
	from  string       // what to do about it
	probe func() error // why it is not there; nil if tests try it themselves
}

func debian(pkg string) string { return "Debian package " + pkg }

var features = map[string]feature{
	"busybox":              {debian("busybox-static"), func() error { _, err := findBusybox(); return err }},
	"crun":                 {debian("crun"), command("crun")},
	"runc":                 {debian("runc"), command("runc")},
	"gcc":                  {debian("gcc"), command("gcc")},
	"sudo":                 {debian("sudo"), command("sudo")},
	"ip":                   {debian("iproute2"), command("ip")},
	"nft":                  {debian("nftables"), command("nft")},
	"iperf3":               {debian("iperf3"), command("iperf3")},
	"iptables":             {debian("iptables"), command("iptables")},
	"nsenter":              {debian("util-linux"), command("nsenter")},
	"unshare":              {debian("util-linux"), command("unshare")},
	"go":                   {"the go command, with a build cache", probeGo},
	"mkfs.ext4":            {debian("e2fsprogs"), command("mkfs.ext4")},
	"mkfs.xfs":             {debian("xfsprogs"), command("mkfs.xfs")},
	"as":                   {debian("binutils"), command("as")},
	"aarch64-linux-gnu-as": {debian("binutils-aarch64-linux-gnu"), command("aarch64-linux-gnu-as")},
	"x86_64-linux-gnu-as":  {debian("binutils-x86-64-linux-gnu"), command("x86_64-linux-gnu-as")},
	"qemu-aarch64-static":  {debian("qemu-user-static"), command("qemu-aarch64-static")},

	"unprivileged": {"an ordinary user", func() error {
		if os.Geteuid() == 0 {
			return errors.New("this is root")
		}
		return nil
	}},
	"x-sys-source": {"the source of golang.org/x/sys where go list finds it", nil},
	"time": {"a run without -short", func() error {
		if testing.Short() {
			return errors.New("the run is to be short")
		}
		return nil
	}},
	"memory-8GiB": {"8 GiB of free memory", func() error { return probeMemory(8 << 30) }},

	"overlay":          {"a kernel with CONFIG_OVERLAY_FS", probeOverlay},
	"ipv6":             {"a kernel with IPv6 on", readable("/proc/sys/net/ipv6/conf/all/disable_ipv6")},
	"cgroup":           {"a cgroup hierarchy on /sys/fs/cgroup that may be written", probeCgroup},
	"cgroup2":          {"a cgroup v2 hierarchy with the memory and pids controllers", probeCgroup2},
	"cgroup.freeze":    {"a cgroup v2 hierarchy", probeCgroupFile("cgroup.freeze")},
	"cgroup.kill":      {"cgroup v2 and Linux 5.14", probeCgroupFile("cgroup.kill")},
	"memory.oom":       {"a memory controller, v1 or v2, that counts OOM kills", probeOOM},
	"keyrings":         {"a kernel with CONFIG_KEYS", probeKeyrings},
	"ns_last_pid":      {"a kernel with CONFIG_CHECKPOINT_RESTORE", readable("/proc/sys/kernel/ns_last_pid")},
	"memfd_noexec":     {"Linux 6.3", readable("/proc/sys/vm/memfd_noexec")},
	"pidfd-namespaces": {"Linux 6.11", nil},
	"quota.ext4":       {"loop devices, and ext4 in a kernel with CONFIG_QFMT_V2", nil},
	"quota.xfs":        {"loop devices, and XFS in a kernel with CONFIG_XFS_QUOTA", nil},
	"systemd":          {"systemd as init", probeSystemd},
	"no-systemd": {"another init than systemd", func() error {
		if probeSystemd() == nil {
			return errors.New("systemd is running")
		}
		return nil
	}},
	"CAP_SYS_RESOURCE": {"root with this capability", capability(unix.CAP_SYS_RESOURCE)},
	"CAP_SYS_ADMIN":    {"root with this capability", capability(unix.CAP_SYS_ADMIN)},
}

func probeSystemd() error { _, err := os.Stat("/run/systemd/system"); return err }

func probeKeyrings() error {
	if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); errors.Is(err, unix.ENOSYS) {
		return os.NewSyscallError("keyctl", err)
	}
	return nil
}

// probeMemory reports whether so many bytes can be used without swapping.
func probeMemory(size uint64) error {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	var available uint64
	for line := range strings.Lines(string(info)) {
		if value, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			if _, err := fmt.Sscanf(value, "%d kB", &available); err != nil {
				return err
			}
		}
	}
	if available<<10 < size {
		return fmt.Errorf("%d MiB are free", available>>10)
	}
	return nil
}

func probeGo() error {
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return err
	}
	return os.MkdirAll(strings.TrimSpace(string(cache)), 0o755)
}

func command(name string) func() error {
	return func() error { _, err := exec.LookPath(name); return err }
}

func readable(path string) func() error {
	return func() error { _, err := os.ReadFile(path); return err }
}

// capability probes whether the program has a capability now.
func capability(number int) func() error {
	return func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			return os.NewSyscallError("capget", err)
		}
		if data[number/32].Effective&(1<<(number%32)) == 0 {
			return errors.New("not among the effective capabilities")
		}
		return nil
	}
}

// probeOverlay makes an overlay file system that nothing is mounted from.
func probeOverlay() error {
	dir, err := os.MkdirTemp("", "overlay")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fsopen overlay", err)
	}
	defer unix.Close(fs)
	for _, o := range []string{"lowerdir", "upperdir", "workdir"} {
		path := filepath.Join(dir, o)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := unix.FsconfigSetString(fs, o, path); err != nil {
			return os.NewSyscallError("fsconfig "+o, err)
		}
	}
	return os.NewSyscallError("fsconfig create", unix.FsconfigCreate(fs))
}

// cgroup2Mount returns where the cgroup v2 hierarchy is.
func cgroup2Mount() (string, error) {
	for _, path := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return path, nil
		}
	}
	return "", errors.New("no cgroup v2 hierarchy on /sys/fs/cgroup")
}

// inCgroup calls f with a new group below parent.
func inCgroup(parent string, f func(dir string) error) error {
	dir, err := os.MkdirTemp(parent, "barepod-probe")
	if err != nil {
		return err
	}
	return errors.Join(f(dir), os.Remove(dir))
}

func probeCgroup() error {
	parent, err := cgroup2Mount()
	if err != nil {
		parent = "/sys/fs/cgroup/memory"
	}
	return inCgroup(parent, func(string) error { return nil })
}

func probeCgroup2() error {
	parent, err := cgroup2Mount()
	if err != nil {
		return err
	}
	list, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, c := range []string{"memory", "pids"} {
		if !slices.Contains(strings.Fields(string(list)), c) {
			return fmt.Errorf("no %s controller in %s", c, parent)
		}
	}
	return inCgroup(parent, func(string) error { return nil })
}

// probeCgroupFile looks for a file of each group but the root.
func probeCgroupFile(name string) func() error {
	return func() error {
		parent, err := cgroup2Mount()
		if err != nil {
			return err
		}
		return inCgroup(parent, func(dir string) error {
			_, err := os.Stat(filepath.Join(dir, name))
			return err
		})
	}
}

// probeOOM looks for the counter of OOM kills: in memory.oom_control from 4.13.
func probeOOM() error {
	if probeCgroup2() == nil {
		return nil
	}
	return inCgroup("/sys/fs/cgroup/memory", func(dir string) error {
		control, err := os.ReadFile(filepath.Join(dir, "memory.oom_control"))
		if err == nil && !strings.Contains(string(control), "oom_kill ") {
			err = errors.New("memory.oom_control without oom_kill")
		}
		return err
	})
}

// findBusybox returns the path of a statically linked busybox.
func findBusybox() (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is linked dynamically", path)
		}
	}
	return path, nil
}
