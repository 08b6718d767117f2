package sandbox_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// cat returns a command that reads files: by itself, without a shell that could
// change what is to be seen.
func cat(sb *sandbox.Sandbox, root string, files ...string) *sandbox.Cmd {
	cmd := sb.Command("/bin/cat", files...)
	cmd.Rootfs = sandbox.Dir{Path: root}
	return cmd
}

func TestEtc(t *testing.T) {
	root := busyboxRoot(t)
	require.NoError(t, os.Symlink("/run/systemd/resolve/stub-resolv.conf", filepath.Join(root, "etc/resolv.conf")))
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/hosts"), []byte("image\n"), 0o644))
	sb := newSandbox(t, sandbox.Config{DNS: sandbox.DNS{Policy: sandbox.DNSNone, Searches: []string{"example.com"}}})
	require.Equal(t, "web\nsearch example.com\n"+strings.TrimSuffix(ownHosts, "\n"), output(t, cat(sb, root, "/etc/hostname", "/etc/resolv.conf", "/etc/hosts")))
	// They are the pod's: what one container writes the others see.
	output(t, shell(sb, sandbox.Dir{Path: root}, "echo 10.9.8.7 peer >>/etc/hosts"))
	require.Contains(t, output(t, cat(sb, root, "/etc/hosts")), "10.9.8.7 peer")
	image, err := os.ReadFile(filepath.Join(root, "etc/hosts"))
	require.NoError(t, err)
	require.Equal(t, "image\n", string(image))
}

func TestDev(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	sh := func(script string) (string, int) {
		out, exit := run(t, shell(sb, sandbox.Dir{Path: root}, script))
		return out, exit.Code
	}
	out, code := sh("cd /dev; echo *; for f in core fd ptmx stderr stdin stdout; do readlink $f; done")
	require.Zero(t, code)
	require.Equal(t, []string{
		"core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero",
		"/proc/kcore", "/proc/self/fd", "pts/ptmx", "/proc/self/fd/2", "/proc/self/fd/0", "/proc/self/fd/1",
	}, lines(out))
	out, _ = sh("cd /dev; for f in null zero full random urandom tty pts/ptmx; do stat -c '%n %F %a %t,%T %u' $f; done")
	require.Equal(t, []string{
		"null character special file 666 1,3 0", "zero character special file 666 1,5 0", "full character special file 666 1,7 0",
		"random character special file 666 1,8 0", "urandom character special file 666 1,9 0", "tty character special file 666 5,0 0",
		"pts/ptmx character special file 666 5,2 0",
	}, lines(out))
	out, code = sh("echo x >/dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c && echo x >/dev/full")
	require.Equal(t, 1, code)
	require.Regexp(t, `^4\n4\n.*No space left on device$`, out)
	out, _ = sh("rm /dev/null; chmod 0 /dev/zero; mv /dev/full /dev/x; ls -l /dev/null | cut -c1-10")
	require.Equal(t, 1, strings.Count(out, "crw-rw-rw-"), out)
	require.Regexp(t, "(?s)busy.*Read-only file system.*busy", out)
	out, code = sh("echo x >/dev/new && dd if=/dev/zero of=/dev/new bs=1k count=100")
	require.NotZero(t, code, "a tmpfs without bound")
	require.Contains(t, out, "No space left")
}

// TestMknod: CAP_MKNOD is among the usual capabilities, and worth nothing.
func TestMknod(t *testing.T) {
	root := busyboxRoot(t)
	testutil.RequireFeature(t, "overlay")
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{
		emptyDir("disk"), {Name: "mem", Source: volume.EmptyDir{Medium: volume.MediumMemory}}, {Name: "host", Source: volume.HostPath{Path: t.TempDir()}},
	}})
	const script = `for d in / /dev /dev/shm /tmp /disk /mem /host; do
		mknod $d/node c 1 3 && { head -c 1 $d/node 2>&1; rm $d/node; }
	done; true`
	mounts := []volume.Mount{mount("disk", "/disk"), mount("mem", "/mem"), mount("host", "/host")}
	for name, rootfs := range map[string]sandbox.Rootfs{"Dir": sandbox.Dir{Path: root}, "Overlay": sandbox.Overlay{Lower: []string{root}}} {
		t.Run(name, func(t *testing.T) {
			out := output(t, shell(sb, rootfs, script, mounts...))
			require.Equal(t, 7, strings.Count(out, "Permission denied"), out)
			require.Len(t, lines(out), 7, out)
		})
	}
}

// TestProc: what tells about the machine, or controls it, is masked.
func TestProc(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	out := output(t, shell(sb, sandbox.Dir{Path: root}, `cd /proc
		for f in kcore keys latency_stats timer_list timer_stats sched_debug interrupts; do test ! -e $f || cat $f; done
		for d in acpi asound scsi; do test ! -e $d || ls $d; done
		for f in sys/kernel/hostname sys/kernel/core_pattern sysrq-trigger sys/net/ipv4/ip_forward irq/default_smp_affinity; do
			test ! -e $f || { echo x >$f; } 2>/dev/null && test -e $f && echo wrote $f
		done; true`))
	require.Empty(t, out)
	for _, name := range []string{"kcore", "keys", "timer_list", "interrupts"} {
		if _, err := os.Stat("/proc/" + name); err == nil { // on this kernel
			require.Equal(t, "1,3", output(t, shell(sb, sandbox.Dir{Path: root}, "stat -c %t,%T /proc/"+name)))
		}
	}
}

// TestSys: read-only, of the pod's network, with the container's own cgroup.
func TestSys(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	out := output(t, shell(sb, sandbox.Dir{Path: root}, `
		ls /sys/class/net; ls /sys/firmware
		for f in /sys/kernel/uevent_helper /sys/class/net/lo/mtu /sys/fs/cgroup/x /sys/fs/cgroup/*/x /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/*/release_agent; do
			{ echo 0 >$f; } 2>/dev/null && echo wrote $f
		done; true`))
	require.Equal(t, "lo", out)
}

// TestCVE_2022_0492_Cgroup: a container sees its own cgroup as the root of all,
// and can change none.
func TestCVE_2022_0492_Cgroup(t *testing.T) {
	root := busyboxRoot(t)
	testutil.RequireFeature(t, "cgroup")
	sb := newSandbox(t, sandbox.Config{})
	cmd := sb.Command("/bin/sleep", "1000")
	cmd.Rootfs, cmd.Resources.Memory = sandbox.Dir{Path: root}, 64<<20
	p := start(t, cmd)
	require.Equal(t, "/", inside(t, p, "cut -d: -f3 /proc/self/cgroup | sort -u"))
	first := func(v2, v1 string) string {
		return inside(t, p, "cd /sys/fs/cgroup; cat "+v2+" 2>/dev/null || cat memory/"+v1)
	}
	require.Equal(t, "67108864", first("memory.max", "memory.limit_in_bytes"))
	require.Equal(t, "1", lines(first("cgroup.procs", "cgroup.procs"))[0])
	for _, try := range []string{"mkdir /sys/fs/cgroup/x", "mkdir /sys/fs/cgroup/memory/x", "umount /sys/fs/cgroup", "mount -o remount,rw /sys/fs/cgroup", "mount -t cgroup -o memory x /tmp", "mount -t cgroup2 x /tmp", "unshare -C true"} {
		out, exit := run(t, p.Exec("/bin/sh", "-c", try))
		require.NotZero(t, exit.Code, "%s: %s", try, out)
	}
}

// TestMountTable: a container sees its own mounts and nothing else, and the
// host's paths only where they are the sources of its mounts.
func TestMountTable(t *testing.T) {
	root := busyboxRoot(t)
	testutil.RequireFeature(t, "overlay")
	sb := newSandbox(t, sandbox.Config{Volumes: []volume.Volume{emptyDir("data"), {Name: "mem", Source: volume.EmptyDir{Medium: volume.MediumMemory}}, binVolume(root)}})
	for name, rootfs := range map[string]sandbox.Rootfs{"Dir": sandbox.Dir{Path: root}, "Overlay": sandbox.Overlay{Lower: []string{root}}, "Scratch": sandbox.Scratch{}, "HostRoot": sandbox.HostRoot{}} {
		t.Run(name, func(t *testing.T) {
			out := output(t, shell(sb, rootfs, "while read a b c root at opts rest; do echo $at $opts $root ${rest##*- }; done </proc/self/mountinfo",
				mount("data", "/run/data"), mount("mem", "/run/mem"), mount("bin", "/bin")))
			seen := map[string]bool{}
			for _, line := range lines(out) {
				f := strings.Fields(line)
				at, opts, source := f[0], strings.Split(f[1], ","), strings.Join(f[2:], " ")
				// The host may have a directory where the test mounts its own.
				require.False(t, seen[at] && at != "/bin", "twice: %s", out)
				seen[at] = true
				fresh := strings.HasPrefix(at, "/proc") || strings.HasPrefix(at, "/dev") || strings.HasPrefix(at, "/sys") || strings.HasPrefix(at, "/etc/")
				if fresh || at == "/run/mem" {
					require.NotContains(t, source, "/tmp/", at)
					require.NotContains(t, source, "/pod", at)
				}
				if strings.HasPrefix(at, "/sys") || strings.HasPrefix(at, "/proc/") && at != "/proc" && !strings.Contains(source, "tmpfs") {
					require.Contains(t, opts, "ro", at)
				}
				device := strings.HasPrefix(source, "/dev/") || strings.HasSuffix(at, "/pts")
				empty := strings.HasPrefix(source, "/empty ")
				require.True(t, device || empty || slices.Contains(opts, "nodev"), "%s", line)
				require.NotContains(t, line, "nsfs")
			}
			for _, at := range []string{"/", "/proc", "/sys", "/dev", "/dev/shm", "/dev/pts", "/dev/mqueue", "/etc/hosts", "/run/data", "/run/mem", "/proc/sys"} {
				require.True(t, seen[at], at)
			}
		})
	}
}

// TestCVE_2024_21626_NothingOpen: no way up, and nothing open that leads out.
func TestCVE_2024_21626_NothingOpen(t *testing.T) {
	root := busyboxRoot(t)
	leak, err := os.Open("/") // of the host program, without care
	require.NoError(t, err)
	defer leak.Close()
	_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, leak.Fd(), syscall.F_SETFD, 0)
	require.Zero(t, errno)
	sb := newSandbox(t, sandbox.Config{})
	cmd := sb.Command("/bin/ls", "/proc/self/fd", "/proc/self/cwd/..", "/..", "/proc/self/root/../..", "/proc/1/root")
	cmd.Rootfs = sandbox.Dir{Path: root}
	for name, cmd := range map[string]*sandbox.Cmd{"container": cmd, "exec": idle(t, sb, sandbox.Dir{Path: root}, "main").Exec(cmd.Path, cmd.Args[1:]...)} {
		t.Run(name, func(t *testing.T) {
			out := output(t, cmd)
			sections := strings.Split(out, "\n\n")
			require.Len(t, sections, 5)
			const all = "bin\ndev\netc\nproc\nsys\ntmp\nusr"
			for _, s := range sections {
				name, list, _ := strings.Cut(s, ":\n")
				if name == "/proc/self/fd" {
					require.Equal(t, "0\n1\n2\n3", list, "3 is the directory that is read")
					continue
				}
				require.Equal(t, all, list, name)
			}
		})
	}
	for fd := range 100 {
		cmd := shell(sb, sandbox.Dir{Path: root}, "pwd; ls")
		cmd.Dir = fmt.Sprint("/proc/self/fd/", fd)
		_, err := cmd.Start(t.Context())
		requireField(t, err, "Dir")
	}
}

func TestProcessState(t *testing.T) {
	root := busyboxRoot(t)
	// A host program that ignores signals, as many do.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGUSR1)
	defer signal.Reset(syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGUSR1)
	defer syscall.Umask(syscall.Umask(0o077))
	sb := newSandbox(t, sandbox.Config{})
	main := idle(t, sb, sandbox.Dir{Path: root}, "main")
	for name, cmd := range map[string]*sandbox.Cmd{"container": cat(sb, root, "/proc/self/status"), "exec": main.Exec("/bin/cat", "/proc/self/status")} {
		t.Run(name, func(t *testing.T) {
			status := fields(output(t, cmd))
			for _, key := range []string{"SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"} {
				require.Equal(t, "0000000000000000", status[key], key)
			}
			require.Equal(t, "0022", status["Umask"])
			require.Equal(t, "0", status["TracerPid"])
		})
	}
	// Its own session, without a terminal.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", main.PID()))
	require.NoError(t, err)
	f := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
	require.Equal(t, fmt.Sprint(main.PID()), f[3], "session")
	require.Equal(t, "0", f[4], "terminal")
}

func TestEnvironment(t *testing.T) {
	root := busyboxRoot(t)
	t.Setenv("BAREPOD_SECRET", "of the host program")
	sb := newSandbox(t, sandbox.Config{})
	tests := []struct {
		name   string
		change func(c *sandbox.Cmd)
		want   string
	}{
		{"default", func(*sandbox.Cmd) {}, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOME=/"},
		{"own", func(c *sandbox.Cmd) { c.Env = []string{"A=1", "B=two words", "A=3", "C="} }, "A=1\nB=two words\nA=3\nC="},
		{"none", func(c *sandbox.Cmd) { c.Env = []string{} }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := cat(sb, root, "/proc/self/environ")
			tt.change(cmd)
			require.Equal(t, tt.want, strings.TrimSuffix(strings.ReplaceAll(output(t, cmd), "\x00", "\n"), "\n"))
		})
	}
}

func TestArgs(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	cmd := cat(sb, root)
	cmd.Args = []string{"cat", "/proc/self/cmdline", "-"}
	cmd.Path = "/bin/busybox"
	require.Equal(t, "cat\x00/proc/self/cmdline\x00-\x00", output(t, cmd))
	for name, path := range map[string]string{"looked up": "marker", "relative": "usr/bin/marker", "dot": "./usr/bin/marker"} {
		t.Run(name, func(t *testing.T) {
			cmd := sb.Command(path)
			cmd.Rootfs = sandbox.Dir{Path: root}
			require.Equal(t, "marker", output(t, cmd))
		})
	}
}

// TestWorkingDirectory: entered as the user, inside the root.
func TestWorkingDirectory(t *testing.T) {
	root := busyboxRoot(t)
	require.NoError(t, os.Mkdir(filepath.Join(root, "secret"), 0o700))
	sb := newSandbox(t, sandbox.Config{})
	tests := []struct {
		dir  string
		user uint32
		is   error
	}{
		{"/tmp", 0, nil},
		{"/secret", 0, nil},
		{"/secret", 1000, fs.ErrPermission},
		{"/none", 0, fs.ErrNotExist},
		{"/etc/passwd", 0, syscall.ENOTDIR},
	}
	for _, tt := range tests {
		cmd := shell(sb, sandbox.Dir{Path: root}, "pwd")
		cmd.Dir, cmd.User.UID = tt.dir, tt.user
		if tt.is == nil {
			require.Equal(t, tt.dir, output(t, cmd))
			continue
		}
		_, err := cmd.Start(t.Context())
		requireField(t, err, "Dir")
		require.ErrorIs(t, err, tt.is)
	}
}
