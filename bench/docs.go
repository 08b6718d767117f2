package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The documentation and its picture, in the directory of -o.
const (
	docName   = "performance.md"
	chartName = "performance.svg"
)

// replaceParts changes what stands between the markers of each part, and
// nothing else. All the markers have to be there.
func replaceParts(text string, parts map[string]string) (string, error) {
	for name, content := range parts {
		begin, end := marker(name, "begin"), marker(name, "end")
		before, rest, ok := strings.Cut(text, begin)
		if !ok {
			return "", fmt.Errorf("there is no %s", begin)
		}
		_, after, ok := strings.Cut(rest, end)
		if !ok {
			return "", fmt.Errorf("there is no %s behind its beginning", end)
		}
		text = before + begin + "\n" + strings.TrimSpace(content) + "\n" + end + after
	}
	return text, nil
}

func marker(name, which string) string { return fmt.Sprintf("<!-- bench:%s %s -->", name, which) }

// updateDoc replaces parts of the documentation in a directory. Where there is
// none it is made of the parts alone.
func updateDoc(dir string, parts map[string]string, order []string) error {
	path := filepath.Join(dir, docName)
	old, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		for _, name := range order {
			old = append(old, marker(name, "begin")+"\n"+marker(name, "end")+"\n\n"...)
		}
	} else if err != nil {
		return err
	}
	text, err := replaceParts(string(old), parts)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
