package network_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// TestBandwidth has each limit hold, in its own direction only. The limit is a
// small part of what this machine can do without, besides its other work.
func TestBandwidth(t *testing.T) {
	const probe, burst = 16 << 20, 256 << 10 // bytes
	h := newHost(t)
	free := h.attach(t, network.Bridge{})
	slower := max(transfer(t, h.ns, free.ns, free.ip4(), probe), transfer(t, free.ns, h.ns, "10.213.0.1", probe))
	rate := int64(min(10e6, probe/slower.Seconds()/32)) // bytes in a second
	limits := map[string]network.Bandwidth{
		"ingress": {IngressRate: 8 * rate, IngressBurst: 8 * burst},
		"egress":  {EgressRate: 8 * rate, EgressBurst: 8 * burst},
	}
	for limited, b := range limits {
		p := h.attach(t, network.Bridge{Bandwidth: b})
		took := map[string]time.Duration{
			"ingress": transfer(t, h.ns, p.ns, p.ip4(), burst+2*rate),
			"egress":  transfer(t, p.ns, h.ns, "10.213.0.1", burst+2*rate),
		}
		t.Logf("%s limited to %d bytes/s: %v", limited, rate, took)
		for direction, d := range took {
			if direction == limited {
				// A bucket lets no more through, whatever the machine does.
				require.Greater(t, d, 1900*time.Millisecond, direction)
				require.Less(t, d, 8*time.Second, direction+": a limit of bits for bytes takes 16")
			} else {
				require.Less(t, d, took[limited], direction+" is not limited")
			}
		}
	}
}

// transfer returns the time in which so many bytes come from one namespace to an
// address of another by TCP.
func transfer(t testing.TB, from, to *namespace.Handle, address string, n int64) time.Duration {
	t.Helper()
	var ln net.Listener
	require.NoError(t, to.Do(func() (err error) {
		ln, err = net.Listen("tcp", address+":9")
		return err
	}))
	defer ln.Close()
	begin := time.Now()
	errs := parallel(2, func(i int) (err error) {
		var c net.Conn
		if i == 0 {
			c, err = ln.Accept()
		} else {
			err = from.Do(func() (err error) {
				c, err = net.DialTimeout("tcp", ln.Addr().String(), patience)
				return err
			})
		}
		if err != nil {
			_ = ln.Close() // the other does not wait
			return err
		}
		defer c.Close()
		if i == 0 {
			_, err = io.CopyN(io.Discard, c, n)
		} else {
			_, err = io.CopyN(c, zeros{}, n)
		}
		return err
	})
	took := time.Since(begin)
	for _, err := range errs {
		require.NoError(t, err)
	}
	return took
}

// zeros is a file like /dev/zero.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
