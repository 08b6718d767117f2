package sandbox

import (
	"net/netip"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/volume"
)

// Where sandboxes are kept unless the Config says otherwise.
const (
	// DefaultStateDir is on tmpfs: state does not survive a reboot, and
	// neither does a pod.
	DefaultStateDir = "/run/barepod"
	// DefaultDataDir holds disk volumes and writable layers.
	DefaultDataDir = "/var/lib/barepod"
	// DefaultShmSize is the size of /dev/shm.
	DefaultShmSize = 64 << 20
)

// Config says what a sandbox is. It is plain data: it survives JSON, and New
// keeps a copy. Only Name is required.
type Config struct {
	// ID identifies the sandbox below StateDir: [a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}.
	// It never comes back once removed if left empty, for New generates it
	// from 96 random bits.
	ID string `json:"id,omitempty"`
	// Name is the pod's name, an RFC 1123 label. It need not be unique.
	Name string `json:"name"`
	// Hostname is what the containers see as theirs; empty means Name. It is
	// at most 64 bytes (sethostname(2)).
	Hostname string `json:"hostname,omitempty"`

	// StateDir is where the sandbox's state and its one mount are: an absolute
	// path, on tmpfs so that a reboot forgets it. Empty means DefaultStateDir.
	StateDir string `json:"stateDir,omitempty"`
	// DataDir is where disk volumes and writable layers are, an absolute path.
	// Empty means DefaultDataDir.
	DataDir string `json:"dataDir,omitempty"`

	// Networks say how the pod is attached to networks: by nothing but its own
	// loopback, which is the default, by a network.Bridge, a network.CNI or
	// several of both, or by network.Host, with which it has the host's network
	// namespace.
	Networks network.Attachments `json:"networks,omitempty"`
	// NetNSPath gives the pod's network namespace a path on the host, below
	// /run/netns, as a network.CNI does in any case. Sandbox.NetNSPath returns it.
	NetNSPath bool `json:"netNSPath,omitempty"`
	// HostNamespaces are further namespaces that are not made but taken from
	// the host: ipc, uts or pid. Zero, the default, means that all are the
	// pod's own. With a host namespace the containers see and can disturb the
	// host.
	HostNamespaces namespace.Kind `json:"hostNamespaces,omitempty"`
	// ShareProcessNamespace puts all containers into one PID namespace, with a
	// PID 1 of a few KiB that reaps. Otherwise each container has its own.
	ShareProcessNamespace bool `json:"shareProcessNamespace,omitempty"`
	// ShmSize is the size of the pod's /dev/shm in bytes; 0 means
	// DefaultShmSize. With the host's IPC namespace the host's /dev/shm is
	// used, and this must be 0.
	ShmSize int64 `json:"shmSize,omitempty"`
	// Sysctls are kernel parameters of the pod's own net, IPC and UTS
	// namespaces, such as "net.ipv4.ip_forward". Others are refused.
	Sysctls map[string]string `json:"sysctls,omitempty"`

	// DNS is what /etc/resolv.conf says.
	DNS DNS `json:"dns,omitzero"`
	// HostAliases are further lines of /etc/hosts.
	HostAliases []HostAlias `json:"hostAliases,omitempty"`

	// Volumes are made with the sandbox and go with it.
	Volumes []volume.Volume `json:"volumes,omitempty"`

	// Resources limit all containers together. The zero value sets no limit.
	Resources Resources `json:"resources,omitzero"`
	// Cgroup says where the pod's cgroup is. The zero value is /barepod in
	// every hierarchy, managed through the cgroup file system.
	Cgroup Cgroup `json:"cgroup,omitzero"`

	// Labels and Annotations are the caller's; nothing here reads them.
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`

	// DieWithCreator ends the pod's processes when the process that called New
	// ends, however it ends, or closes its handle. What is left then is state
	// for Remove or Sweep. The zero value is a pod that survives its creator.
	DieWithCreator bool `json:"dieWithCreator,omitempty"`
}

// Resources are limits for a pod or a container. The zero value sets none.
type Resources = cgroup.Resources

// Cgroup says where cgroups are made and by whom.
type Cgroup = cgroup.Config

// DNS is what /etc/resolv.conf says. The zero value takes what the pod's networks
// say if that has a nameserver, as that of a network.CNI may, and otherwise the
// host's; without resolvers on loopback addresses, which a pod could not reach.
type DNS struct {
	// Policy is DNSDefault or DNSNone.
	Policy DNSPolicy `json:"policy,omitempty"`
	// Nameservers come before the others, if those are used at all. The
	// resolver of the C library reads three.
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	// Searches are domains, which come before the others.
	Searches []string `json:"searches,omitempty"`
	// Options are words such as "ndots:5".
	Options []string `json:"options,omitempty"`
}

// DNSPolicy says where DNS settings come from.
type DNSPolicy string

const (
	// DNSDefault adds the network's or the host's settings to the given ones.
	DNSDefault DNSPolicy = ""
	// DNSNone takes the given settings only.
	DNSNone DNSPolicy = "None"
)

// HostAlias is a line of /etc/hosts.
type HostAlias struct {
	IP        netip.Addr `json:"ip"`
	Hostnames []string   `json:"hostnames"`
}
