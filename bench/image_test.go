package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every descriptor of the archive names a blob that is there, as long as it says.
func TestWriteImage(t *testing.T) {
	root, path := t.TempDir(), filepath.Join(t.TempDir(), "image.tar")
	require.NoError(t, os.WriteFile(filepath.Join(root, "program"), []byte("text"), 0o755))
	require.NoError(t, writeImage(path, "localhost/x:1", root, "/program"))

	files := map[string][]byte{}
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		files[h.Name], err = io.ReadAll(r)
		require.NoError(t, err)
	}
	type descriptor struct {
		Digest      string
		Size        int
		Annotations map[string]string
	}
	blob := func(d descriptor) []byte {
		sum, ok := strings.CutPrefix(d.Digest, "sha256:")
		require.True(t, ok)
		data := files["blobs/sha256/"+sum]
		require.Len(t, data, d.Size)
		require.Equal(t, sum, fmt.Sprintf("%x", sha256.Sum256(data)))
		return data
	}
	var index struct{ Manifests []descriptor }
	require.NoError(t, json.Unmarshal(files["index.json"], &index))
	require.Len(t, index.Manifests, 1)
	require.Equal(t, "localhost/x:1", index.Manifests[0].Annotations["io.containerd.image.name"])
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	require.NoError(t, json.Unmarshal(blob(index.Manifests[0]), &manifest))
	require.Len(t, manifest.Layers, 1)
	require.NotEmpty(t, blob(manifest.Layers[0]))
	require.Contains(t, string(blob(manifest.Config)), manifest.Layers[0].Digest)
}
