package pod_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

// TestCase_R21_PortForward forwards to a server on the pod's localhost; the pod
// has no other network.
func TestCase_R21_PortForward(t *testing.T) {
	p, err := pod.New(t.Context(), pod.Spec{Sandbox: testConfig(t), Containers: []pod.Container{sh("main", busybox(t), forever)}})
	require.NoError(t, err)
	defer p.Close()
	for _, at := range []string{"127.0.0.1:80", "[::1]:81"} {
		l, err := p.Sandbox().Listen(t.Context(), "tcp", at)
		require.NoError(t, err)
		defer l.Close()
		go func() { // answers when it has heard all
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				b, _ := io.ReadAll(c)
				_, _ = c.Write(append([]byte("heard "), b...))
				_ = c.Close()
			}
		}()
	}
	for _, port := range []int{80, 81} {
		f, err := p.PortForward(t.Context(), "127.0.0.1:0", port)
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- f.Serve(t.Context()) }()
		for range 3 {
			c, err := net.Dial("tcp", f.Addr().String())
			require.NoError(t, err)
			_, err = c.Write([]byte("hello"))
			require.NoError(t, err)
			require.NoError(t, c.(*net.TCPConn).CloseWrite())
			b, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, "heard hello", string(b))
			require.NoError(t, c.Close())
		}
		require.NoError(t, f.Close())
		require.NoError(t, <-served)
		require.NoError(t, f.Close())
	}

	// The end of the context ends what is open.
	ctx, cancel := context.WithCancel(t.Context())
	f, err := p.PortForward(ctx, "127.0.0.1:0", 80)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	c, err := net.Dial("tcp", f.Addr().String())
	require.NoError(t, err)
	_, err = c.Write([]byte("hello"))
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-served, context.Canceled)
	require.NoError(t, c.Close())

	// Nobody listens: the connection is closed.
	f, err = p.PortForward(t.Context(), "127.0.0.1:0", 99)
	require.NoError(t, err)
	go func() { served <- f.Serve(t.Context()) }()
	c, err = net.Dial("tcp", f.Addr().String())
	require.NoError(t, err)
	b, _ := io.ReadAll(c)
	require.Empty(t, b)
	require.NoError(t, c.Close())
	require.NoError(t, f.Close())
	require.NoError(t, <-served)

	var invalid *sandbox.InvalidError
	_, err = p.PortForward(t.Context(), "127.0.0.1:0", 70000)
	require.ErrorAs(t, err, &invalid)
}
