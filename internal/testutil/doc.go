// Package testutil has what the tests of all packages share: a test main that
// fails on whatever is left behind, honest skips, root file systems from
// declarative trees, and functions run in a process of their own. Only tests
// import it.
//
// A package uses it with
//
//	func TestMain(m *testing.M) { testutil.Main(m) }
//
// # Environment
//
// BAREPOD_REQUIRE lists, with commas, the features that the machine is known to
// have ("root" for root, "all" for everything): skipping for lack of one of
// them is a failure.
//
// BAREPOD_SHARED_MACHINE, if not empty, says that other programs make and remove
// pods meanwhile: the test main then waits for nobody, and looks only for what
// is certain to be its own.
package testutil
