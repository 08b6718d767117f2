package testutil

import (
	"maps"
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
	t.Skip("needs root (`go test -exec sudo ./...`)")
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
	if f.probe == nil {
		t.Fatalf("BUG: %q is tried out by the test itself", name)
	}
	if err := f.probe(); err != nil {
		skip(t, name, f, err)
	}
}

// LacksFeature skips the test for lack of a feature of that table which the test
// itself has tried out, because doing so is most of the test.
func LacksFeature(t testing.TB, name string, why any) {
	t.Helper()
	f, ok := features[name]
	if !ok || f.probe != nil {
		t.Fatalf("BUG: testutil knows no feature %q that a test tries out", name)
	}
	skip(t, name, f, why)
}

func skip(t testing.TB, name string, f feature, why any) {
	t.Helper()
	if required(name) {
		t.Fatalf("BAREPOD_REQUIRE says that this machine has %s: %v", name, why)
	}
	t.Skipf("needs %s (%s): %v", name, f.from, why)
}

// Features lists all names that skipped tests can say they need.
func Features() []string {
	return append(slices.Sorted(maps.Keys(features)), "root")
}

// required reports whether skipping for lack of the feature is a failure.
func required(name string) bool {
	list := strings.Split(os.Getenv("BAREPOD_REQUIRE"), ",")
	return slices.Contains(list, name) || slices.Contains(list, "all")
}
