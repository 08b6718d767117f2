package pod_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/pod"
)

// TestPodIPsOfCNI has plugins give a pod its addresses, and Remove leave nothing.
func TestPodIPsOfCNI(t *testing.T) {
	testutil.RequireRoot(t)
	cfg, store := testConfig(t), t.TempDir()
	cfg.Networks = network.Attachments{network.CNI{
		PluginDirs: []string{testutil.CNIPlugins(t, "main/bridge", "ipam/host-local")},
		Config: json.RawMessage(fmt.Sprintf(`{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipam":`+
			`{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.9.0.0/24"}],[{"subnet":"fd00:9::/64"}]]}}]}`, store)),
	}}
	p, err := pod.New(t.Context(), pod.Spec{Sandbox: cfg, Containers: []pod.Container{sh("main", busybox(t), forever)}})
	require.NoError(t, err)
	st, err := p.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("fd00:9::2")}, st.PodIPs)
	pin := "/run/netns/barepod-" + p.ID()
	require.FileExists(t, pin)
	require.NoError(t, p.Remove(t.Context()))
	require.NoError(t, p.Close())
	require.NoFileExists(t, pin)
	files, err := filepath.Glob(filepath.Join(store, "net", "*[.:]*[.:]*"))
	require.NoError(t, err)
	require.Empty(t, files)
}
