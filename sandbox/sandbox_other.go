//go:build !linux

package sandbox

import (
	"context"
	"iter"
	"net"
	"syscall"

	"github.com/barepod/barepod/internal/feature"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/volume"
)

var errLinux = feature.NeedsLinux("pods")

// Sandbox is a handle of a pod's shared context. It needs Linux.
type Sandbox struct{ cfg Config }

// New needs Linux.
func New(_ context.Context, cfg Config) (*Sandbox, error) {
	if err := cfg.Validate(); err != nil {
		return nil, wrap("new", "", err)
	}
	return nil, wrap("new", cfg.ID, errLinux)
}

// Open needs Linux.
func Open(_ context.Context, _, id string) (*Sandbox, error) { return nil, wrap("open", id, errLinux) }

// List needs Linux.
func List(string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", wrap("list", "", errLinux)) }
}

// Remove needs Linux.
func Remove(_ context.Context, _, id string) error { return wrap("remove", id, errLinux) }

// Sweep needs Linux.
func Sweep(context.Context, string) error { return wrap("sweep", "", errLinux) }

// ID returns the sandbox's ID.
func (s *Sandbox) ID() string { return s.cfg.ID }

// Name returns the pod's name.
func (s *Sandbox) Name() string { return s.cfg.Name }

// Config returns a copy of the configuration.
func (s *Sandbox) Config() Config { return s.cfg.clone() }

// Network needs Linux.
func (s *Sandbox) Network() network.Result { return network.Result{} }

// Status needs Linux.
func (s *Sandbox) Status(context.Context) (Status, error) { return Status{}, errLinux }

// Stats needs Linux.
func (s *Sandbox) Stats(context.Context) (PodStats, error) { return PodStats{}, errLinux }

// Dial needs Linux.
func (s *Sandbox) Dial(context.Context, string, string) (net.Conn, error) { return nil, errLinux }

// Listen needs Linux.
func (s *Sandbox) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, errLinux
}

// ListenPacket needs Linux.
func (s *Sandbox) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, errLinux
}

// Namespace needs Linux.
func (s *Sandbox) Namespace(namespace.Kind) (*namespace.Handle, error) { return nil, errLinux }

// Do needs Linux.
func (s *Sandbox) Do(func() error) error { return errLinux }

// Process needs Linux.
func (s *Sandbox) Process(context.Context, string) (*Process, error) { return nil, errLinux }

// Usage needs Linux.
func (s *Sandbox) Usage(context.Context, string) (volume.Usage, error) {
	return volume.Usage{}, errLinux
}

// StorePut needs Linux.
func (s *Sandbox) StorePut(string, any) error { return errLinux }

// StoreGet needs Linux.
func (s *Sandbox) StoreGet(string, any) error { return errLinux }

// Close drops the handle.
func (s *Sandbox) Close() error { return nil }

// Remove needs Linux.
func (s *Sandbox) Remove(context.Context) error { return errLinux }

// Start needs Linux.
func (c *Cmd) Start(context.Context) (*Process, error) {
	return nil, wrap("start", c.Name, errLinux)
}

// Process is a handle of a process in a sandbox. It needs Linux.
type Process struct {
	sb  *Sandbox
	cmd Cmd
}

// Name returns the process's name in its sandbox.
func (p *Process) Name() string { return p.cmd.Name }

// PID returns the process's number as the host has it.
func (p *Process) PID() int { return 0 }

// Wait needs Linux.
func (p *Process) Wait(context.Context) (Exit, error) { return Exit{}, errLinux }

// Signal needs Linux.
func (p *Process) Signal(syscall.Signal) error { return errLinux }

// Kill needs Linux.
func (p *Process) Kill(context.Context) error { return errLinux }

// Stats needs Linux.
func (p *Process) Stats(context.Context) (Stats, error) { return Stats{}, errLinux }

// Status needs Linux.
func (p *Process) Status() (ProcessStatus, error) { return ProcessStatus{}, errLinux }

// Close drops the handle.
func (p *Process) Close() error { return nil }
