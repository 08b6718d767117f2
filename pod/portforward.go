package pod

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/barepod/barepod/internal/invalid"
)

// PortForward is a port of this program that leads into a pod.
type PortForward struct {
	pod      *Pod
	listener net.Listener
	address  string // in the pod
}

var _ io.Closer = (*PortForward)(nil)

// PortForward listens on localAddress, such as "127.0.0.1:8080", or with port 0
// on a free one, for connections to a TCP port of the pod, which Serve then
// forwards: also to a server on the pod's localhost, and without a network of the
// pod. The pod is borrowed until Close. The caller must close it.
func (p *Pod) PortForward(ctx context.Context, localAddress string, port int) (*PortForward, error) {
	if port < 1 || port > 65535 {
		return nil, wrap("forward port", p.ID(), &invalid.Error{Field: "port", Value: port, Reason: "must be from 1 to 65535"})
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", localAddress)
	if err != nil {
		return nil, wrap("forward port", p.ID(), err)
	}
	return &PortForward{pod: p, listener: l, address: net.JoinHostPort("localhost", strconv.Itoa(port))}, nil
}

// Addr returns the address that it listens on.
func (f *PortForward) Addr() net.Addr { return f.listener.Addr() }

// Serve forwards connections until ctx ends or Close is called, and returns when
// all of them are closed: those that are open when ctx ends at once, those of
// Close when they end. One to a port that nobody listens on is closed.
func (f *PortForward) Serve(ctx context.Context) error {
	var connections sync.WaitGroup
	defer connections.Wait()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = f.listener.Close() })
	defer stop()
	for {
		c, err := f.listener.Accept()
		switch {
		case ctx.Err() != nil:
			cancel()
			if err == nil {
				_ = c.Close()
			}
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			connections.Wait()
			cancel()
			return nil
		case err != nil:
			cancel()
			return wrap("forward port", f.pod.ID(), err)
		}
		connections.Go(func() { f.forward(ctx, c) })
	}
}

// Close stops listening. It is idempotent.
func (f *PortForward) Close() error {
	if err := f.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return wrap("forward port", f.pod.ID(), err)
	}
	return nil
}

// forward copies both ways until both sides have said all, or ctx ends.
func (f *PortForward) forward(ctx context.Context, outside net.Conn) {
	defer outside.Close()
	inside, err := f.pod.sb.Dial(ctx, "tcp", f.address)
	if err != nil {
		return
	}
	defer inside.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = outside.Close()
		_ = inside.Close()
	})
	defer stop()
	var ways sync.WaitGroup
	ways.Go(func() { pass(inside, outside) })
	pass(outside, inside)
	ways.Wait()
}

// pass copies one way, end included.
func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from) // an error ends the way as the end of the stream does
	if c, ok := to.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}
