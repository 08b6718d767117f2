package sandbox

import (
	"slices"

	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// contextKinds are the namespaces that a pod's containers share and that a Go
// program can make.
const contextKinds = namespace.Net | namespace.IPC | namespace.UTS

// fromHost are the namespaces that the pod takes from the host.
func (c *Config) fromHost() namespace.Kind {
	kinds := c.HostNamespaces
	if attached[network.Host](c) {
		kinds |= namespace.Net
	}
	return kinds
}

// attached reports whether the pod has an attachment of a type.
func attached[T network.Attachment](c *Config) bool {
	return slices.ContainsFunc(c.Networks, func(n network.Attachment) bool { _, ok := n.(T); return ok })
}

// pod is the sandbox to package network.
func (c *Config) pod() network.Pod {
	return network.Pod{StateDir: c.StateDir, ID: c.ID, Name: c.Name, Pin: c.NetNSPath}
}

// NetNSPath returns where programs of the host find the pod's network namespace:
// a file below /run/netns, whose base name is one for "ip netns exec". It is empty
// unless the Config has NetNSPath or a network.CNI. It goes with the sandbox.
func (s *Sandbox) NetNSPath() string {
	if s.cfg.NetNSPath || attached[network.CNI](&s.cfg) {
		return s.cfg.pod().NetNSPath()
	}
	return ""
}
