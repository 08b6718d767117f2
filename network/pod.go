package network

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
)

// Pod says whose network it is. Every name that a pod has outside of its own
// namespaces derives from it.
type Pod struct {
	// StateDir is where the leases are, in the subdirectory .network: an
	// absolute path, on tmpfs so that a reboot forgets them. The bridges belong
	// to the pods of one StateDir.
	StateDir string
	// ID identifies the pod below StateDir: [a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}.
	ID string
}

// hostName is the name of the host's end of the pod's i-th interface. With 65
// bits of a digest two pods that share one are as likely as two equal MAC
// addresses; should it happen, the kernel refuses the second link.
func (p Pod) hostName(i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", p.StateDir, p.ID, i))
	name := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
	return hostPrefix + strings.ToLower(name[:maxName-len(hostPrefix)])
}

// hostPrefix begins the name of each link of ours on the host but the bridges.
const hostPrefix = "bp"

// podName is the name of the pod's i-th interface inside.
func podName(i int) string { return fmt.Sprintf("eth%d", i) }
