package sandbox

// What the tests of pure functions need.

// Complete returns the configuration as New takes it.
func (c Config) Complete() Config { return c.complete() }

// Etc returns the pod's files in /etc, given the host's.
func (c Config) Etc(hosts, resolv, realResolv string) map[string]string {
	return c.etc(hostFiles{hosts: hosts, resolv: resolv, realResolv: realResolv})
}

// ResolvOf returns what a network says of DNS as a file.
var ResolvOf = resolvOf

// Set returns the capabilities as a bit set.
func (c Capabilities) Set() (uint64, error) { return c.set() }

// CapabilityNames are all names in the order of their numbers.
var CapabilityNames = capabilities

// Complete returns the command as Start takes it.
func (c *Cmd) Complete() Cmd { return c.complete() }

// Candidates are the paths at which the program may be.
func (c *Cmd) Candidates() []string {
	full := c.complete()
	return full.candidates()
}
