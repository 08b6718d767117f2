package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/sandbox"
)

// BenchmarkPeers runs the same static program in a container of ours, of crun
// and of runc, in turn, and reports the medians in milliseconds and how many
// times longer the others take.
func BenchmarkPeers(b *testing.B) {
	testutil.RequireFeature(b, "crun")
	testutil.RequireFeature(b, "runc")
	cfg := benchConfig(b)
	root := benchRoot(b)
	sb := newSandboxB(b, cfg)
	bundle := ociBundle(b, root)
	legacy := inLegacyCgroups(b)
	peers := []struct {
		name string
		run  func() error
		took []time.Duration
	}{
		{name: "barepod", run: func() error {
			cmd := sb.Command("/true")
			cmd.Rootfs = sandbox.Dir{Path: root}
			exit, err := cmd.Run(context.Background())
			if err == nil && !exit.Success() {
				err = fmt.Errorf("%+v", exit)
			}
			return err
		}},
		{name: "crun", run: func() error { return legacy(func() error { return runOCI(bundle, "crun") }) }},
		{name: "runc", run: func() error { return legacy(func() error { return runOCI(bundle, "runc") }) }},
	}
	for b.Loop() {
		for i := range peers {
			start := time.Now()
			require.NoError(b, peers[i].run(), peers[i].name)
			peers[i].took = append(peers[i].took, time.Since(start))
		}
	}
	b.ReportMetric(0, "ns/op") // the sum of three says nothing
	for _, p := range peers {
		b.ReportMetric(median(p.took).Seconds()*1e3, p.name+"-ms")
		if p.name != "barepod" {
			b.ReportMetric(median(p.took).Seconds()/median(peers[0].took).Seconds(), p.name+"/barepod")
		}
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// inLegacyCgroups returns a function that runs others on a thread that does not
// see the unified hierarchy of a hybrid machine, where crun refuses to work.
// Programs started there inherit that view.
func inLegacyCgroups(b *testing.B) func(func() error) error {
	b.Helper()
	work, done := make(chan func() error), make(chan error)
	go func() {
		set, err := namespace.Unshare(namespace.Mount, func() error {
			if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
				return err
			}
			const unified = "/sys/fs/cgroup/unified"
			if _, err := os.Stat(unified); err == nil {
				if err := syscall.Unmount(unified, syscall.MNT_DETACH); err != nil {
					return err
				}
			}
			for f := range work {
				done <- f()
			}
			return nil
		})
		if err == nil {
			err = set.Close()
		}
		done <- err
	}()
	b.Cleanup(func() {
		close(work)
		require.NoError(b, <-done)
	})
	return func(f func() error) error {
		select {
		case work <- f:
			return <-done
		case err := <-done:
			return err
		}
	}
}

func runOCI(bundle, runtime string) error {
	cmd := exec.Command(runtime, "run", "--bundle", bundle, fmt.Sprintf("peer-%d", os.Getpid()))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// ociBundle is what runc itself proposes, with our program and root.
func ociBundle(b *testing.B, root string) string {
	b.Helper()
	dir := b.TempDir()
	require.NoError(b, exec.Command("runc", "spec", "--bundle", dir).Run())
	path := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(path)
	require.NoError(b, err)
	var spec map[string]any
	require.NoError(b, json.Unmarshal(data, &spec))
	process, ok := spec["process"].(map[string]any)
	require.True(b, ok)
	process["terminal"], process["args"] = false, []string{"/true"}
	spec["root"] = map[string]any{"path": root, "readonly": false}
	data, err = json.Marshal(spec)
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(path, data, 0o600))
	return dir
}
