package launch_test

import (
	"bufio"
	"errors"
	"flag"
	gobuild "go/build"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/testutil"
)

var update = flag.Bool("update", false, "write the golden files")

// requireGolden compares with testdata/<name>.golden.
func requireGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// everything uses all that there is to print.
func everything() *launch.Program {
	p := launch.New("everything")
	p.Call("prctl", launch.Named(unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), launch.Int(0))
	p.Call("close", launch.Image)
	everyNumber(p)
	everyStruct(p)
	everyJump(p)
	exit(p, launch.Int(0))
	return p
}

func everyNumber(p *launch.Program) {
	p.Note("print %s of %d forms", "numbers", 6)
	f := p.File(nil, "first")
	p.Call("chdir", launch.Null)
	p.Call("fchdir", f)
	p.Call("close_range", launch.Int(p.FirstFree()), launch.Hex(0xffffffff), launch.Int(-1))
	p.Call("mkdirat", launch.AtFDCWD, p.Str("a \"quoted\"\n\tpath"), launch.Octal(0o755))
	p.Call("umask", launch.Octal(0))
	p.Call("unshare", launch.CloneFlags(unix.CLONE_NEWNS|unix.CLONE_NEWCGROUP|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC|
		unix.CLONE_NEWUSER|unix.CLONE_NEWPID|unix.CLONE_NEWNET|unix.CLONE_NEWTIME))
	p.Call("unshare", launch.CloneFlags(0))
	for _, flags := range []int{
		unix.O_RDONLY, unix.O_RDONLY | unix.O_NONBLOCK, unix.O_PATH, unix.O_PATH | unix.O_DIRECTORY,
		unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC | unix.O_APPEND, unix.O_RDWR | unix.O_NOFOLLOW | unix.O_ASYNC | unix.O_CLOEXEC,
	} {
		p.Call("openat", f, p.Str("x"), launch.OpenFlags(flags), launch.Octal(0o644))
	}
	p.Call("open_tree", f, p.Str(""), launch.TreeFlags(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW))
	p.Call("move_mount", f, p.Str(""), f, p.Str(""), launch.MoveFlags(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
	p.Call("mount", launch.Null, p.Str("/"), launch.Null, launch.MountFlags(unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|
		unix.MS_REMOUNT|unix.MS_BIND|unix.MS_REC|unix.MS_PRIVATE|unix.MS_SLAVE|unix.MS_SHARED), launch.Null)
	p.Call("fsmount", f, launch.Int(0), launch.AttrFlags(unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC|1<<30))
}

func everyStruct(p *launch.Program) {
	p.Note("print structures")
	p.Call("openat2", launch.AtFDCWD, p.Str("x"), p.OpenHow(unix.O_PATH, 0, 0), launch.OpenHowSize)
	p.Call("openat2", launch.AtFDCWD, p.Str("x"), p.OpenHow(unix.O_WRONLY|unix.O_CREAT, 0o600, unix.RESOLVE_IN_ROOT|unix.RESOLVE_BENEATH|
		unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV|0x20), launch.OpenHowSize)
	for _, attr := range [][3]uint64{{unix.MOUNT_ATTR_RDONLY}, {unix.MOUNT_ATTR_NODEV, unix.MOUNT_ATTR_RDONLY, unix.MS_SLAVE}, {}} {
		p.Call("mount_setattr", launch.AtFDCWD, p.Str("/"), launch.TreeFlags(0), p.MountAttr(attr[0], attr[1], attr[2]), launch.MountAttrSize)
	}
	p.Call("rt_sigaction", launch.Int(17), p.Sigaction(0), launch.Null, launch.Int(8))
	p.Call("rt_sigaction", launch.Int(17), p.Sigaction(1), launch.Null, launch.Int(8))
	for _, set := range []uint64{0, ^uint64(0), 1 << 16} {
		p.Call("rt_sigprocmask", launch.Int(2), p.Sigset(set), launch.Null, launch.Int(8))
	}
	p.Call("prlimit64", launch.Int(0), launch.Named(unix.RLIMIT_NOFILE, "RLIMIT_NOFILE"), p.Rlimit(1024, unix.RLIM_INFINITY), launch.Null)
	p.Call("setgroups", launch.Int(2), p.Groups([]uint32{10, 4294967294}))
	p.Call("setgroups", launch.Int(0), p.Groups(nil))
	header, data := p.Capabilities(1<<40 | 1)
	p.Call("capset", header, data)
	p.Call("execve", p.Str("/bin/sh"), p.Strings([]string{"sh", "-c", "echo \"$X\""}), p.Strings(nil))
	buf := p.Buffer(10, "buf")
	msg, fds := p.FDMessage(buf.Plus(2), 8, 2)
	args, size := p.CloneArgs(unix.CLONE_PIDFD|unix.CLONE_INTO_CGROUP, fds.Plus(4), p.File(nil, "cgroup"))
	pid := p.Call("clone3", args, size).Result()
	p.Store32(fds, pid)
	p.Store32(buf.Plus(4), buf.Load())
	p.Call("sendmsg", launch.Status, msg, launch.Int(0)).To(buf.Plus(8))
	args, size = p.CloneArgs(0, launch.Null, launch.Null)
	p.Call("clone3", args, size)
	table := p.Bytes(make([]byte, 16), "table")
	p.Point(table.Plus(8), p.Str("x"))
	p.Call("write", launch.Int(1), table.Plus(8).Load(), table.As("a size").Load())
}

func everyJump(p *launch.Program) {
	p.Note("jump")
	done, other := p.NewLabel("done: x/y"), p.NewLabel("other")
	loop := p.Here("loop")
	alias := p.Here("alias")
	n := p.Var()
	p.Call("read", launch.Status, launch.Null, launch.Int(1)).Into(n)
	p.Call("read", launch.Status, launch.Null, launch.Int(1)).Ignore(syscall.EINTR, syscall.EAGAIN).On(syscall.ENOENT, done).On(syscall.Errno(4000), other)
	p.Call("read", launch.Status, launch.Null, launch.Int(1)).Retry(syscall.EINTR, syscall.EAGAIN)
	p.Sum(n, n, launch.Int(-1))
	p.IfZero(n, done)
	p.IfEqual(n, 0xff, 3, loop)
	p.IfNot(n, ^uint64(0), 4, alias)
	p.IfNot(n, 1, 1, other)
	p.Goto(loop)
	p.Place(done)
	p.Place(other)
}

func TestString(t *testing.T) {
	p := everything()
	requireGolden(t, "everything", p.String())
	for _, goarch := range []string{"amd64", "arm64"} {
		_, err := p.Image(goarch) // it is a correct program, too
		require.NoError(t, err)
	}
	require.Equal(t, p.Len(), strings.Count(p.String(), "\n\t")-strings.Count(p.String(), "\t# ")+1)
}

// Structures of a kind that are equal stand in the data once, others apart.
func TestSharedStructs(t *testing.T) {
	p := launch.New("x")
	where := func(a launch.Arg) string { return a.Number() }
	how := where(p.OpenHow(unix.O_PATH, 0, 0))
	require.Equal(t, how, where(p.OpenHow(unix.O_PATH, 0, 0)))
	require.NotEqual(t, how, where(p.OpenHow(unix.O_PATH, 1, 0)))
	require.NotEqual(t, how, where(p.OpenHow(unix.O_PATH, 0, unix.RESOLVE_IN_ROOT)))
	first := where(p.Str("s"))
	require.Equal(t, first, where(p.Str("s")))
	require.NotEqual(t, where(p.Sigset(0)), where(p.Rlimit(0, 0)))
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		build func(p *launch.Program)
		want  string
	}{
		{"empty", func(*launch.Program) {}, "launch program: 0 steps"},
		{"runs past its end", func(p *launch.Program) { p.Call("getpid") }, "launch program: BUG: runs past its end"},
		{"ends with a branch", func(p *launch.Program) {
			start := p.Here("start")
			p.IfZero(p.Call("getpid").Result(), start)
		}, "launch program: BUG: runs past its end"},
		{"jump to nowhere", func(p *launch.Program) { p.Goto(p.NewLabel("home")) }, "launch program: BUG: label home is not placed"},
		{"error to nowhere", func(p *launch.Program) {
			p.Call("getpid").On(syscall.EPERM, p.NewLabel("home"))
			exit(p, launch.Int(0))
		}, "launch program: BUG: label home is not placed"},
		{"label behind the end", func(p *launch.Program) {
			end := p.NewLabel("end")
			p.IfZero(launch.Int(0), end)
			exit(p, launch.Int(0))
			p.Place(end)
		}, "launch program: BUG: label end is not placed"},
		{"label placed twice", func(p *launch.Program) {
			p.Place(p.Here("here"))
			exit(p, launch.Int(0))
		}, "launch program: BUG: label here placed twice"},
		{"unknown call", func(p *launch.Program) { p.Call("fork") }, `launch program: BUG: unknown system call "fork"`},
		{"too many arguments", func(p *launch.Program) { p.Call("getpid", make([]launch.Arg, 7)...) }, "launch program: BUG: getpid with 7 arguments"},
		{"too many errors", func(p *launch.Program) {
			p.Call("getpid").Ignore(1, 2, 3, 4, 5)
		}, "launch program: BUG: more than 4 expected errors of getpid"},
		{"NUL", func(p *launch.Program) { p.Call("chdir", p.Str("a\x00b")) }, `launch program: string "a\x00b" has a NUL`},
		{"NUL in an argument", func(p *launch.Program) { p.Strings([]string{"a", "b\x00"}) }, `launch program: string "b\x00" has a NUL`},
		{"result to a number", func(p *launch.Program) { p.Call("getpid").To(launch.Int(3)) }, "launch program: BUG: not an address in the image: 3"},
		{"result to a value", func(p *launch.Program) { p.Call("getpid").To(p.Buffer(8, "buf").Load()) }, "launch program: BUG: not an address in the image: *buf"},
		{"result to two places", func(p *launch.Program) {
			c := p.Call("getpid")
			c.Result()
			c.Into(p.Var())
		}, "launch program: BUG: two places for the result of getpid"},
		{"store to a number", func(p *launch.Program) { p.Store32(launch.Null, launch.Int(0)) }, "launch program: BUG: not an address in the image: NULL"},
		{"sum into a number", func(p *launch.Program) { p.Sum(launch.Int(1), launch.Int(1), launch.Int(1)) }, "launch program: BUG: not an address in the image: 1"},
		{"pointer in a buffer", func(p *launch.Program) { p.Point(p.Buffer(8, "buf"), launch.Null) }, "launch program: BUG: pointer outside the data: buf"},
		{"pointer over the end", func(p *launch.Program) { p.Point(p.Bytes(make([]byte, 8), "b").Plus(1), launch.Null) }, "launch program: BUG: pointer outside the data: b+1"},
		{"pointer to a result", func(p *launch.Program) {
			p.Point(p.Bytes(make([]byte, 8), "b"), p.Call("getpid").Result())
		}, "launch program: BUG: pointer to what is not known yet: r0"},
		{"the first mistake", func(p *launch.Program) {
			p.Call("one")
			p.Call("two")
		}, `launch program: BUG: unknown system call "one"`},
		{"too many steps", func(p *launch.Program) {
			for range 0x10000 {
				exit(p, launch.Int(0))
			}
		}, "launch program: 65536 steps"},
		{"too much data", func(p *launch.Program) {
			p.Buffer(1<<24, "all")
			exit(p, launch.Int(0))
		}, "launch program: 16777376 bytes of data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := launch.New("bad")
			tt.build(p)
			_, err := p.Image("amd64")
			require.EqualError(t, err, tt.want)
			_, err = p.Start([3]*os.File{}, t.TempDir())
			require.EqualError(t, err, tt.want)
			_ = p.String() // for whoever looks for the mistake
		})
	}
}

func TestArch(t *testing.T) {
	p := build0()
	_, err := p.Image("riscv64")
	require.ErrorIs(t, err, launch.ErrArch)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func build0() *launch.Program {
	p := launch.New("x")
	exit(p, launch.Int(0))
	return p
}

// TestNumbers compares the numbers of system calls with those that
// golang.org/x/sys has from the kernel's headers.
func TestNumbers(t *testing.T) {
	pkg, err := gobuild.Import("golang.org/x/sys/unix", ".", gobuild.FindOnly)
	if err != nil || pkg.Dir == "" {
		testutil.LacksFeature(t, "x-sys-source", err)
	}
	for column, goarch := range []string{"amd64", "arm64"} {
		f, err := os.Open(filepath.Join(pkg.Dir, "zsysnum_linux_"+goarch+".go"))
		if errors.Is(err, os.ErrNotExist) {
			testutil.LacksFeature(t, "x-sys-source", err)
		}
		require.NoError(t, err)
		defer f.Close()
		known := map[string]int{}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if w := strings.Fields(lines.Text()); len(w) >= 3 && w[1] == "=" {
				known[w[0]], _ = strconv.Atoi(w[2])
			}
		}
		for name, n := range launch.Numbers {
			want, ok := known["SYS_"+strings.ToUpper(name)]
			require.True(t, ok, name)
			require.Equal(t, want, n[column], "%s on %s", name, goarch)
		}
	}
}
