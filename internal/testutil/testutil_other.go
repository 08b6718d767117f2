//go:build !linux

package testutil

import "testing"

// Main runs the tests of a package. What they leave behind is checked on Linux
// only.
func Main(m *testing.M) { m.Run() }

// MainInOwnNet is Main.
func MainInOwnNet(m *testing.M) { Main(m) }

// RequireRoot skips the test: what needs root needs Linux too.
func RequireRoot(t testing.TB) {
	t.Helper()
	t.Skip("needs Linux")
}
