package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseDependency(t *testing.T) {
	pkg, version, err := parseDependency("Package: linux-image-amd64\nSource: linux-signed-amd64 (6.1.192+2)\nVersion: 6.1.192-2\n" +
		"Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)\nDescription-en: Linux for 64-bit PCs (meta-package)\n")
	require.NoError(t, err)
	require.Equal(t, "linux-image-6.1.0-56-amd64", pkg)
	require.Equal(t, "6.1.192-2", version)
	_, _, err = parseDependency("Package: linux-image-amd64\n")
	require.ErrorContains(t, err, "linux-image-amd64 depends on no kernel")
}

func TestCache(t *testing.T) {
	c := cache(t.TempDir())
	broken := errors.New("broken off")
	_, err := c.entry("x", []string{"a"}, func(dir string) error {
		return errors.Join(broken, os.WriteFile(filepath.Join(dir, "half"), nil, 0o644))
	})
	require.ErrorIs(t, err, broken)
	entries, err := os.ReadDir(string(c))
	require.NoError(t, err)
	require.Empty(t, entries)

	fills := 0
	fill := func(dir string) error {
		fills++
		return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o644)
	}
	first, err := c.entry("x", []string{"a"}, fill)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(first, "whole"))
	again, err := c.entry("x", []string{"a"}, fill)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, 1, fills)
	other, err := c.entry("x", []string{"a", "b"}, fill)
	require.NoError(t, err)
	require.NotEqual(t, first, other)
}

func TestCheckTools(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	require.EqualError(t, checkTools("mke2fs", "qemu-system-x86_64"),
		"missing here: mke2fs (Debian package e2fsprogs), qemu-system-x86_64 (Debian package qemu-system-x86)")
}
