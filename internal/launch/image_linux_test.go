package launch_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/testutil"
)

// TestImage reads images as any tool would.
func TestImage(t *testing.T) {
	for goarch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		for name, p := range map[string]*launch.Program{"everything": everything(), "least": build0()} {
			t.Run(goarch+"/"+name, func(t *testing.T) {
				image, err := p.Image(goarch)
				require.NoError(t, err)
				again, err := p.Image(goarch)
				require.NoError(t, err)
				require.Equal(t, image, again, "an image is a function of its program")
				checkImage(t, image, machine, p.Len())
			})
		}
	}
}

func checkImage(t *testing.T, image []byte, machine elf.Machine, steps int) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(image))
	require.NoError(t, err)
	require.Equal(t, elf.ELFCLASS64, f.Class)
	require.Equal(t, elf.ELFDATA2LSB, f.Data)
	require.Equal(t, elf.ET_EXEC, f.Type)
	require.Equal(t, machine, f.Machine)
	require.Empty(t, f.Sections)
	require.Len(t, f.Progs, 3)
	code, data, stack := f.Progs[0], f.Progs[1], f.Progs[2]

	require.Equal(t, elf.PT_LOAD, code.Type)
	require.Equal(t, elf.PF_R|elf.PF_X, code.Flags)
	require.EqualValues(t, launch.CodeAddr, code.Vaddr)
	require.Zero(t, code.Off)
	require.Equal(t, code.Filesz, code.Memsz)
	require.EqualValues(t, launch.CodeAddr+launch.CodeOff, f.Entry)
	require.Less(t, f.Entry, code.Vaddr+code.Filesz)

	require.Equal(t, elf.PT_LOAD, data.Type)
	require.Equal(t, elf.PF_R|elf.PF_W, data.Flags)
	require.EqualValues(t, launch.DataAddr, data.Vaddr)
	require.EqualValues(t, len(image), data.Off+data.Filesz, "the data is the rest of the file")
	require.GreaterOrEqual(t, data.Memsz, data.Filesz)
	require.GreaterOrEqual(t, data.Filesz, uint64(launch.HeaderSize+steps*launch.RecordSize))

	require.Equal(t, elf.PT_GNU_STACK, stack.Type)
	require.Equal(t, elf.PF_R|elf.PF_W, stack.Flags, "no executable stack, nor data (READ_IMPLIES_EXEC)")
	for _, p := range f.Progs[:2] { // mmap of pages of any size: elf(5)
		const largest = 0x10000
		require.EqualValues(t, largest, p.Align)
		require.Equal(t, p.Off%largest, p.Vaddr%largest)
	}
	require.Less(t, code.Vaddr+code.Memsz, data.Vaddr&^0xffff, "the segments share no page")
}

// The kernel maps an image as its headers say: nothing writable and executable.
func TestMappings(t *testing.T) {
	run := start(t, build("echo", echo))
	require.NoError(t, run.Send([]byte("up?")))
	_, _, err := run.Receive(within(t), 16, 0)
	require.NoError(t, err)
	maps, err := os.ReadFile(filepath.Join("/proc", itoa(run.PID()), "maps"))
	require.NoError(t, err)
	require.Contains(t, string(maps), " r-xp ")
	require.NotContains(t, string(maps), "wx")
}

// TestStubs assembles the interpreters: their bytes are those committed.
func TestStubs(t *testing.T) {
	for goarch, tool := range map[string]string{"amd64": "x86_64-linux-gnu-as", "arm64": "aarch64-linux-gnu-as"} {
		t.Run(goarch, func(t *testing.T) {
			if goarch == runtime.GOARCH {
				tool = "as"
			}
			testutil.RequireFeature(t, tool)
			dir := t.TempDir()
			out, err := exec.Command("sh", "stub/generate.sh", dir, goarch).CombinedOutput()
			require.NoError(t, err, string(out))
			want, err := os.ReadFile(filepath.Join(dir, goarch+".bin"))
			require.NoError(t, err)
			have, err := os.ReadFile(filepath.Join("stub", goarch+".bin"))
			require.NoError(t, err)
			require.Equal(t, want, have, "run go generate")
		})
	}
}

// While a program runs, and after, nobody can change the image of it that
// others run from, not even root: by way of /proc/<pid>/exe, a descriptor or a
// shared mapping.
func TestCVE_2019_5736_ImageIsSealed(t *testing.T) {
	p := build("sealed", echo)
	want, err := p.Image(runtime.GOARCH)
	require.NoError(t, err)
	run := start(t, p)
	exe := filepath.Join("/proc", itoa(run.PID()), "exe")
	// The descriptors that tell ForkExec of an execve can be closed before it has
	// replaced the memory (seen on 6.1.192).
	require.True(t, testutil.Await(func() bool {
		to, err := os.Readlink(exe)
		return err == nil && strings.HasPrefix(to, "/memfd:sealed")
	}))
	_, err = os.OpenFile(exe, os.O_WRONLY, 0)
	require.ErrorIs(t, err, unix.ETXTBSY)
	held, err := os.Open(exe)
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, run.Kill())

	// Now it is not busy any more, but still sealed.
	w, err := os.OpenFile(filepath.Join("/proc/self/fd", itoa(int(held.Fd()))), os.O_RDWR, 0)
	require.NoError(t, err)
	defer w.Close()
	_, err = w.WriteAt([]byte("#!/bin/evil"), 0)
	require.ErrorIs(t, err, unix.EPERM)
	_, err = w.WriteAt([]byte("x"), int64(len(want)))
	require.ErrorIs(t, err, unix.EPERM)
	require.ErrorIs(t, w.Truncate(0), unix.EPERM)
	require.ErrorIs(t, w.Truncate(1<<20), unix.EPERM)
	require.ErrorIs(t, unix.Fallocate(int(w.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096), unix.EPERM)
	_, err = unix.Mmap(int(w.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.ErrorIs(t, err, unix.EPERM)
	_, err = unix.FcntlInt(w.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE)
	require.ErrorIs(t, err, unix.EPERM, "the set of seals is sealed")
	have := make([]byte, len(want))
	_, err = held.ReadAt(have, 0)
	require.NoError(t, err)
	require.Equal(t, want, have)
}
