package network_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkCNI attaches and detaches a pod by the plugins bridge and host-local.
func BenchmarkCNI(b *testing.B) {
	h := newCNI(b)
	p := h.newPod(b, h.bridge())
	for b.Loop() {
		require.NoError(b, p.tryAttach())
		require.NoError(b, p.tryDetach())
	}
}
