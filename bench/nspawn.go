package main

// newNspawn is systemd-nspawn, without systemd's register of machines, which is
// there only where systemd is PID 1. Several can have one root directory only if
// all have it read-only.
func newNspawn() *oneShot {
	return &oneShot{title: "nspawn", pkg: "systemd-container", program: "systemd-nspawn", args: func(root, name string) []string {
		return []string{
			"--quiet", "--register=no", "--keep-unit", "--private-network", "--machine", name, "--hostname", "bench",
			"--read-only", "--directory", root, trueProgram,
		}
	}}
}
