package pod_test

import (
	"testing"

	"github.com/opencontainers/cgroups"

	"github.com/barepod/barepod/internal/testutil"
)

func TestMain(m *testing.M) {
	// The library opens /sys/fs/cgroup with its first access and keeps it for
	// good: that comes before the descriptors are counted.
	_, _ = cgroups.ReadFile("/sys/fs/cgroup", "none")
	testutil.MainInOwnNet(m)
}
