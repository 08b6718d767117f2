package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"time"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/undo"
	"github.com/barepod/barepod/sandbox"
)

// Pod is a handle of a pod. Any process may have one, and its methods may be
// called from several goroutines.
type Pod struct {
	sb         *sandbox.Sandbox
	grace      time.Duration // as in the Spec
	containers []*ContainerHandle
}

var _ io.Closer = (*Pod)(nil)

// record is what a pod adds to the state of its sandbox.
type record struct {
	Version                int           `json:"version"`
	Containers             []Container   `json:"containers"`
	TerminationGracePeriod time.Duration `json:"terminationGracePeriod"`
}

const (
	// recordKey is the record's name in the sandbox's store.
	recordKey = "pod"
	// recordVersion changes with the meaning of the record.
	recordVersion = 1
)

// New makes a pod; none of its containers is started yet. All of the Spec is
// checked before anything is made, and the error for what is wrong is a
// *sandbox.InvalidError with the field's path, such as Containers[1].Command. If
// New fails, nothing of the pod is left; what could not be undone is part of the
// error, and Remove finishes it.
//
// The context bounds the call, never the pod. New needs the privileges of
// sandbox.New.
//
// The caller must Close the handle; Remove destroys the pod.
func New(ctx context.Context, spec Spec) (*Pod, error) {
	if err := spec.Validate(); err != nil {
		return nil, wrap("new", "", err)
	}
	p, err := create(ctx, spec)
	return p, wrap("new", spec.Sandbox.ID, err)
}

func create(ctx context.Context, spec Spec) (_ *Pod, err error) {
	sb, err := sandbox.New(ctx, spec.Sandbox)
	if err != nil {
		return nil, err
	}
	var u undo.Stack
	defer func() {
		if err != nil {
			err = u.Unwind(ctx, err)
		}
	}()
	u.Push("close", func(context.Context) error { return sb.Close() })
	u.Push("remove sandbox", sb.Remove)
	r := record{
		Version: recordVersion, Containers: cloneContainers(spec.Containers),
		TerminationGracePeriod: spec.TerminationGracePeriod,
	}
	if err := fault.Point("pod.record"); err != nil {
		return nil, err
	}
	if err := sb.StorePut(recordKey, r); err != nil {
		return nil, err
	}
	if err := fault.Point("pod.done"); err != nil {
		return nil, err
	}
	u.Release()
	return newPod(sb, r), nil
}

func newPod(sb *sandbox.Sandbox, r record) *Pod {
	p := &Pod{sb: sb, grace: r.TerminationGracePeriod}
	for i, c := range r.Containers {
		p.containers = append(p.containers, &ContainerHandle{pod: p, spec: c, index: i})
	}
	return p
}

// Open returns a handle of an existing pod, in whatever process made it. An empty
// stateDir means sandbox.DefaultStateDir. The error matches sandbox.ErrNotExist
// if there is none of this ID, and sandbox.ErrIncomplete if its creator did not
// finish it. The caller must Close the handle.
func Open(ctx context.Context, stateDir, id string) (*Pod, error) {
	p, err := open(ctx, stateDir, id)
	return p, wrap("open", id, err)
}

func open(ctx context.Context, stateDir, id string) (*Pod, error) {
	sb, err := sandbox.Open(ctx, stateDir, id)
	if err != nil {
		return nil, err
	}
	var r record
	err = sb.StoreGet(recordKey, &r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("a sandbox without containers of a pod: %w", sandbox.ErrIncomplete)
	case err == nil && r.Version != recordVersion:
		err = fmt.Errorf("record of version %d, not %d", r.Version, recordVersion)
	}
	if err != nil {
		return nil, errors.Join(err, sb.Close())
	}
	return newPod(sb, r), nil
}

// List returns the IDs in a state directory, sorted, also of those that can only
// be removed and of sandboxes that are no pods. An empty stateDir means
// sandbox.DefaultStateDir; one that does not exist has none.
func List(stateDir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for id, err := range sandbox.List(stateDir) {
			if !yield(id, wrap("list", id, err)) {
				return
			}
		}
	}
}

// Remove destroys the pod id of a state directory (empty: sandbox.DefaultStateDir)
// as sandbox.Remove does: whatever state it is in, at once and without stop
// signals or grace period. It can be repeated, and a pod that does not exist is
// no error.
func Remove(ctx context.Context, stateDir, id string) error {
	return wrap("remove", id, sandbox.Remove(ctx, stateDir, id))
}

// ID returns the pod's ID.
func (p *Pod) ID() string { return p.sb.ID() }

// Name returns the pod's name.
func (p *Pod) Name() string { return p.sb.Name() }

// Spec returns a copy of the pod's Spec. That of the sandbox has its defaults
// filled in, the ID among them.
func (p *Pod) Spec() Spec {
	spec := Spec{Sandbox: p.sb.Config(), TerminationGracePeriod: p.grace}
	for _, c := range p.containers {
		spec.Containers = append(spec.Containers, c.spec)
	}
	spec.Containers = cloneContainers(spec.Containers)
	return spec
}

// Sandbox returns the pod's sandbox. It is borrowed: the Pod closes it.
func (p *Pod) Sandbox() *sandbox.Sandbox { return p.sb }

// Container returns the handle of the container of this name, which is valid
// until the Pod is closed. A name that is not in the Spec is an
// *sandbox.InvalidError.
func (p *Pod) Container(name string) (*ContainerHandle, error) {
	i := slices.IndexFunc(p.containers, func(c *ContainerHandle) bool { return c.spec.Name == name })
	if i < 0 {
		return nil, wrap("container", p.ID(), &invalid.Error{Field: "name", Value: name, Reason: "is no container of the pod"})
	}
	return p.containers[i], nil
}

// Status returns the pod as it is now. If that cannot be told, the error comes
// with a Status of PhaseUnknown.
func (p *Pod) Status(ctx context.Context) (Status, error) {
	s, err := p.status(ctx)
	return s, wrap("status", p.ID(), err)
}

func (p *Pod) status(ctx context.Context) (Status, error) {
	s := Status{ID: p.ID(), Name: p.Name(), Phase: PhaseUnknown, PodIPs: p.sb.Network().Addresses()}
	for _, c := range p.containers {
		cs, err := c.status(ctx)
		if err != nil {
			return s, c.wrap("status", err)
		}
		s.Containers = append(s.Containers, cs)
	}
	s.Phase = phaseOf(s.Containers)
	return s, nil
}

// Close drops the handle; the pod stays, unless its sandbox has DieWithCreator
// and this is the handle of its creator. It is idempotent.
func (p *Pod) Close() error {
	var errs []error
	for _, c := range p.containers {
		errs = append(errs, c.close())
	}
	return wrap("close", p.ID(), errors.Join(append(errs, p.sb.Close())...))
}

// Remove destroys the pod: its processes, at once and without stop signals or
// grace period, its namespaces, volumes, cgroups and state. It is idempotent.
// The handle still has to be closed.
func (p *Pod) Remove(ctx context.Context) error {
	return wrap("remove", p.ID(), p.sb.Remove(ctx))
}
