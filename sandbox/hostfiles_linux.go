package sandbox

import (
	"io"
	"os"
)

// readHostFiles reads what a pod's files in /etc depend on.
func readHostFiles() hostFiles {
	return hostFiles{
		hosts:      readText("/etc/hosts"),
		resolv:     readText("/etc/resolv.conf"),
		realResolv: readText("/run/systemd/resolve/resolv.conf"),
	}
}

// readText returns a file's content, cut at 64 KiB; a host without the file is
// as good as one with an empty one.
func readText(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 64<<10))
	return string(b)
}
