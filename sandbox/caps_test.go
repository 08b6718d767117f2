package sandbox_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/sandbox"
)

func TestCapabilities(t *testing.T) {
	const (
		usual = uint64(0xa80425fb) // as docker and containerd have it
		all   = uint64(1<<41 - 1)
		admin = uint64(1 << 21)
		chown = uint64(1)
	)
	tests := []struct {
		name      string
		add, drop []string
		want      uint64
	}{
		{"default", nil, nil, usual},
		{"add", []string{"SYS_ADMIN"}, nil, usual | admin},
		{"add in full", []string{"CAP_SYS_ADMIN"}, nil, usual | admin},
		{"add what is there", []string{"CHOWN"}, nil, usual},
		{"drop", nil, []string{"CAP_CHOWN"}, usual &^ chown},
		{"drop all", nil, []string{"ALL"}, 0},
		{"drop all but", []string{"CHOWN"}, []string{"ALL"}, chown},
		{"drop first", []string{"CHOWN"}, []string{"CHOWN"}, usual},
		{"add all", []string{"ALL"}, nil, all},
		{"all", []string{"ALL"}, []string{"ALL"}, all},
		{"nothing twice", nil, []string{"CHOWN", "CAP_CHOWN"}, usual &^ chown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := sandbox.Capabilities{Add: tt.add, Drop: tt.drop}.Set()
			require.NoError(t, err)
			require.Equalf(t, tt.want, set, "%#x", set)
		})
	}
	for _, bad := range []string{"", "CAP_", "sys_admin", "CAP_CAP_CHOWN", "all", "SYS_ADMIN ", "CAP_ALL"} {
		_, err := sandbox.Capabilities{Add: []string{bad}}.Set()
		var invalid *sandbox.InvalidError
		require.ErrorAs(t, err, &invalid, bad)
		require.Equal(t, "Capabilities.Add[0]", invalid.Field)
	}
}

func TestDefaultCapabilities(t *testing.T) {
	list := sandbox.DefaultCapabilities()
	require.Len(t, list, 14)
	list[0] = "changed"
	require.NotContains(t, sandbox.DefaultCapabilities(), "changed")
	for _, name := range sandbox.DefaultCapabilities() {
		require.True(t, slices.Contains(sandbox.CapabilityNames, name), name)
	}
}
