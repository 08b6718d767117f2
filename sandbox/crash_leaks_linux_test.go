package sandbox_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

// requireNothingLeft asserts that all that came after before is gone, or goes at
// once: of this process everything, and of the machine what has the names of the
// configuration's, for other programs may be at work on it.
func requireNothingLeft(t testing.TB, before testutil.State, cfg sandbox.Config) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		left = slices.DeleteFunc(testutil.Leaks(before, testutil.Snapshot()), func(item string) bool {
			kind, rest, _ := strings.Cut(item, " ")
			switch kind {
			case "cgroup":
				return !strings.Contains(rest+"/", cfg.Cgroup.Parent+"/")
			case "mount":
				return !strings.Contains(rest, cfg.StateDir)
			case "process":
				return !strings.Contains(rest, "memfd:barepod: "+cfg.ID+"/") && !strings.Contains(rest, "memfd:barepod-init: "+cfg.ID+" ")
			case "network":
				return true // of other pods: those here make none
			}
			return false
		})
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			break
		}
	}
	require.Empty(t, left, "left behind:\n\t%s", strings.Join(left, "\n\t"))
}
