package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// writeImage writes an archive in the OCI image layout, of one image whose one
// layer is the root file system.
func writeImage(path, name, root, program string) error {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.AddFS(os.DirFS(root)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	a := archive{}
	layerDesc := a.blob("application/vnd.oci.image.layer.v1.tar", layer.Bytes())
	config, err := a.object("application/vnd.oci.image.config.v1+json", object{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": object{"Entrypoint": []string{program}},
		"rootfs": object{"type": "layers", "diff_ids": []any{layerDesc["digest"]}},
	})
	if err != nil {
		return err
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := a.object(manifestType, object{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": []object{layerDesc},
	})
	if err != nil {
		return err
	}
	manifest["annotations"] = object{"io.containerd.image.name": name}
	index, err := json.Marshal(object{"schemaVersion": 2, "manifests": []object{manifest}})
	if err != nil {
		return err
	}
	a["index.json"], a["oci-layout"] = index, []byte(`{"imageLayoutVersion":"1.0.0"}`)
	return a.write(path)
}

// archive is files by their names.
type archive map[string][]byte

// blob adds a blob and returns its descriptor.
func (a archive) blob(mediaType string, data []byte) object {
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	a["blobs/sha256/"+sum] = data
	return object{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(data)}
}

func (a archive) object(mediaType string, content object) (object, error) {
	data, err := json.Marshal(content)
	return a.blob(mediaType, data), err
}

func (a archive) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for name, data := range a {
		if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: int64(fs.FileMode(0o644)), Size: int64(len(data))}); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}
