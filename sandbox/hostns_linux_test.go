package sandbox_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/sandbox"
)

// TestHostIPC: the host's IPC namespace comes with its shared memory.
func TestHostIPC(t *testing.T) {
	testutil.RequireRoot(t)
	f, err := os.CreateTemp("/dev/shm", "barepod-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.Remove(f.Name())) })
	require.NoError(t, f.Close())
	sb := newSandbox(t, sandbox.Config{Name: "ipc", HostNamespaces: namespace.IPC})
	cmd := sb.Command("/bin/test", "-f", "/dev/shm/"+filepath.Base(f.Name()))
	cmd.Rootfs = sandbox.HostRoot{}
	exit, err := cmd.Run(t.Context())
	require.NoError(t, err)
	require.True(t, exit.Success(), "%+v", exit)
}
