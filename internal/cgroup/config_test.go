package cgroup_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/invalid"
)

func TestConfigValidate(t *testing.T) {
	tests := []struct {
		name  string
		cfg   cgroup.Config
		field string // "" if valid
	}{
		{"zero", cgroup.Config{}, ""},
		{"cgroupfs", cgroup.Config{Driver: cgroup.CgroupFS, Parent: "/a/b.slice/c"}, ""},
		{"systemd", cgroup.Config{Driver: cgroup.Systemd}, ""},
		{"slice", cgroup.Config{Driver: cgroup.Systemd, Parent: "a-b.slice"}, ""},
		{"unknown driver", cgroup.Config{Driver: "none"}, "Driver"},
		{"relative", cgroup.Config{Parent: "a"}, "Parent"},
		{"root", cgroup.Config{Parent: "/"}, "Parent"},
		{"dots", cgroup.Config{Parent: "/a/../b"}, "Parent"},
		{"only dots", cgroup.Config{Parent: "/.."}, "Parent"},
		{"slash at the end", cgroup.Config{Parent: "/a/"}, "Parent"},
		{"two slashes", cgroup.Config{Parent: "//a"}, "Parent"},
		{"newline", cgroup.Config{Parent: "/a\nb"}, "Parent"},
		{"NUL", cgroup.Config{Parent: "/a\x00b"}, "Parent"},
		{"long", cgroup.Config{Parent: "/" + strings.Repeat("a", 4096)}, "Parent"},
		{"path for systemd", cgroup.Config{Driver: cgroup.Systemd, Parent: "/a"}, "Parent"},
		{"root slice", cgroup.Config{Driver: cgroup.Systemd, Parent: "-.slice"}, "Parent"},
		{"slice with empty level", cgroup.Config{Driver: cgroup.Systemd, Parent: "a--b.slice"}, "Parent"},
		{"long slice", cgroup.Config{Driver: cgroup.Systemd, Parent: strings.Repeat("a", 200) + ".slice"}, "Parent"},
		{"service", cgroup.Config{Driver: cgroup.Systemd, Parent: "a.service"}, "Parent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { requireField(t, tt.cfg.Validate(), tt.field) })
	}
}

func TestResourcesValidate(t *testing.T) {
	tests := []struct {
		name  string
		r     cgroup.Resources
		field string
	}{
		{"zero", cgroup.Resources{}, ""},
		{"all", cgroup.Resources{CPU: 0.5, CPUWeight: 1, Memory: 64 << 10, PIDs: 1}, ""},
		{"most", cgroup.Resources{CPU: 1 << 20, CPUWeight: 10000, Memory: 1 << 60, PIDs: 1 << 22}, ""},
		{"CPU negative", cgroup.Resources{CPU: -1}, "CPU"},
		{"CPU not a number", cgroup.Resources{CPU: math.NaN()}, "CPU"},
		{"CPU infinite", cgroup.Resources{CPU: math.Inf(1)}, "CPU"},
		{"CPU minus infinite", cgroup.Resources{CPU: math.Inf(-1)}, "CPU"},
		{"CPU small", cgroup.Resources{CPU: 0.001}, "CPU"},
		{"CPU large", cgroup.Resources{CPU: 1e9}, "CPU"},
		{"weight large", cgroup.Resources{CPUWeight: 10001}, "CPUWeight"},
		{"memory negative", cgroup.Resources{Memory: -1}, "Memory"},
		{"memory small", cgroup.Resources{Memory: 1}, "Memory"},
		{"memory large", cgroup.Resources{Memory: math.MaxInt64}, "Memory"},
		{"PIDs negative", cgroup.Resources{PIDs: -1}, "PIDs"},
		{"PIDs large", cgroup.Resources{PIDs: 1 << 40}, "PIDs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { requireField(t, tt.r.Validate(), tt.field) })
	}
}

func requireField(t *testing.T, err error, field string) {
	t.Helper()
	if field == "" {
		require.NoError(t, err)
		return
	}
	var fe *invalid.Error
	require.ErrorAs(t, err, &fe)
	require.Equal(t, field, fe.Field)
}

func TestResourcesJSON(t *testing.T) {
	data, err := json.Marshal(cgroup.Resources{})
	require.NoError(t, err)
	require.JSONEq(t, `{}`, string(data))

	want := cgroup.Resources{CPU: 1.5, CPUWeight: 200, Memory: 1 << 30, PIDs: 100}
	data, err = json.Marshal(want)
	require.NoError(t, err)
	require.JSONEq(t, `{"cpu":1.5,"cpuWeight":200,"memory":1073741824,"pids":100}`, string(data))
	var is cgroup.Resources
	require.NoError(t, json.Unmarshal(data, &is))
	require.Equal(t, want, is)
}

func TestParseOOMKills(t *testing.T) {
	tests := []struct {
		name, data string
		want       int64
		wantErr    string
	}{
		{"v2", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 7\n", 2, ""},
		{"v1", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1, ""},
		{"no newline", "oom_kill 5", 5, ""},
		{"empty", "", 0, "parse oom_kill: no such line"},
		{"other keys", "oom_kill_disable 0\nxoom_kill 4\noom 1\n", 0, "parse oom_kill: no such line"},
		{"not a number", "oom_kill x\n", 0, `parse oom_kill: strconv.ParseUint: parsing "x": invalid syntax`},
		{"negative", "oom_kill -1\n", 0, `parse oom_kill: strconv.ParseUint: parsing "-1": invalid syntax`},
		{"too large", "oom_kill 9223372036854775808\n", 0, `parse oom_kill: strconv.ParseUint: parsing "9223372036854775808": value out of range`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := cgroup.ParseOOMKills([]byte(tt.data))
			if tt.wantErr != "" {
				require.EqualError(t, err, tt.wantErr)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, n)
		})
	}
}

func FuzzParseOOMKills(f *testing.F) {
	f.Add([]byte("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 7\n"))
	f.Add([]byte("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"))
	f.Add([]byte("oom_kill \n \n\noom_kill"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := cgroup.ParseOOMKills(data)
		require.GreaterOrEqual(t, n, int64(0))
		if err != nil {
			require.Zero(t, n)
		}
	})
}
