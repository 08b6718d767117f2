package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplaceParts(t *testing.T) {
	const text = "above\n<!-- bench:a begin -->\nold\n<!-- bench:a end -->\nbetween\n<!-- bench:b begin -->\n<!-- bench:b end -->\nbelow\n"
	got, err := replaceParts(text, map[string]string{"a": "\n| new |\n", "b": "more"})
	require.NoError(t, err)
	const want = "above\n<!-- bench:a begin -->\n| new |\n<!-- bench:a end -->\nbetween\n<!-- bench:b begin -->\nmore\n<!-- bench:b end -->\nbelow\n"
	require.Equal(t, want, got)

	again, err := replaceParts(got, map[string]string{"a": "| new |", "b": "more"})
	require.NoError(t, err)
	require.Equal(t, want, again)
}

func TestReplacePartsWithoutMarkers(t *testing.T) {
	for name, text := range map[string]string{
		"none":         "text",
		"no end":       "<!-- bench:a begin -->",
		"end first":    "<!-- bench:a end --><!-- bench:a begin -->",
		"another part": "<!-- bench:b begin --><!-- bench:b end -->",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := replaceParts(text, map[string]string{"a": "x"})
			require.ErrorContains(t, err, "bench:a")
		})
	}
}

func TestUpdateDoc(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, updateDoc(dir, map[string]string{"a": "1", "b": "2"}, []string{"a", "b"}))
	require.NoError(t, updateDoc(dir, map[string]string{"b": "3"}, nil))
	got, err := os.ReadFile(filepath.Join(dir, docName))
	require.NoError(t, err)
	require.Equal(t, "<!-- bench:a begin -->\n1\n<!-- bench:a end -->\n\n<!-- bench:b begin -->\n3\n<!-- bench:b end -->\n\n", string(got))
}

// The documentation of this tree has all the markers.
func TestMarkersOfTheDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", docName))
	require.NoError(t, err)
	for _, name := range []string{partMachine, partGoals, partTimes, partScale, partMemory, partSteps, partCalls} {
		_, err := replaceParts(string(text), map[string]string{name: ""})
		require.NoError(t, err)
	}
}
