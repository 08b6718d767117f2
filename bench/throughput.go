package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/barepod/barepod/namespace"
)

// partThroughput is the part of the documentation that it writes.
const partThroughput = "throughput"

// end is a place that iperf3 runs in: a pod, or the run's host.
type end struct {
	ns *namespace.Handle // nil is the host
	ip string
}

// ends are two pods of a peer, and the host on their bridge.
type ends struct {
	peer            string
	one, other, out end
}

// throughput measures with iperf3 how fast packets go between two pods, and
// between a pod and the host, beside podman's bridge.
func throughput(ctx context.Context, r *room, o *options) (err error) {
	b, p := &barepod{}, &podman{}
	closeAll, err := openPeers(ctx, r, []peer{b, p})
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return err
	}
	res := &results{peers: []string{b.name(), p.name()}, versions: map[string]string{}, rounds: o.rounds, values: map[quantity]map[string][]float64{}}
	var all []ends
	for _, makeEnds := range []func(context.Context) (ends, func() error, error){b.ends, p.ends} {
		made, remove, makeErr := makeEnds(ctx)
		defer func() { err = errors.Join(err, remove()) }()
		if makeErr != nil {
			return makeErr
		}
		all = append(all, made)
	}
	for round := range o.rounds {
		for i := range all {
			e := all[(i+round)%len(all)]
			for _, way := range []struct {
				title    quantity
				from, to end
			}{
				{"pod to pod", e.one, e.other}, {"host to pod", e.out, e.other}, {"pod to host", e.one, e.out},
			} {
				rate, err := iperf3(ctx, way.from, way.to)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", e.peer, way.title, err)
				}
				res.add(way.title, e.peer, rate)
			}
		}
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	t := newTable("Gbit/s", res.peers[0], res.peers[1], "barepod's of podman's")
	for _, q := range []quantity{"pod to pod", "host to pod", "pod to host"} {
		t.row(string(q), digits(res.median(q, b.name())), digits(res.median(q, p.name())), times(res.ratio(q, b.name(), p.name())))
	}
	return updateDoc(o.out, map[string]string{partThroughput: t.String()}, []string{partThroughput})
}

// ends makes two pods.
func (b *barepod) ends(ctx context.Context) (e ends, remove func() error, err error) {
	e.peer = b.name()
	var undo []func() error
	remove = func() error { return undoAll(undo) }
	for _, to := range []*end{&e.one, &e.other} {
		made, err := b.newAddressed(ctx)
		if err != nil {
			return e, remove, err
		}
		undo = append(undo, func() error { return made.remove(context.WithoutCancel(ctx)) })
		sb := made.(*barepodPod).sb //nolint:forcetypeassert // it is what newAddressed makes
		address := sb.Network().Interfaces[0].Addresses[0]
		to.ip, e.out.ip = address.Prefix.Addr().String(), address.Gateway.String()
		if to.ns, err = sb.Namespace(namespace.Net); err != nil {
			return e, remove, err
		}
		undo = append(undo, to.ns.Close)
	}
	return e, remove, nil
}

func undoAll(list []func() error) error {
	var errs []error
	for _, f := range list {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// ends makes two pods.
func (p *podman) ends(ctx context.Context) (e ends, remove func() error, err error) {
	e.peer = p.name()
	var undo []func() error
	remove = func() error { return undoAll(undo) }
	for _, to := range []*end{&e.one, &e.other} {
		made, err := p.makePod(ctx, podmanBridge)
		undo = append(undo, func() error { return made.remove(context.WithoutCancel(ctx)) })
		if err != nil {
			return e, remove, err
		}
		out, err := p.call(ctx, "pod", "inspect", "--format", "{{.InfraContainerID}}", made.id)
		if err != nil {
			return e, remove, err
		}
		const format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}"
		if out, err = p.call(ctx, "inspect", "--format", format, strings.TrimSpace(out)); err != nil {
			return e, remove, err
		}
		var pid int
		if _, err := fmt.Sscan(out, &pid, &to.ip, &e.out.ip); err != nil {
			return e, remove, fmt.Errorf("podman inspect says %q: %w", out, err)
		}
		if to.ns, err = namespace.Open(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
			return e, remove, err
		}
		undo = append(undo, to.ns.Close)
	}
	return e, remove, nil
}

// iperf3 returns how many Gbit/s go from one place to another for two seconds.
func iperf3(ctx context.Context, from, to end) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	// Nowhere but on that address.
	server := exec.CommandContext(ctx, "iperf3", "--server", "--bind", to.ip)
	if err := to.start(server); err != nil {
		cancel()
		return 0, err
	}
	defer func() {
		cancel()
		_ = server.Wait() // killed
	}()
	for {
		report, err := from.client(ctx, to.ip)
		if !strings.Contains(report.Error, "Connection refused") {
			return report.End.Received.BitsPerSecond / 1e9, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil { // until the server is there
			return 0, err
		}
	}
}

// report is what we want to know of what iperf3's client says.
type report struct {
	Error string
	End   struct {
		Received struct {
			BitsPerSecond float64 `json:"bits_per_second"`
		} `json:"sum_received"`
	}
}

func (e end) client(ctx context.Context, ip string) (r report, err error) {
	cmd := exec.CommandContext(ctx, "iperf3", "--client", ip, "--time", "2", "--json")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := e.start(cmd); err != nil {
		return r, err
	}
	exit := cmd.Wait()
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, errors.Join(exit, fmt.Errorf("iperf3 says %q: %w", out.String(), err))
	}
	if exit != nil {
		err = fmt.Errorf("iperf3: %s: %w", r.Error, exit)
	}
	return r, err
}

// start starts a program there.
func (e end) start(cmd *exec.Cmd) error {
	if e.ns == nil {
		return cmd.Start()
	}
	return e.ns.Do(cmd.Start)
}
