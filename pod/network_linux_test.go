package pod_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/pod"
)

func TestPodIPs(t *testing.T) {
	cfg := testConfig(t)
	cfg.Networks = network.Attachments{network.Bridge{}}
	spec := pod.Spec{Sandbox: cfg, Containers: []pod.Container{sh("main", busybox(t), forever)}}
	p, err := pod.New(t.Context(), spec)
	require.NoError(t, err)
	want := []netip.Addr{netip.MustParseAddr("10.213.0.2"), netip.MustParseAddr("fd62:6172:6570:6f64::2")}
	st, err := p.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, st.PodIPs)
	require.NoError(t, p.Close())
	p, err = pod.Open(t.Context(), spec.Sandbox.StateDir, p.ID())
	require.NoError(t, err)
	st, err = p.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, st.PodIPs)
	require.NoError(t, p.Remove(t.Context()))
	require.NoError(t, p.Close())
}
