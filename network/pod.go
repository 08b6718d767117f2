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
	// StateDir is where the leases are, in the subdirectory .network, and what is
	// known of CNI, in .netns: an absolute path, on tmpfs so that a reboot
	// forgets them. The bridges belong to the pods of one StateDir.
	StateDir string
	// ID identifies the pod below StateDir: [a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}.
	ID string
	// Name is what CNI plugins are told as the pod's name; it need not be
	// unique. Detach needs it not.
	Name string
	// Pin has Attach pin the network namespace at NetNSPath. With a CNI it does
	// so in any case.
	Pin bool
}

// NetNSPath is where a program of the host finds the pod's network namespace
// if that is pinned: below /run/netns, so that "ip netns" knows it, too. The name
// derives from the ID alone, and a pod that has it has the ID on this machine,
// which CNI plugins go by.
func (p Pod) NetNSPath() string { return netnsDir + "/barepod-" + p.ID }

// netnsDir is where iproute2 has named network namespaces (NETNS_RUN_DIR).
const netnsDir = "/run/netns"

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
