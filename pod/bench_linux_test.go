package pod_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

// BenchmarkPodLife makes a pod of two containers of a static true, starts it,
// waits for its end and removes it.
func BenchmarkPodLife(b *testing.B) {
	cfg := testConfig(b)
	root := sandbox.Dir{Path: testutil.Rootfs(b, testutil.Tree{"true": testutil.True()})}
	spec := pod.Spec{Sandbox: cfg, Containers: []pod.Container{
		{Name: "a", Rootfs: root, Command: []string{"/true"}},
		{Name: "b", Rootfs: root, Command: []string{"/true"}},
	}}
	ctx := testContext(b)
	// The first pod of a state directory makes what all share.
	newPodOf(b, spec)
	for b.Loop() {
		p, err := pod.New(ctx, spec)
		require.NoError(b, err)
		require.NoError(b, p.Start(ctx))
		s, err := p.Wait(ctx)
		require.NoError(b, err)
		require.Equal(b, pod.PhaseSucceeded, s.Phase)
		require.NoError(b, p.Remove(ctx))
		require.NoError(b, p.Close())
	}
}
