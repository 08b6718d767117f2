package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// cache is a directory for what takes long to get.
type cache string

func openCache() (cache, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "barepod-vmtest")
	return cache(dir), os.MkdirAll(dir, 0o755)
}

// entry returns a directory that fill has made, now or earlier. It belongs to a
// name, and to what else decides about the content. A fill that failed or was
// interrupted leaves none.
func (c cache) entry(name string, content []string, fill func(dir string) error) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(content, "\n")))
	dir := filepath.Join(string(c), fmt.Sprintf("%s-%x", name, sum[:4]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(string(c), "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, found := os.Stat(dir); found != nil {
			return "", err
		} // else somebody else was faster
	}
	return dir, nil
}
