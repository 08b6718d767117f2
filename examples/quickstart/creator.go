//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

// reportFD is the descriptor on which the supervisor reads what was made.
const reportFD = 3

// creator makes the pod, does steps 1 to 5 and says what it has made. Then it
// waits to be killed, with the pod's handle open.
func creator(ctx context.Context, args []string) error {
	id := args[0]
	syscall.CloseOnExec(reportFD)
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	// When it is the supervisor that dies, nobody else removes the pod.
	orphaned := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		cancel()
		orphaned <- err
	}()
	err := create(ctx, id)
	if err == nil {
		err = <-orphaned
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, removePod(clean, id))
}

func create(ctx context.Context, id string) error {
	p, err := newPod(ctx, id)
	if err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	if err := printPod(ctx, p); err != nil {
		return err
	}
	t := &tour{pod: p, namespaces: map[string]bool{}}
	for _, step := range []func(context.Context) error{t.serve, t.load, t.check, t.reach, t.restart} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return t.report(ctx)
}

// newPod makes the pod, if need be several times: somebody else may take the port
// that was free a moment ago.
func newPod(ctx context.Context, id string) (*pod.Pod, error) {
	for {
		spec, err := podSpec(id)
		if err != nil {
			return nil, err
		}
		p, err := pod.New(ctx, spec)
		var taken *network.PortError
		if !errors.As(err, &taken) {
			return p, err
		}
	}
}

// report tells the supervisor what was made.
func (t *tour) report(ctx context.Context) error {
	if err := t.collect(ctx); err != nil {
		return err
	}
	pids, err := t.pids(ctx)
	if err != nil {
		return err
	}
	w := os.NewFile(reportFD, "report")
	m := made{
		PIDs: pids, Namespaces: slices.Sorted(maps.Keys(t.namespaces)),
		IPs: t.pod.Sandbox().Network().Addresses(), HostPort: t.hostPort(),
	}
	return errors.Join(json.NewEncoder(w).Encode(m), w.Close())
}

// collect remembers all namespaces that the pod has now: those that the
// containers share, their own, and the one that holds them.
func (t *tour) collect(ctx context.Context) error {
	info, err := os.Stat(filepath.Join(sandbox.DefaultStateDir, t.pod.ID(), "anchor"))
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		t.namespaces[fmt.Sprintf("mnt:[%d]", st.Ino)] = true
	}
	ours, err := namespacesOf("self")
	if err != nil {
		return err
	}
	pids, err := t.pids(ctx)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		theirs, err := namespacesOf(fmt.Sprint(pid))
		if err != nil {
			return err
		}
		for _, ns := range theirs {
			if !slices.Contains(ours, ns) {
				t.namespaces[ns] = true
			}
		}
	}
	return nil
}

// namespacesOf returns the namespaces that a process is in.
func namespacesOf(pid string) ([]string, error) {
	dir := filepath.Join("/proc", pid, "ns")
	kinds, err := names(dir)
	var list []string
	for _, kind := range kinds {
		if ns, err := os.Readlink(filepath.Join(dir, kind)); err == nil {
			list = append(list, ns)
		}
	}
	return list, err
}
