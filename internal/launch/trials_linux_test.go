package launch_test

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
)

// trial is a program with all that can be seen of it, on whatever machine.
type trial struct {
	name  string
	build func(p *launch.Program)
	in    []string // messages to it

	messages []string // messages of it
	out      string   // its standard output
	fail     *launch.Error
	code     int // of the first process
}

// none is the address space's last page: what the kernel reads there is EFAULT.
var none = launch.Named(-4096, "nowhere")

func exit(p *launch.Program, code launch.Arg) { p.Call("exit_group", code) }

func print(p *launch.Program, s string) launch.Call {
	return p.Call("write", launch.Int(1), p.Str(s), launch.Int(len(s)))
}

// fork returns 0 in the child.
func fork(p *launch.Program) launch.Arg {
	return p.Call("clone", launch.CloneFlags(int(syscall.SIGCHLD)), launch.Null, launch.Null, launch.Null, launch.Null).Result()
}

// trials have no structure or flag that differs between architectures.
var trials = []trial{
	{
		name: "results are arguments",
		build: func(p *launch.Program) {
			n := print(p, "hello").Result()
			print(p, ", world\n")
			exit(p, n)
		},
		out: "hello, world\n", code: 5,
	},
	{
		name: "a result goes to an address",
		build: func(p *launch.Program) {
			buf := p.Buffer(24, "buf")
			print(p, "four").To(buf.Plus(16))
			exit(p, buf.Plus(16).Load())
		},
		out: "four", code: 4,
	},
	{
		name: "the result of a call not made yet is 0",
		build: func(p *launch.Program) {
			over := p.NewLabel("over")
			p.Goto(over)
			n := print(p, "never").Result()
			p.Place(over)
			exit(p, n)
		},
	},
	{
		name: "five arguments",
		build: func(p *launch.Program) { // the fifth has to be 0: prctl(2)
			bad := p.NewLabel("bad")
			nnp := launch.Named(unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS")
			p.Call("prctl", nnp, launch.Int(1), launch.NoArg, launch.NoArg, launch.NoArg)
			p.Call("prctl", nnp, launch.Int(1), launch.NoArg, launch.NoArg, launch.Int(7)).On(syscall.EINVAL, bad)
			exit(p, launch.Int(1))
			p.Place(bad)
			exit(p, launch.Int(0))
		},
	},
	{
		name:  "branches",
		build: branches,
		code:  0,
	},
	{
		name: "loops",
		build: func(p *launch.Program) {
			i, sum := p.Var(), p.Var()
			again := p.Here("again")
			p.Sum(i, i, launch.Int(1))
			p.Sum(sum, sum, i)
			p.IfNot(i, ^uint64(0), 10, again)
			print(p, "once")
			exit(p, sum)
		},
		out: "once", code: 55,
	},
	{
		name: "sums wrap",
		build: func(p *launch.Program) {
			v := p.Var()
			p.Sum(v, launch.Int(-1), launch.Int(8))
			exit(p, v)
		},
		code: 7,
	},
	{
		name: "32 bits are stored",
		build: func(p *launch.Program) {
			buf := p.Bytes([]byte("........"), "buf")
			p.Store32(buf.Plus(2), launch.Hex(0x11_6c6c6548)) // and not the bits above
			p.Call("write", launch.Int(1), buf, launch.Int(8))
			exit(p, launch.Int(0))
		},
		out: "..Hell..",
	},
	{
		name: "pointers",
		build: func(p *launch.Program) {
			table := p.Bytes(make([]byte, 16), "table")
			p.Point(table, p.Str("no"))
			p.Point(table.Plus(8), p.Str("yes"))
			p.Call("write", launch.Int(1), table.Plus(8).Load(), launch.Int(3))
			exit(p, launch.Int(0))
		},
		out: "yes",
	},
	{
		name: "expected errors are ignored, their numbers stored",
		build: func(p *launch.Program) {
			// All four of the list are tried.
			for _, at := range [][]syscall.Errno{
				{syscall.EBADF, syscall.EPERM, syscall.EINTR, syscall.EAGAIN},
				{syscall.EPERM, syscall.EBADF, syscall.EINTR, syscall.EAGAIN},
				{syscall.EPERM, syscall.EINTR, syscall.EBADF, syscall.EAGAIN},
				{syscall.EPERM, syscall.EINTR, syscall.EAGAIN, syscall.EBADF},
			} {
				p.Call("close", launch.Int(999)).Ignore(at...)
			}
			ok := p.NewLabel("ok")
			minus9 := ^uint64(syscall.EBADF) + 1
			p.IfEqual(p.Call("close", launch.Int(999)).Ignore(syscall.EBADF).Result(), ^uint64(0), minus9, ok)
			exit(p, launch.Int(1))
			p.Place(ok)
			exit(p, launch.Int(0))
		},
	},
	{
		name: "expected errors jump",
		build: func(p *launch.Program) {
			missing, other := p.NewLabel("missing"), p.NewLabel("other")
			p.Call("openat", launch.AtFDCWD, p.Str("/no/such/file"), launch.OpenFlags(0)).On(syscall.EACCES, other).On(syscall.ENOENT, missing)
			exit(p, launch.Int(1))
			p.Place(other)
			exit(p, launch.Int(2))
			p.Place(missing)
			exit(p, launch.Int(42))
		},
		code: 42,
	},
	{
		name: "argument vector and environment",
		build: func(p *launch.Program) {
			p.Call("execve", p.Str("/bin/sh"), p.Strings([]string{"sh", "-c", `echo "$0:$1:$#:$X:$Y"`, "zero", "a b", ""}),
				p.Strings([]string{"X=1", "Y=$HOME"}))
			exit(p, launch.Int(1))
		},
		out: "zero:a b:2:1:$HOME\n",
	},
	{
		name:     "fork and wait",
		build:    forkAndWait,
		out:      "hello\nhello\nhello\n",
		messages: []string{"a child was born"},
	},
	{
		name:     "messages in both directions",
		build:    echo,
		in:       []string{"one", "three", "q"},
		messages: []string{"one", "three"},
	},
	{
		name: "a failure with its note",
		build: func(p *launch.Program) {
			p.Note("write to %s", "nobody")
			p.Call("write", launch.Int(999), p.Str("x"), launch.Int(1))
			exit(p, launch.Int(0))
		},
		fail: &launch.Error{Call: `write(999, "x", 1)`, Errno: syscall.EBADF, Note: "write to nobody"},
		code: 127,
	},
	{
		name: "a failure beside those that are expected",
		build: func(p *launch.Program) {
			print(p, "first")
			r := p.Call("openat", launch.AtFDCWD, p.Str("/no/such/file"), launch.OpenFlags(unix.O_WRONLY)).
				Ignore(syscall.EPERM, syscall.EACCES, syscall.EINTR, syscall.ENOTDIR).Result()
			exit(p, r)
		},
		out:  "first",
		fail: &launch.Error{Call: `r0 = openat(AT_FDCWD, "/no/such/file", O_WRONLY) | EPERM: ignore | EACCES: ignore | EINTR: ignore | ENOTDIR: ignore`, Errno: syscall.ENOENT},
		code: 127,
	},
	{
		name: "a failure in a child",
		build: func(p *launch.Program) {
			child := p.NewLabel("child")
			pid := fork(p)
			p.IfZero(pid, child)
			p.Call("wait4", pid, launch.Null, launch.Int(0), launch.Null)
			exit(p, launch.Int(3))
			p.Place(child)
			p.Note("look at nothing")
			p.Call("chdir", none)
			exit(p, launch.Int(0))
		},
		fail: &launch.Error{Call: "chdir(nowhere)", Errno: syscall.EFAULT, Note: "look at nothing"},
		code: 3,
	},
}

// branches exits with the number of the first one that goes wrong.
func branches(p *launch.Program) {
	n := print(p, "").Result() // 0
	seven := p.Var()
	p.Sum(seven, n, launch.Int(7))
	bad, code := p.NewLabel("bad"), p.Var()
	taken := func(branch func(to *launch.Label)) {
		p.Sum(code, code, launch.Int(1))
		to := p.NewLabel("taken")
		branch(to)
		p.Goto(bad)
		p.Place(to)
	}
	passed := func(branch func(to *launch.Label)) {
		p.Sum(code, code, launch.Int(1))
		branch(bad)
	}
	all := ^uint64(0)
	taken(func(to *launch.Label) { p.IfZero(n, to) })
	passed(func(to *launch.Label) { p.IfZero(seven, to) })
	taken(func(to *launch.Label) { p.IfEqual(seven, all, 7, to) })
	passed(func(to *launch.Label) { p.IfEqual(seven, all, 8, to) })
	taken(func(to *launch.Label) { p.IfEqual(seven, 6, 6, to) })
	passed(func(to *launch.Label) { p.IfEqual(seven, 6, 7, to) })
	taken(func(to *launch.Label) { p.IfNot(seven, all, 0, to) })
	passed(func(to *launch.Label) { p.IfNot(seven, all, 7, to) })
	taken(func(to *launch.Label) { p.IfNot(seven, 1, 7, to) })
	passed(func(to *launch.Label) { p.IfNot(seven, 1, 1, to) })
	// All 64 bits count.
	taken(func(to *launch.Label) { p.IfNot(launch.Hex(1<<32), all, 0, to) })
	passed(func(to *launch.Label) { p.IfZero(launch.Hex(1<<63), to) })
	exit(p, launch.Int(0))
	p.Place(bad)
	exit(p, code)
}

// forkAndWait has a child that prints three times and exits with 3.
func forkAndWait(p *launch.Program) {
	child, bad := p.NewLabel("child"), p.NewLabel("bad")
	pid := fork(p)
	p.IfZero(pid, child)
	const text = "a child was born"
	p.Call("write", launch.Status, p.Str(text), launch.Int(len(text)))
	status := p.Buffer(8, "status")
	p.Call("wait4", pid, status, launch.Int(0), launch.Null).Retry(syscall.EINTR)
	p.IfNot(status.Load(), 0xff7f, 3<<8, bad)
	exit(p, launch.Int(0))
	p.Place(bad)
	exit(p, launch.Int(1))
	p.Place(child)
	i := p.Var()
	loop := p.Here("loop")
	print(p, "hello\n")
	p.Sum(i, i, launch.Int(1))
	p.IfNot(i, ^uint64(0), 3, loop)
	exit(p, launch.Int(3))
}

// echo sends back what it gets; a message of one byte, or none, ends it.
func echo(p *launch.Program) {
	done := p.NewLabel("done")
	buf := p.Buffer(64, "buf")
	next := p.Here("next")
	n := p.Call("read", launch.Status, buf, launch.Int(64)).Result()
	p.IfZero(n, done)
	p.IfEqual(n, ^uint64(0), 1, done)
	p.Call("write", launch.Status, buf, n)
	p.Goto(next)
	p.Place(done)
	exit(p, launch.Int(0))
}
