package network_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/network"
)

// TestFullBridge has as many pods on a bridge as the kernel takes, and one more.
func TestFullBridge(t *testing.T) {
	testutil.RequireFeature(t, "time") // it makes 1,024 links
	h := newHost(t)
	p := h.attach(t, network.Bridge{})
	// Ports are ports: both ends of pairs that are down cost less than pods.
	run(t, h.ns, "sh", "-c", `for i in $(seq 1 511); do
		echo "link add a$i master barepod0 type veth peer name b$i"; echo "link set b$i master barepod0"; done | ip -batch -`)
	q := h.newPod(t, network.Bridge{})
	before := h.held(t)
	begin := time.Now()
	err := q.tryAttach()
	require.ErrorIs(t, err, network.ErrBridgeFull)
	require.ErrorContains(t, err, "eth0: bridge barepod0 has 1023 pods")
	require.Less(t, time.Since(begin), 5*time.Second)
	require.Equal(t, before, h.held(t))
	require.NoError(t, p.check())
	run(t, h.ns, "ip", "link", "del", "a7")
	require.NoError(t, q.tryAttach())
	require.NoError(t, q.tryDetach())
}
