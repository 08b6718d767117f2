package testutil

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// RequireRoot skips the test unless it runs as root.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if required("root") {
		t.Fatal("BAREPOD_REQUIRE says that tests run as root here")
	}
	rootSkips.Add(1)
	t.Skip("needs root: run with `go test -exec sudo ./...`")
}

// RequireFeature skips the test unless the machine has the feature, which is
// tried out: one of the names in the table of features, such as "overlay" or
// "crun".
func RequireFeature(t testing.TB, name string) {
	t.Helper()
	f, ok := features[name]
	if !ok {
		t.Fatalf("BUG: testutil knows no feature %q", name)
	}
	err := f.probe()
	if err == nil {
		return
	}
	if required(name) {
		t.Fatalf("BAREPOD_REQUIRE says that this machine has %s: %v", name, err)
	}
	t.Skipf("needs %s (%s): %v", name, f.from, err)
}

// required reports whether skipping for lack of the feature is a failure.
func required(name string) bool {
	list := strings.Split(os.Getenv("BAREPOD_REQUIRE"), ",")
	return slices.Contains(list, name) || slices.Contains(list, "all")
}
