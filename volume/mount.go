package volume

// Mount says how a container sees a volume.
type Mount struct {
	// Volume is the name of a volume of the pod.
	Volume string `json:"volume"`
	// Path is where it is in the container: absolute, in shortest form, not
	// "/", and the only Mount there.
	Path string `json:"path"`
	// ReadOnly keeps the container from writing, also to what is mounted below.
	ReadOnly bool `json:"readOnly,omitempty"`
	// SubPath is what the container sees of the volume: a relative path in it.
	// Symbolic links never lead out of the volume. Empty means all of it.
	SubPath string `json:"subPath,omitempty"`
	// Propagation says who sees what is mounted below Path later; empty means
	// Private.
	Propagation Propagation `json:"propagation,omitempty"`
}

// Propagation says who sees the mounts that are made below a Mount while the
// container runs. The values are Kubernetes' words.
type Propagation string

const (
	// Private is for neither side to see the other's. It is what an empty
	// Propagation means.
	Private Propagation = "None"
	// Slave is for the container to see what the host mounts below a HostPath,
	// and what other containers of the pod with Shared mount.
	Slave Propagation = "HostToContainer"
	// Shared is for both sides to see all of it. A container that may mount
	// changes the host with it.
	Shared Propagation = "Bidirectional"
)
