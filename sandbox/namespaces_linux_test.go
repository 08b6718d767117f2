package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

var nsNames = []string{"net", "ipc", "uts", "pid", "mnt", "cgroup", "user", "time"}

// nsOf returns the namespaces of a process as /proc has them, such as
// "net:[4026531840]".
func nsOf(t testing.TB, proc string) []string {
	t.Helper()
	var list []string
	for _, name := range nsNames {
		to, err := os.Readlink("/proc/" + proc + "/ns/" + name)
		require.NoError(t, err)
		list = append(list, to)
	}
	return list
}

// sayNS has a shell say in which namespaces it is.
const sayNS = "for n in net ipc uts pid mnt cgroup user time; do readlink /proc/self/ns/$n; done"

// TestNamespaces: what two containers of a pod share, and what not.
func TestNamespaces(t *testing.T) {
	root := busyboxRoot(t)
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			sb := newSandbox(t, sandbox.Config{ShareProcessNamespace: shared, Volumes: []volume.Volume{binVolume(root)}})
			status, err := sb.Status(t.Context())
			require.NoError(t, err)
			host := nsOf(t, "self")
			first := idle(t, sb, sandbox.Dir{Path: root}, "first")
			a := nsOf(t, fmt.Sprint(first.PID()))
			b := strings.Fields(output(t, shell(sb, sandbox.Scratch{}, sayNS, mount("bin", "/bin"))))
			for i, name := range nsNames {
				switch {
				case name == "user" || name == "time":
					require.Equal(t, host[i], a[i])
					require.Equal(t, host[i], b[i])
				case i < 3 || shared && name == "pid":
					require.NotEqual(t, host[i], a[i])
					require.Equal(t, a[i], b[i])
					require.Equal(t, a[i], fmt.Sprintf("%s:[%d]", name, status.Namespaces[name]))
				default:
					require.NotEqual(t, host[i], a[i])
					require.NotEqual(t, host[i], b[i])
					require.NotEqual(t, a[i], b[i], name)
				}
			}
		})
	}
}

func TestHostname(t *testing.T) {
	root := busyboxRoot(t)
	host, err := os.Hostname()
	require.NoError(t, err)
	sb := newSandbox(t, sandbox.Config{Name: "db", Hostname: "db.example.com", Sysctls: map[string]string{"kernel.domainname": "example.com"}})
	require.Equal(t, "db.example.com\ndb.example.com\nexample.com",
		output(t, shell(sb, sandbox.Dir{Path: root}, "hostname; cat /etc/hostname /proc/sys/kernel/domainname")))
	require.NoError(t, sb.Do(func() error {
		name, err := os.Hostname()
		if name != "db.example.com" {
			err = errors.Join(err, errors.New("in the pod it is "+name))
		}
		return err
	}))
	now, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, host, now)
}

// TestHostNamespaces: only what is asked for is the host's.
func TestHostNamespaces(t *testing.T) {
	root := busyboxRoot(t)
	host := nsOf(t, "self")
	for i, kind := range []namespace.Kind{namespace.Net, namespace.IPC, namespace.UTS, namespace.PID, namespace.Net | namespace.IPC | namespace.UTS | namespace.PID} {
		t.Run(kind.String(), func(t *testing.T) {
			cfg := sandbox.Config{HostNamespaces: kind &^ namespace.Net}
			if kind.Has(namespace.Net) {
				cfg.Networks = network.Attachments{network.Host{}}
			}
			sb := newSandbox(t, cfg)
			inside := strings.Fields(output(t, shell(sb, sandbox.Dir{Path: root}, sayNS)))
			for j, name := range nsNames[:4] {
				if i == j || i == 4 {
					require.Equal(t, host[j], inside[j], name)
				} else {
					require.NotEqual(t, host[j], inside[j], name)
				}
			}
			require.NotContains(t, inside, host[4], "the mount namespace")
			// And the same after another Open.
			again, err := sandbox.Open(t.Context(), sb.Config().StateDir, sb.ID())
			require.NoError(t, err)
			defer again.Close()
			opened := strings.Fields(output(t, shell(again, sandbox.Dir{Path: root}, sayNS)))
			require.Equal(t, inside[:3], opened[:3])
		})
	}
}

// TestOwnPID: a container's first process is PID 1 and alone.
func TestOwnPID(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	idle(t, sb, sandbox.Dir{Path: root}, "other")
	require.Equal(t, "1", output(t, shell(sb, sandbox.Dir{Path: root}, "echo $$; test ! -e /proc/2")))
	h, err := sb.Namespace(namespace.PID)
	require.Nil(t, h)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	var unsupported *sandbox.UnsupportedError
	require.ErrorAs(t, err, &unsupported)
}

// TestSharedPID: containers see each other's processes, and PID 1, which reaps.
func TestSharedPID(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{ShareProcessNamespace: true})
	idle(t, sb, sandbox.Dir{Path: root}, "other")
	out := output(t, shell(sb, sandbox.Dir{Path: root}, "cat /proc/1/comm; ps -o args; test $$ != 1"))
	require.Regexp(t, "^barepod-init\n", out)
	require.Contains(t, out, "/bin/sleep 1000")
	require.NotContains(t, out, "keeper")
	// One that nobody waits for is gone at once.
	require.Equal(t, "none", output(t, shell(sb, sandbox.Dir{Path: root}, "(sleep 0.01 &); sleep 0.1; grep -l zombie /proc/[0-9]*/status || echo none")))
	status, err := sb.Status(t.Context())
	require.NoError(t, err)
	require.NotZero(t, status.InitPID)
	require.Equal(t, fmt.Sprintf("pid:[%d]", status.Namespaces["pid"]), nsOf(t, fmt.Sprint(status.InitPID))[3])
}

func TestSysctls(t *testing.T) {
	root := busyboxRoot(t)
	sysctls := map[string]string{
		"net.ipv4.ip_default_ttl": "77", "net.ipv4.ip_local_port_range": "2000 3000", "kernel.shmmax": "1048576", "kernel.sem": "10 20 30 40",
		"fs.mqueue.msg_max": "7", "net.ipv4.conf.lo.rp_filter": "2",
	}
	sb := newSandbox(t, sandbox.Config{Sysctls: sysctls})
	for name, value := range sysctls {
		path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		got := output(t, shell(sb, sandbox.Dir{Path: root}, "cat "+path))
		require.Equal(t, strings.Fields(value), strings.Fields(got), name)
		require.NotEqual(t, strings.Fields(string(before)), strings.Fields(got), "the host's %s", name)
	}
	tests := []struct{ name, value string }{
		{"net.ipv4.no_such_thing", "1"},
		{"net.ipv4.ip_forward", "nonsense"},
		{"net.ipv4.ip_local_port_range", "3000 2000"},
	}
	for _, tt := range tests {
		cfg := testConfig(t)
		cfg.Sysctls = map[string]string{tt.name: tt.value}
		_, err := sandbox.New(t.Context(), cfg)
		require.ErrorContains(t, err, tt.name)
		require.NoError(t, sandbox.Sweep(t.Context(), cfg.StateDir))
		require.NoDirExists(t, cfg.StateDir)
	}
}

// TestLoopback: both addresses work, in the pod's own network.
func TestLoopback(t *testing.T) {
	testutil.RequireRoot(t)
	sb := newSandbox(t, sandbox.Config{})
	for _, addr := range []string{"127.0.0.1:80", "127.9.9.9:80", "[::1]:80"} {
		t.Run(addr, func(t *testing.T) {
			if addr[0] == '[' {
				testutil.RequireFeature(t, "ipv6")
			}
			var ln net.Listener
			require.NoError(t, sb.Do(func() (err error) {
				ln, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
				return err
			}))
			defer ln.Close()
			go func() {
				if c, err := ln.Accept(); err == nil {
					_, _ = io.WriteString(c, "hello")
					_ = c.Close()
				}
			}()
			var got []byte
			require.NoError(t, sb.Do(func() error {
				c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
				if err != nil {
					return err
				}
				defer c.Close()
				got, err = io.ReadAll(c)
				return err
			}))
			require.Equal(t, "hello", string(got))
			_, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
			require.Error(t, err, "from the host")
		})
	}
}

// TestNamespaceOutlives: who holds a namespace keeps it.
func TestNamespaceOutlives(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{Hostname: "kept"})
	h, err := sb.Namespace(namespace.UTS)
	require.NoError(t, err)
	defer h.Close()
	require.NoError(t, sb.Remove(context.Background()))
	require.NoError(t, sb.Close())
	require.NoError(t, h.Do(func() error {
		if name, err := os.Hostname(); name != "kept" {
			return errors.Join(err, errors.New(name))
		}
		return nil
	}))
	_, err = sb.Namespace(namespace.Net)
	require.ErrorIs(t, err, os.ErrClosed)
}

// TestDo: the error, the panic and the end of a goroutine come back.
func TestDo(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	cause := errors.New("cause")
	require.ErrorIs(t, sb.Do(func() error { return cause }), cause)
	err := sb.Do(func() error { panic("boom") })
	var p *namespace.PanicError
	require.ErrorAs(t, err, &p)
	require.Equal(t, "boom", p.Value)
	require.NoError(t, sb.Do(func() error {
		for i, ns := range []string{"net", "ipc", "uts"} {
			to, err := os.Readlink("/proc/thread-self/ns/" + ns)
			if err != nil || to == nsOf(t, "self")[i] {
				return errors.Join(err, errors.New("the host's "+ns))
			}
		}
		return nil
	}))
}

// TestIPC: shared memory and message queues are the pod's, whatever the
// container.
func TestIPC(t *testing.T) {
	root := busyboxRoot(t)
	sb := newSandbox(t, sandbox.Config{ShmSize: 1 << 20})
	require.Empty(t, output(t, shell(sb, sandbox.Dir{Path: root}, "echo hello >/dev/shm/x; touch /dev/mqueue/q")))
	require.Equal(t, "hello\nq\n1777 tmpfs", output(t, shell(sb, sandbox.Dir{Path: root}, "cat /dev/shm/x; ls /dev/mqueue; stat -c %a /dev/shm | tr '\n' ' '; stat -f -c %T /dev/shm")))
	out, exit := run(t, shell(sb, sandbox.Dir{Path: root}, "dd if=/dev/zero of=/dev/shm/big bs=4k count=1000"))
	require.NotZero(t, exit.Code)
	require.Contains(t, out, "No space left on device")
	out, exit = run(t, shell(sb, sandbox.Dir{Path: root}, "i=0; while [ $i -lt 400 ]; do : >/dev/shm/$i || exit 9; i=$((i+1)); done"))
	require.NotZero(t, exit.Code, "files without end")
	require.Contains(t, out, "No space left on device")
	_, err := os.Stat("/dev/shm/x")
	require.ErrorIs(t, err, os.ErrNotExist)
}
