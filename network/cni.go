package network

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/barepod/barepod/internal/invalid"
)

// CNI gives the pod an interface by plugins of the Container Network Interface,
// versions 0.1 to 1.1: executables that know a network, such as those of
// Flannel, Calico or Cilium. They run as root, with the host's view, in the
// host's network namespace, and find the pod's at [Pod.NetNSPath].
//
// A network is said by Config, or by a file below ConfigDir.
type CNI struct {
	// Config is the network configuration list (conflist) itself.
	Config json.RawMessage `json:"config,omitempty"`
	// ConfigDir has a file for each network: *.conflist, *.conf or *.json. Empty
	// means DefaultCNIConfigDir. It is read when the pod is attached, and not
	// again for that pod.
	ConfigDir string `json:"configDir,omitempty"`
	// Name is that of the network in ConfigDir. Empty means the network of the
	// first file by name, as with Kubernetes.
	Name string `json:"name,omitempty"`

	// PluginDirs are searched for the plugins. None means DefaultCNIPluginDir.
	PluginDirs []string `json:"pluginDirs,omitempty"`
	// Args are further arguments (CNI_ARGS), beside those that say whose the
	// interface is as Kubernetes does, which they replace:
	// IgnoreUnknown=1, K8S_POD_NAMESPACE=default, K8S_POD_NAME=<Pod.Name> and
	// K8S_POD_INFRA_CONTAINER_ID=<Pod.ID>.
	Args map[string]string `json:"args,omitempty"`
	// Capabilities are arguments for those plugins of the list that have the
	// capability: portMappings, bandwidth, dns, ips, mac and more. One that no
	// plugin has is an error.
	Capabilities map[string]json.RawMessage `json:"capabilities,omitempty"`
}

// Where CNI is looked for unless the attachment says otherwise.
const (
	DefaultCNIConfigDir = "/etc/cni/net.d"
	DefaultCNIPluginDir = "/opt/cni/bin"
)

func (CNI) attachmentType() string { return "CNI" }

// complete returns a copy with the defaults filled in.
func (c CNI) complete() CNI {
	if len(c.Config) == 0 && c.ConfigDir == "" {
		c.ConfigDir = DefaultCNIConfigDir
	}
	if len(c.PluginDirs) == 0 {
		c.PluginDirs = []string{DefaultCNIPluginDir}
	}
	return c
}

func (c CNI) clone() CNI {
	c.Config = bytes.Clone(c.Config)
	c.PluginDirs = slices.Clone(c.PluginDirs)
	c.Args = maps.Clone(c.Args)
	c.Capabilities = maps.Clone(c.Capabilities)
	for name, value := range c.Capabilities {
		c.Capabilities[name] = bytes.Clone(value)
	}
	return c
}

// args are what CNI_ARGS has, in a fixed order.
func (c CNI) args(p Pod) [][2]string {
	args := [][2]string{
		{"IgnoreUnknown", "1"},
		{"K8S_POD_NAMESPACE", "default"},
		{"K8S_POD_NAME", p.Name},
		{"K8S_POD_INFRA_CONTAINER_ID", p.ID},
	}
	args = slices.DeleteFunc(args, func(a [2]string) bool {
		_, given := c.Args[a[0]]
		return given || a[1] == ""
	})
	for _, key := range slices.Sorted(maps.Keys(c.Args)) {
		args = append(args, [2]string{key, c.Args[key]})
	}
	return args
}

func (c CNI) validate() error {
	if len(c.Config) > 0 {
		if err := validateConflist(c.Config); err != nil {
			return invalid.Within("Config", err)
		}
		if c.ConfigDir != "" || c.Name != "" {
			return &invalid.Error{Field: "Config", Reason: "must not be given together with ConfigDir or Name"}
		}
	}
	if c.ConfigDir != "" {
		if err := invalid.AbsPath("ConfigDir", c.ConfigDir); err != nil {
			return err
		}
	}
	if c.Name != "" {
		if err := validateNetworkName(c.Name); err != nil {
			return err
		}
	}
	for i, dir := range c.PluginDirs {
		field := fmt.Sprintf("PluginDirs[%d]", i)
		if err := invalid.AbsPath(field, dir); err != nil {
			return err
		}
		if strings.ContainsRune(dir, filepath.ListSeparator) {
			return &invalid.Error{Field: field, Value: dir, Reason: "must have no colon, which separates directories in CNI_PATH"}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.Args)) {
		if key == "" || strings.ContainsAny(key+c.Args[key], ";=\x00") {
			return &invalid.Error{Field: "Args", Value: key + "=" + c.Args[key], Reason: "must have a name, and no further ; or ="}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Capabilities)) {
		if value := c.Capabilities[name]; name == "" || !json.Valid(value) {
			return &invalid.Error{Field: "Capabilities", Value: name, Reason: "must have a name, and JSON as its value"}
		}
	}
	return nil
}

// conflist is what has to be known of a network configuration list; the rest is
// between it and its plugins.
type conflist struct {
	Name    string       `json:"name"`
	Plugins []pluginConf `json:"plugins"`
}

// pluginConf is the configuration of one plugin, which may execute others.
type pluginConf struct {
	Type         string          `json:"type"`
	Capabilities map[string]bool `json:"capabilities"`

	IPAM      *pluginConf  `json:"ipam"`
	Delegate  *pluginConf  `json:"delegate"`  // of flannel
	Delegates []pluginConf `json:"delegates"` // of multus
}

// types returns what the plugin and those that it executes are called, by the
// fields that say so.
func (p pluginConf) types(field string, found func(field, name string) error) error {
	if err := found(field+".type", p.Type); err != nil {
		return err
	}
	if p.IPAM != nil && p.IPAM.Type != "" { // {} is allowed, and means none
		if err := p.IPAM.types(field+".ipam", found); err != nil {
			return err
		}
	}
	if p.Delegate != nil && p.Delegate.Type != "" { // flannel's default is the bridge
		if err := p.Delegate.types(field+".delegate", found); err != nil {
			return err
		}
	}
	for i, d := range p.Delegates {
		if d.Type == "" { // a conflist of its own
			continue
		}
		if err := d.types(fmt.Sprintf("%s.delegates[%d]", field, i), found); err != nil {
			return err
		}
	}
	return nil
}

// each calls found for every plugin that is named in the list.
func (l conflist) each(found func(field, name string) error) error {
	for i, p := range l.Plugins {
		if err := p.types(fmt.Sprintf("plugins[%d]", i), found); err != nil {
			return err
		}
	}
	return nil
}

// validateConflist checks a network configuration list before anybody acts on
// it.
func validateConflist(data []byte) error {
	var list conflist
	if err := json.Unmarshal(data, &list); err != nil {
		return &invalid.Error{Reason: "is not a network configuration list: " + err.Error()}
	}
	if err := validateNetworkName(list.Name); err != nil {
		return err
	}
	if len(list.Plugins) == 0 {
		return &invalid.Error{Field: "plugins", Reason: "must not be empty"}
	}
	return list.each(func(field, name string) error {
		if !isPluginName(name) {
			return &invalid.Error{Field: field, Value: name, Reason: "must be the name of an executable, without a path"}
		}
		return nil
	})
}

// isPluginName reports whether name leads to nothing but a file in a plugin
// directory (CVE-2021-20206).
func isPluginName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && !strings.ContainsAny(name, "/\\\x00")
}

// networkName is what the CNI specification allows. It is also part of file
// names.
var networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

func validateNetworkName(name string) error {
	if !networkName.MatchString(name) {
		return &invalid.Error{Field: "Name", Value: name, Reason: "must be 1 to 128 characters of A-Z a-z 0-9 _ . - and begin with a letter or digit"}
	}
	return nil
}
