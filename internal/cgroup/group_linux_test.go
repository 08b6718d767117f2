package cgroup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/testutil"
)

func TestCreateOpenRemove(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		pod := newGroup(t, h, cfg, "pod.1")
		require.Equal(t, cfg.Parent+"/_pod.1", pod.Path())
		require.NotEmpty(t, dirs(h, pod.Path()))

		_, err := h.Create(cfg, "pod.1")
		require.ErrorIs(t, err, fs.ErrExist)
		var ce *cgroup.Error
		require.ErrorAs(t, err, &ce)
		require.Equal(t, "create", ce.Op)

		// A control file of v1 has this name.
		ctr := newGroup(t, h, cfg, "pod.1", "tasks")
		require.Len(t, dirs(h, ctr.Path()), len(dirs(h, pod.Path())))
		_, err = h.Create(cfg, "pod.1", "tasks")
		require.ErrorIs(t, err, fs.ErrExist)

		_, err = h.Create(cfg, "other", "c")
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.Empty(t, dirs(h, cfg.Parent+"/other"))

		again, err := h.Open(cfg, "pod.1")
		require.NoError(t, err)
		require.Equal(t, pod.Path(), again.Path())
		ctx := bound(t, 5*time.Second)
		// Also what was made below it, or in a hierarchy that groups are not
		// made in, by others.
		for _, x := range h.Hierarchies {
			require.NoError(t, os.MkdirAll(x.Mountpoint+pod.Path()+"/tasks.d/x", 0o755))
		}
		require.NoError(t, again.Remove(ctx))
		require.Empty(t, dirs(h, pod.Path()))
		require.NoError(t, again.Remove(ctx))
		require.NoError(t, again.Kill(ctx))
		populated, err := again.Populated()
		require.NoError(t, err)
		require.False(t, populated, "what is gone is empty")
	})
}

func TestNames(t *testing.T) {
	h := hosts(t)[0]
	for _, elems := range [][]string{
		{},
		{""},
		{"."},
		{".."},
		{"../x"},
		{"/x"},
		{"a/b"},
		{"_keepers"},
		{"-a"},
		{"a\x00"},
		{"a\n"},
		{"ä"},
		{strings.Repeat("a", 65)},
		{"a", ""},
		{"a", ".."},
		{"a", "b", "c"},
	} {
		_, err := h.Create(cgroup.Config{}, elems...)
		requireField(t, err, "Name")
		_, err = h.Open(cgroup.Config{}, elems...)
		requireField(t, err, "Name")
	}
	_, err := h.Create(cgroup.Config{Parent: "x"}, "a")
	requireField(t, err, "Parent")
	requireField(t, h.RemoveParent(cgroup.Config{Parent: "x"}), "Parent")
}

func TestUnsupported(t *testing.T) {
	_, err := (&cgroup.Host{}).Create(cgroup.Config{}, "a")
	require.ErrorIs(t, err, errors.ErrUnsupported)

	testutil.RequireFeature(t, "no-systemd")
	h := hosts(t)[0]
	_, err = h.Create(cgroup.Config{Driver: cgroup.Systemd}, "a")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "booted with systemd")
}

func TestCreateRollback(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		broken := &cgroup.Host{Hierarchies: append(h.Hierarchies[:len(h.Hierarchies):len(h.Hierarchies)],
			cgroup.Hierarchy{Controllers: []string{"memory"}, Mountpoint: t.TempDir() + "/missing"})}
		_, err := broken.Create(cfg, "a")
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.Empty(t, dirs(h, cfg.Parent), "the parent made on the way is removed, too")

		if len(h.Hierarchies) == 1 {
			return
		}
		// Somebody has one of the directories, and keeps it.
		other := newGroup(t, h, cfg, "b")
		all := dirs(h, other.Path())
		keep := all[len(all)-1]
		for _, dir := range all[:len(all)-1] {
			require.NoError(t, os.Remove(dir))
		}
		_, err = h.Create(cfg, "b")
		require.ErrorIs(t, err, fs.ErrExist)
		require.Equal(t, []string{keep}, dirs(h, other.Path()))
	})
}

func TestCreateConcurrent(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		ctx := bound(t, 20*time.Second)
		var wg sync.WaitGroup
		errs := make(chan error, 1000)
		for i := range 16 {
			wg.Go(func() {
				for range 10 {
					g, err := h.Create(cfg, fmt.Sprint("p", i))
					if err == nil {
						err = errors.Join(g.Remove(ctx), h.RemoveParent(cfg))
					}
					errs <- err
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
	})
}

func TestKeepers(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		pod := newGroup(t, h, cfg, "keepers") // not the same
		k, err := pod.Keepers()
		require.NoError(t, err)
		_, err = pod.Keepers()
		require.NoError(t, err)
		require.NotEqual(t, pod.Path(), k.Path())
		if !h.unified() {
			require.Empty(t, dirs(h, k.Path()))
			return
		}
		require.Len(t, dirs(h, k.Path()), 1)

		require.NoError(t, h.RemoveParent(cfg), "a pod is in it")
		require.NotEmpty(t, dirs(h, k.Path()))

		cmd := start(t, k, "exec sleep 60")
		ctx := bound(t, 10*time.Second)
		require.NoError(t, pod.Kill(ctx))
		require.NoError(t, pod.Remove(ctx))
		require.NoError(t, h.RemoveParent(cfg), "a keeper is in it")
		require.NotEmpty(t, dirs(h, k.Path()))
		require.NoError(t, cmd.Process.Kill())
		requireKilled(t, cmd)
	})
}

func TestJoinAndAdopt(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		newGroup(t, h, cfg, "p")
		a, b := newGroup(t, h, cfg, "p", "a"), newGroup(t, h, cfg, "p", "b")
		cmd := start(t, a, "exec sleep 60")

		requireIn := func(g *cgroup.Group) {
			t.Helper()
			self, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
			require.NoError(t, err)
			require.Equal(t, len(dirs(h, g.Path())), strings.Count(string(self), ":"+g.Path()+"\n"), "%s", self)
		}
		requireIn(a)
		populated, err := a.Populated()
		require.NoError(t, err)
		require.True(t, populated)

		require.NoError(t, b.Adopt(cmd.Process.Pid))
		requireIn(b)
		populated, err = a.Populated()
		require.NoError(t, err)
		require.False(t, populated)

		require.NoError(t, b.Kill(bound(t, 10*time.Second)))
		requireKilled(t, cmd)
	})
}

// TestJoinKilled joins a group that was killed, which cannot be relied upon with
// Dir.
func TestJoinKilled(t *testing.T) {
	eachHost(t, func(t *testing.T, h host) {
		cfg := newParent(t, h)
		newGroup(t, h, cfg, "p")
		g := newGroup(t, h, cfg, "p", "c")
		require.NoError(t, g.Kill(bound(t, 10*time.Second)))
		j, err := g.Join()
		require.NoError(t, err)
		if j.Dir != nil {
			require.NoError(t, j.Dir.Close())
			j.Tasks = append(j.Tasks, j.Procs)
		}
		script := "for f; do echo 0 > $f || exit 99; done; cat /proc/self/cgroup"
		out, err := exec.Command("/bin/sh", append([]string{"-c", script, "sh"}, j.Tasks...)...).Output()
		require.NoError(t, err)
		require.Equal(t, len(j.Tasks), strings.Count(string(out), ":"+g.Path()+"\n"), "%s", out)
	})
}

func TestMounts(t *testing.T) {
	list := []cgroup.Hierarchy{
		{Controllers: []string{"cpu", "cpuacct"}, Mountpoint: "/m/1"},
		{Controllers: []string{"cpuset"}, Mountpoint: "/m/2"},
		{Controllers: []string{"memory"}, Mountpoint: "/m/3"},
		{Controllers: []string{"freezer"}, Mountpoint: "/m/4"},
		{Name: "systemd", Mountpoint: "/m/5"},
		{Name: "other", Mountpoint: "/m/6"},
	}
	v2 := cgroup.Hierarchy{Unified: true, Controllers: []string{"hugetlb"}, Mountpoint: "/m/7"}
	cpu := cgroup.Mount{Dir: "cpu,cpuacct", Source: "/m/1/barepod/a/b"}
	memory := cgroup.Mount{Dir: "memory", Source: "/m/3/barepod/a/b"}
	tests := []struct {
		name string
		h    []cgroup.Hierarchy
		want []cgroup.Mount
	}{
		{"v2", []cgroup.Hierarchy{v2}, []cgroup.Mount{{Dir: ".", Source: "/m/7/barepod/a/b"}}},
		{"hybrid", append(list[:len(list):len(list)], v2), []cgroup.Mount{{Dir: "unified", Source: "/m/7/barepod/a/b"}, cpu, memory}},
		{"v1", list, []cgroup.Mount{
			cpu, memory,
			{Dir: "freezer", Source: "/m/4/barepod/a/b"},
			{Dir: "systemd", Source: "/m/5/barepod/a/b"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := (&cgroup.Host{Hierarchies: tt.h}).Open(cgroup.Config{}, "a", "b")
			require.NoError(t, err)
			require.Equal(t, tt.want, g.Mounts())
			require.Equal(t, "/barepod/a/b", g.Path())
		})
	}
}
