package main

// newBwrap is bubblewrap.
func newBwrap() *oneShot {
	return &oneShot{title: "bwrap", pkg: "bubblewrap", program: "bwrap", args: func(root, _ string) []string {
		return []string{
			"--unshare-ipc", "--unshare-net", "--unshare-uts", "--unshare-pid", "--unshare-cgroup", "--hostname", "bench",
			"--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys", "--new-session", trueProgram,
		}
	}}
}
