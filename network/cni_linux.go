package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/invalid"
)

// cniRecord is what DEL needs to know of an ADD. It is there before, and is all
// that counts afterwards: files of configuration may change meanwhile.
type cniRecord struct {
	Config       json.RawMessage            `json:"config"`
	PluginDirs   []string                   `json:"pluginDirs"`
	Args         [][2]string                `json:"args"`
	Capabilities map[string]json.RawMessage `json:"capabilities,omitempty"`
}

// cniNetwork is a list of plugins that is ready to be called for an interface.
type cniNetwork struct {
	cniRecord
	pod    Pod
	ifname string
	list   *libcni.NetworkConfigList
}

// newCNI reads the configuration, and looks whether all plugins are there.
func newCNI(p Pod, ifname string, c CNI) (*cniNetwork, error) {
	c = c.complete()
	list, err := c.load()
	if err != nil {
		return nil, err
	}
	n := &cniNetwork{pod: p, ifname: ifname, list: list, cniRecord: cniRecord{PluginDirs: c.PluginDirs, Args: c.args(p), Capabilities: c.Capabilities}}
	if n.Config, err = inline(list); err != nil {
		return nil, err
	}
	// Again, for what is from a file.
	if err := validateConflist(n.Config); err != nil {
		return nil, invalid.Within("Config", err)
	}
	return n, n.requirePlugins()
}

// load reads the configuration as libcni does.
func (c CNI) load() (*libcni.NetworkConfigList, error) {
	if len(c.Config) > 0 {
		return libcni.NetworkConfFromBytes(c.Config)
	}
	if c.Name != "" {
		list, err := libcni.LoadNetworkConf(c.ConfigDir, c.Name)
		var none libcni.NoConfigsFoundError
		var other libcni.NotFoundError
		if errors.As(err, &none) || errors.As(err, &other) {
			return nil, fmt.Errorf("no CNI network %s in %s: %w", c.Name, c.ConfigDir, fs.ErrNotExist)
		}
		return list, err
	}
	files, err := libcni.ConfFiles(c.ConfigDir, []string{".conflist", ".conf", ".json"})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no CNI network in %s: %w", c.ConfigDir, fs.ErrNotExist)
	}
	first := slices.Min(files)
	if filepath.Ext(first) == ".conflist" {
		return libcni.NetworkConfFromFile(first)
	}
	data, err := os.ReadFile(first)
	if err != nil {
		return nil, err
	}
	one, err := libcni.NetworkPluginConfFromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", first, err)
	}
	return libcni.ConfListFromConf(one) //nolint:staticcheck // these files are still around
}

// inline returns a list with the plugins in it that have files of their own.
func inline(list *libcni.NetworkConfigList) (json.RawMessage, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(list.Bytes, &raw); err != nil {
		return nil, err
	}
	var plugins []json.RawMessage
	for _, p := range list.Plugins {
		plugins = append(plugins, p.Bytes)
	}
	data, err := json.Marshal(plugins)
	if err != nil {
		return nil, err
	}
	raw["plugins"] = data
	return json.Marshal(raw)
}

// requirePlugins looks for all plugins, also those that plugins execute, and
// for takers of the capability arguments, before anything is made.
func (n *cniNetwork) requirePlugins() error {
	var list conflist
	if err := json.Unmarshal(n.Config, &list); err != nil {
		return err
	}
	err := list.each(func(_, name string) error {
		if _, err := (&plugins{}).FindInPath(name, n.PluginDirs); err != nil {
			return &CNIError{Network: list.Name, Plugin: name, Command: "ADD", Err: err}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(n.Capabilities)) {
		if !slices.ContainsFunc(list.Plugins, func(p pluginConf) bool { return p.Capabilities[name] }) {
			return &invalid.Error{Field: "Capabilities", Value: name, Reason: "is a capability that no plugin of network " + list.Name + " has"}
		}
	}
	return nil
}

// openCNI returns what was called for an interface.
func openCNI(p Pod, ifname string) (*cniNetwork, error) {
	n := &cniNetwork{pod: p, ifname: ifname}
	if err := readJSON(filepath.Join(p.pinDir(), ifname), &n.cniRecord); err != nil {
		return nil, err
	}
	var err error
	n.list, err = libcni.NetworkConfFromBytes(n.Config)
	return n, err
}

// call has libcni call the plugins, within the bound that there is in any case.
func (n *cniNetwork) call(ctx context.Context, command string, f func(context.Context, *libcni.CNIConfig) error) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, pluginTimeout)
		defer cancel()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Results are kept beside the record. Without a pod there are none, or GC
	// would delete what they are of.
	cache := "/proc/none"
	if n.pod != (Pod{}) {
		cache = n.pod.pinDir()
	}
	err := f(ctx, libcni.NewCNIConfigWithCacheDir(n.PluginDirs, cache, &plugins{network: n.list.Name}))
	var e *CNIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && command != "GC": // which goes on, and may have several
		return e // it says all that is said around it
	}
	return &CNIError{Network: n.list.Name, Command: command, Err: err}
}

// conf is what plugins are told beside their configuration.
func (n *cniNetwork) conf(netns string) *libcni.RuntimeConf {
	capabilities := map[string]any{}
	for name, value := range n.Capabilities {
		capabilities[name] = value
	}
	return &libcni.RuntimeConf{ContainerID: n.pod.ID, NetNS: netns, IfName: n.ifname, Args: n.Args, CapabilityArgs: capabilities}
}

// speaks11 reports whether the list is of CNI 1.1, which has STATUS and GC.
func (n *cniNetwork) speaks11() bool {
	ok, err := version.GreaterThanOrEqualTo(n.list.CNIVersion, "1.1.0")
	return ok && err == nil
}

// addCNI has plugins make an interface of a pod that is pinned.
func addCNI(ctx context.Context, p Pod, ifname string, c CNI) (Result, error) {
	var n *cniNetwork
	var made Result
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"load", func() (err error) {
			n, err = newCNI(p, ifname, c)
			return err
		}},
		{"status", func() error { return n.status(ctx) }},
		{"record", func() error { return writeJSON(p.pinDir(), ifname, n.cniRecord) }},
		{"add", func() (err error) {
			made, err = n.add(ctx)
			return err
		}},
	} {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		if err := fault.Point("attach.cni." + step.name); err != nil {
			return Result{}, err
		}
		if err := step.do(); err != nil {
			return Result{}, fmt.Errorf("%s: %w", ifname, err)
		}
	}
	return made, fault.Point("attach.cni.done")
}

func (n *cniNetwork) add(ctx context.Context) (made Result, err error) {
	err = n.call(ctx, "ADD", func(ctx context.Context, c *libcni.CNIConfig) error {
		result, err := c.AddNetworkList(ctx, n.list, n.conf(n.pod.NetNSPath()))
		if err != nil {
			return err
		}
		data, err := json.Marshal(result)
		if err != nil {
			return err
		}
		in, err := parseCNIResult(n.Config, data)
		if err == nil {
			made, err = resultOfCNI(in, n.ifname)
		}
		return err
	})
	return made, err
}

// deleteCNI has plugins take back an interface that they may have made, in a
// namespace that may be gone: netns is empty then.
func (p Pod) deleteCNI(ctx context.Context, ifname, netns string) error {
	n, err := openCNI(p, ifname)
	if err != nil {
		return err
	}
	err = n.call(ctx, "DEL", func(ctx context.Context, c *libcni.CNIConfig) error {
		return c.DelNetworkList(ctx, n.list, n.conf(netns))
	})
	if err != nil {
		return fmt.Errorf("%s: %w", ifname, err)
	}
	if err := fault.Point("detach.cni.record"); err != nil {
		return err
	}
	return os.Remove(filepath.Join(p.pinDir(), ifname))
}

// checkCNI has plugins check what they have made. A list of CNI 0.3 cannot.
func checkCNI(ctx context.Context, p Pod, ifname, netns string) error {
	n, err := openCNI(p, ifname)
	if errors.Is(err, fs.ErrNotExist) {
		return mismatch("%s: no record of what CNI plugins were called", ifname)
	}
	if err != nil {
		return err
	}
	err = n.call(ctx, "CHECK", func(ctx context.Context, c *libcni.CNIConfig) error {
		return ignore(c.CheckNetworkList(ctx, n.list, n.conf(netns)), libcni.ErrorCheckNotSupp)
	})
	var exit *exec.ExitError
	if errors.As(err, &exit) { // it is the plugin that says no
		return mismatch("%s: %w", ifname, err)
	}
	return err
}

// Status asks the plugins whether they are ready to attach a pod (STATUS), and
// is a *CNIError if not. Plugins of a list before CNI 1.1 cannot be asked: it is
// nil if they are there. Attach does it for each pod.
func (c CNI) Status(ctx context.Context) error {
	if err := c.validate(); err != nil {
		return err
	}
	n, err := newCNI(Pod{}, "", c)
	if err == nil {
		err = n.status(ctx)
	}
	return wrap("status", "", err)
}

func (n *cniNetwork) status(ctx context.Context) error {
	return n.call(ctx, "STATUS", func(ctx context.Context, c *libcni.CNIConfig) error { return c.GetStatusNetworkList(ctx, n.list) })
}

// GC has the plugins give back whatever they hold for anybody but the pods of
// the given state directories (GC of CNI 1.1). It is for networks that nobody
// else uses: another runtime's pods would lose their addresses. No pod may be
// attached meanwhile. Nothing else in this module calls it.
//
// The error matches errors.ErrUnsupported if the list is of an older version.
func (c CNI) GC(ctx context.Context, stateDirs ...string) error {
	if err := c.validate(); err != nil {
		return err
	}
	return wrap("gc", "", c.gc(ctx, stateDirs))
}

func (c CNI) gc(ctx context.Context, stateDirs []string) error {
	n, err := newCNI(Pod{}, "", c)
	if err != nil {
		return err
	}
	if !n.speaks11() {
		return &UnsupportedError{Feature: "CNI's GC", Needs: "network " + n.list.Name + " with cniVersion 1.1.0"}
	}
	valid := []types.GCAttachment{} // not null, if there is none
	for _, stateDir := range stateDirs {
		if err := invalid.AbsPath("stateDir", stateDir); err != nil {
			return err
		}
		ids, err := pinnedPods(stateDir)
		if err != nil {
			return err
		}
		for _, id := range ids {
			p := Pod{StateDir: stateDir, ID: id}
			names, err := p.cniRecords()
			if err != nil {
				return err
			}
			for _, name := range names {
				of, err := openCNI(p, name)
				if err != nil {
					return err
				}
				if of.list.Name == n.list.Name {
					valid = append(valid, types.GCAttachment{ContainerID: id, IfName: name})
				}
			}
		}
	}
	return n.call(ctx, "GC", func(ctx context.Context, c *libcni.CNIConfig) error {
		return c.GCNetworkList(ctx, n.list, &libcni.GCArgs{ValidAttachments: valid})
	})
}
