package sandbox_test

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/sandbox"
)

// TestLoopbackWithoutIPv6 has the kernel's default be no IPv6: the pod has ::1.
func TestLoopbackWithoutIPv6(t *testing.T) {
	testutil.RequireRoot(t)
	set, err := namespace.Unshare(namespace.Net, func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6", []byte("1"), 0), sandbox.Loopback())
	})
	require.NoError(t, err)
	defer set.Close()
	require.NoError(t, set.Of(namespace.Net).Do(func() error {
		l, err := net.Listen("tcp", "[::1]:80")
		if err != nil {
			return err
		}
		lacks, err := sys.LoopbackLacksIPv6()
		if lacks {
			err = errors.Join(err, errors.New("there is no ::1"))
		}
		return errors.Join(err, l.Close())
	}))
}
