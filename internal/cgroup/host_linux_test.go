package cgroup_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/cgroup"
)

const procCgroups = `#subsys_name	hierarchy	num_cgroups	enabled
cpuset	3	1	1
cpu	1	1	1
cpuacct	2	1	1
memory	4	11	1
freezer	6	1	1
net_cls	0	1	0
pids	8	1	1
`

func TestParseHost(t *testing.T) {
	type hs = []cgroup.Hierarchy
	all := func(string, string) bool { return true }
	tests := []struct {
		name    string
		mounts  string
		visible func(string, string) bool
		want    hs
	}{
		{"none", "23 1 8:1 / / rw - ext4 /dev/vda rw\n", all, nil},
		{
			"v2", "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", all,
			hs{{Unified: true, Mountpoint: "/sys/fs/cgroup"}},
		},
		{"hybrid", `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw shared:5 master:3 - cgroup2 cgroup2 rw
33 31 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpuacct,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
`, all, hs{
			{Unified: true, Mountpoint: "/sys/fs/cgroup/unified"},
			{Name: "systemd", Mountpoint: "/sys/fs/cgroup/systemd"},
			{Controllers: []string{"cpu", "cpuacct"}, Mountpoint: "/sys/fs/cgroup/cpu,cpuacct"},
			{Controllers: []string{"memory"}, Mountpoint: "/sys/fs/cgroup/memory"},
		}},
		{"a container's mounts come first", `90 80 0:32 /docker/x /var/lib/c/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
91 80 0:32 /docker/y /srv/memory rw - cgroup cgroup rw,memory
`, all, hs{{Controllers: []string{"memory"}, Mountpoint: "/sys/fs/cgroup/memory"}}},
		{
			"elsewhere only", "35 31 0:32 / /my\\040cgroups/m rw - cgroup cgroup rw,memory\n", all,
			hs{{Controllers: []string{"memory"}, Mountpoint: "/my cgroups/m"}},
		},
		{"mounted over", `35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
`, func(_, dev string) bool { return dev != "0:32" }, hs{{Controllers: []string{"pids"}, Mountpoint: "/sys/fs/cgroup/pids"}}},
		{"disabled or unknown controller", "35 31 0:32 / /sys/fs/cgroup/net_cls rw - cgroup cgroup rw,net_cls,future\n", all, nil},
		{"broken lines", "x\n - \n1 2 3 - cgroup\n35 31 0:32 / /a rw - cgroup2\n", all, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := cgroup.ParseHost([]byte(tt.mounts), []byte(procCgroups), tt.visible)
			require.Equal(t, tt.want, h.Hierarchies)
		})
	}
}

func FuzzParseHost(f *testing.F) {
	f.Add([]byte("35 31 0:32 / /sys/fs/cgroup/a\\040b rw - cgroup cgroup rw,memory,name=x\n"), []byte(procCgroups))
	f.Fuzz(func(t *testing.T, mounts, names []byte) {
		cgroup.ParseHost(mounts, names, func(string, string) bool { return true })
	})
}

func TestDetect(t *testing.T) {
	h, err := cgroup.Detect()
	require.NoError(t, err)
	for _, x := range h.Hierarchies {
		require.FileExists(t, x.Mountpoint+"/cgroup.procs")
		require.True(t, x.Unified || x.Name != "" || len(x.Controllers) > 0, "%+v", x)
	}
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil {
		require.Contains(t, h.Hierarchies, cgroup.Hierarchy{Controllers: []string{"memory"}, Mountpoint: "/sys/fs/cgroup/memory"})
	}
}
