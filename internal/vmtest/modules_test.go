package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClosure(t *testing.T) {
	needs := map[string][]string{
		"ext4": {"jbd2", "mbcache", "crc16"}, "jbd2": {"crc16"}, "mbcache": nil, "crc16": nil,
		"br_netfilter": {"bridge"}, "bridge": {"stp", "llc"}, "stp": {"llc"}, "llc": nil,
		"broken": {"gone"},
	}
	m := modules{files: map[string]string{}, need: func(file string) ([]string, error) { return needs[file], nil }}
	for name := range needs {
		m.files[name] = name
	}
	for _, tt := range []struct{ want, order []string }{
		{nil, nil},
		{[]string{"crc16"}, []string{"crc16"}},
		{[]string{"ext4"}, []string{"crc16", "jbd2", "mbcache", "ext4"}},
		{[]string{"crc16", "br-netfilter", "bridge", "crc16"}, []string{"crc16", "llc", "stp", "bridge", "br_netfilter"}},
	} {
		order, err := m.closure(tt.want)
		require.NoError(t, err)
		require.Equal(t, tt.order, order)
	}
	_, err := m.closure([]string{"none"})
	require.EqualError(t, err, "no kernel module none")
	_, err = m.closure([]string{"broken"})
	require.EqualError(t, err, "no kernel module gone, which broken needs")
}

func TestModulesIn(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"fs/ext4.ko", "net/br-netfilter.ko", "modules.order"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	m, err := modulesIn(dir)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"ext4": dir + "/fs/ext4.ko", "br_netfilter": dir + "/net/br-netfilter.ko"}, m.files)
	_, err = m.need(m.files["ext4"])
	require.Error(t, err, "an empty file")
	_, err = modulesIn(dir + "/none")
	require.Error(t, err)
}

func TestParseNeeded(t *testing.T) {
	for info, want := range map[string][]string{
		"":                            nil,
		"license=GPL\x00depends=\x00": nil,
		"depends=a\x00":               {"a"},
		"name=x\x00depends=a,b-c\x00retpoline=Y\x00": {"a", "b-c"},
	} {
		require.ElementsMatch(t, want, parseNeeded([]byte(info)), "%q", info)
	}
}
