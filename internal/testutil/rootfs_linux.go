package testutil

import (
	"encoding/binary"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// Busybox returns the path of a statically linked busybox, or skips the test.
func Busybox(t testing.TB) string {
	t.Helper()
	RequireFeature(t, "busybox")
	path, err := findBusybox()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// StaticTrue returns the path of a new static executable of some hundred bytes
// that exits with 0.
func StaticTrue(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "true")
	if err := os.WriteFile(path, trueImage(t, runtime.GOARCH), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// trueImage returns an ELF executable that calls exit_group(0).
func trueImage(t testing.TB, goarch string) []byte {
	var machine uint16
	var code []byte
	switch goarch {
	case "amd64":
		machine = 62
		code = []byte{
			0x31, 0xff, // xor edi, edi
			0xb8, 231, 0, 0, 0, // mov eax, 231
			0x0f, 0x05, // syscall
		}
	case "arm64":
		machine = 183
		code = []byte{
			0x00, 0x00, 0x80, 0xd2, // mov x0, 0
			0xc8, 0x0b, 0x80, 0xd2, // mov x8, 94
			0x01, 0x00, 0x00, 0xd4, // svc 0
		}
	default:
		t.Fatal("BUG: no machine code for " + goarch)
	}
	const base, header, segment = 0x400000, 64, 56
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+header+segment) // entry
	b = le.AppendUint64(b, header)              // program headers
	b = append(b, make([]byte, 8+4)...)         // no sections, no flags
	for _, n := range []uint16{header, segment, 1, 0, 0, 0} {
		b = le.AppendUint16(b, n)
	}
	size := uint64(header + segment + len(code))
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // readable and executable
	for _, n := range []uint64{0, base, base, size, size, 0x10000} {
		b = le.AppendUint64(b, n)
	}
	return append(b, code...)
}

// Tree is a root file system as data: what is at each path, which is relative.
// Directories above need not be named.
type Tree map[string]Node

// Node is what is at a path of a [Tree]: one of [Dir], [File], [Symlink],
// [Copy], [Applets], [True].
type Node struct {
	mode     fs.FileMode
	uid, gid int
	make     func(t testing.TB, path string) error
}

// WithMode returns n with another mode; permissions and set-id bits.
func (n Node) WithMode(mode fs.FileMode) Node { n.mode = mode; return n }

// OwnedBy returns n with another owner, for tests that run as root.
func (n Node) OwnedBy(uid, gid int) Node { n.uid, n.gid = uid, gid; return n }

// Dir is a directory, 0755.
func Dir() Node {
	return Node{mode: 0o755, make: func(_ testing.TB, path string) error { return os.MkdirAll(path, 0o755) }}
}

// File is a regular file, 0644.
func File(content string) Node {
	return Node{mode: 0o644, make: func(_ testing.TB, path string) error {
		return os.WriteFile(path, []byte(content), 0o644)
	}}
}

// Symlink is a symbolic link.
func Symlink(to string) Node {
	return Node{mode: fs.ModeSymlink, make: func(_ testing.TB, path string) error { return os.Symlink(to, path) }}
}

// Copy is an executable copied from the host, 0755.
func Copy(from string) Node {
	return Node{mode: 0o755, make: func(_ testing.TB, path string) error {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o755)
	}}
}

// True is a static executable that exits with 0, 0755.
func True() Node {
	return Node{mode: 0o755, make: func(t testing.TB, path string) error {
		return os.WriteFile(path, trueImage(t, runtime.GOARCH), 0o755)
	}}
}

// Applets is a directory with busybox in it and links to it by the names given,
// sh among them. Without busybox the test is skipped.
func Applets(names ...string) Node {
	return Node{mode: 0o755, make: func(t testing.TB, path string) error {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		busybox := filepath.Join(path, "busybox")
		if err := Copy(Busybox(t)).make(t, busybox); err != nil {
			return err
		}
		if err := os.Chmod(busybox, 0o755); err != nil {
			return err
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(append(names, "sh")))) {
			if err := os.Symlink("busybox", filepath.Join(path, name)); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Rootfs makes a root file system in a temporary directory, and returns that.
func Rootfs(t testing.TB, tree Tree) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	tree = maps.Clone(tree)
	for name := range maps.Clone(tree) {
		if !filepath.IsLocal(name) {
			t.Fatalf("BUG: %q in a tree", name)
		}
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			if _, ok := tree[dir]; !ok {
				tree[dir] = Dir()
			}
		}
	}
	names := slices.Sorted(maps.Keys(tree)) // directories before what is in them
	for _, name := range names {
		if err := tree[name].make(t, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range slices.Backward(names) { // a directory may end read-only
		if err := tree[name].finish(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// finish gives the file its owner and mode, whatever the umask was.
func (n Node) finish(path string) error {
	if n.uid != 0 || n.gid != 0 {
		if err := os.Lchown(path, n.uid, n.gid); err != nil {
			return err
		}
	}
	if n.mode&fs.ModeSymlink != 0 {
		return nil
	}
	return os.Chmod(path, n.mode) // after chown, which drops set-id bits
}
