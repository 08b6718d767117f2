//go:build linux

package launch

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// words lays out 64-bit numbers as the kernel's structures have them.
func words(ns ...uint64) []byte {
	b := make([]byte, 0, 8*len(ns))
	for _, n := range ns {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

// OpenHow is a struct open_how in the data; its size is the call's last
// argument, [OpenHowSize].
func (p *Program) OpenHow(flag int, mode uint32, resolve uint64) Arg {
	return p.shared("open_how", words(uint64(flag), uint64(mode), resolve), func() string {
		text := "{flags=" + OpenFlags(flag).String()
		if flag&unix.O_CREAT != 0 {
			text += ", mode=" + Octal(mode).String()
		}
		if resolve != 0 {
			text += ", resolve=" + flagNames(resolve, resolveFlags)
		}
		return text + "}"
	})
}

// OpenHowSize is the size of struct open_how.
var OpenHowSize = Int(unix.SizeofOpenHow)

// MountAttr is a struct mount_attr in the data; its size is the call's last
// argument, [MountAttrSize].
func (p *Program) MountAttr(set, clear, propagation uint64) Arg {
	return p.shared("mount_attr", words(set, clear, propagation, 0), func() string {
		var parts []string
		if set != 0 {
			parts = append(parts, "set="+flagNames(set, attrFlags))
		}
		if clear != 0 {
			parts = append(parts, "clr="+flagNames(clear, attrFlags))
		}
		if propagation != 0 {
			parts = append(parts, "propagation="+flagNames(propagation, mountFlags))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	})
}

// MountAttrSize is the size of struct mount_attr.
var MountAttrSize = Int(32)

// shared is read-only data: equal structures stand there once.
func (p *Program) shared(kind string, b []byte, text func() string) Arg {
	key := kind + string(b)
	a, ok := p.structs[key]
	if !ok {
		a = p.Bytes(b, "").described(text)
		p.structs[key] = a
	}
	return a
}

// Sigaction is a struct sigaction with the handler SIG_DFL (0) or SIG_IGN (1).
// Its size is the same on both architectures for such a handler.
func (p *Program) Sigaction(handler uint64) Arg {
	return p.shared("sigaction", words(handler, 0, 0, 0), func() string {
		return map[uint64]string{0: "{SIG_DFL}", 1: "{SIG_IGN}"}[handler]
	})
}

// Sigset is a signal set; its size is always 8.
func (p *Program) Sigset(set uint64) Arg {
	return p.shared("sigset", words(set), func() string {
		switch set {
		case 0:
			return "[]"
		case ^uint64(0):
			return "~[]"
		}
		return fmt.Sprintf("[%#x]", set)
	})
}

// Rlimit is a struct rlimit64.
func (p *Program) Rlimit(soft, hard uint64) Arg {
	return p.shared("rlimit", words(soft, hard), func() string {
		show := func(n uint64) string {
			if n == unix.RLIM_INFINITY {
				return "RLIM_INFINITY"
			}
			return fmt.Sprint(n)
		}
		return "{" + show(soft) + ", " + show(hard) + "}"
	})
}

// Groups is an array of group IDs.
func (p *Program) Groups(gids []uint32) Arg {
	if len(gids) == 0 {
		return Null
	}
	var b []byte
	for _, g := range gids {
		b = binary.LittleEndian.AppendUint32(b, g)
	}
	return p.Bytes(b, fmt.Sprint(gids))
}

// Capabilities are the two structures of capset: version 3, the calling
// process; effective and permitted are set, inheritable is empty
// (CVE-2022-29162).
func (p *Program) Capabilities(set uint64) (header, data Arg) {
	le := binary.LittleEndian
	h := le.AppendUint32(nil, unix.LINUX_CAPABILITY_VERSION_3)
	h = le.AppendUint32(h, 0)
	var d []byte
	for _, half := range []uint32{uint32(set), uint32(set >> 32)} {
		d = le.AppendUint32(d, half)
		d = le.AppendUint32(d, half)
		d = le.AppendUint32(d, 0)
	}
	return p.Bytes(h, "{v3}"), p.Bytes(d, fmt.Sprintf("{effective=%#x, permitted=%#x, inheritable=0}", set, set))
}

// CloneArgs is a struct clone_args for clone3, with SIGCHLD as the exit signal.
// pidfd is where the kernel puts the child's pidfd (32 bits), cgroup a
// descriptor of the cgroup v2 directory to be born in; Null leaves either out.
func (p *Program) CloneArgs(flag int, pidfd, cgroup Arg) (args, size Arg) {
	a := p.Bytes(words(uint64(flag), 0, 0, 0, uint64(unix.SIGCHLD), 0, 0, 0, 0, 0, 0), "")
	if flag&unix.CLONE_PIDFD != 0 {
		p.Point(a.Plus(8), pidfd)
	}
	if flag&unix.CLONE_INTO_CGROUP != 0 {
		p.Point(a.Plus(80), cgroup)
	}
	return a.described(func() string {
		text := "{flags=" + flagNames(uint64(flag), cloneFlags)
		if flag&unix.CLONE_PIDFD != 0 {
			text += ", pidfd=" + pidfd.String()
		}
		if flag&unix.CLONE_INTO_CGROUP != 0 {
			text += ", cgroup=" + cgroup.String()
		}
		return text + ", exit_signal=SIGCHLD}"
	}), Int(88)
}

// FDMessage is a struct msghdr that sends size bytes from data and n
// descriptors; it returns where the descriptors (32 bits each) are to be
// stored before the call.
func (p *Program) FDMessage(data Arg, size, n int) (msg, fds Arg) {
	length := unix.CmsgLen(4 * n)
	ctl := binary.LittleEndian.AppendUint64(nil, uint64(length))
	ctl = binary.LittleEndian.AppendUint32(ctl, unix.SOL_SOCKET)
	ctl = binary.LittleEndian.AppendUint32(ctl, unix.SCM_RIGHTS)
	control := p.Bytes(append(ctl, make([]byte, unix.CmsgSpace(4*n)-len(ctl))...), "scm_rights")
	iov := p.Bytes(words(0, uint64(size)), "iov")
	p.Point(iov, data)
	space := uint64(unix.CmsgSpace(4 * n))
	m := p.Bytes(words(0, 0, 0, 1, 0, space, 0), fmt.Sprintf("{%d bytes of %v, %d fds}", size, data, n))
	p.Point(m.Plus(16), iov)
	p.Point(m.Plus(32), control)
	return m, control.Plus(16).As("fds")
}
