package sandbox

import (
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// contextKinds are the namespaces that a pod's containers share and that a Go
// program can make.
const contextKinds = namespace.Net | namespace.IPC | namespace.UTS

// fromHost are the namespaces that the pod takes from the host.
func (c *Config) fromHost() namespace.Kind {
	kinds := c.HostNamespaces
	for _, n := range c.Networks {
		if _, ok := n.(network.Host); ok {
			kinds |= namespace.Net
		}
	}
	return kinds
}
