package testutil

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// cniPlugins are those that were built in this process.
var cniPlugins struct {
	sync.Mutex
	dir   string
	built map[string]bool
}

// CNIPlugins builds plugins of the module github.com/containernetworking/plugins,
// in the version that this module requires, and returns the directory that they
// are in until the process ends. A plugin is named by its path there, such as
// "main/bridge" or "ipam/host-local".
func CNIPlugins(t testing.TB, names ...string) string {
	t.Helper()
	RequireFeature(t, "go")
	p := &cniPlugins
	p.Lock()
	defer p.Unlock()
	if p.dir == "" {
		dir, err := os.MkdirTemp(hostTempDir, "bpcni")
		if err != nil {
			t.Fatal(err)
		}
		p.dir, p.built = dir, map[string]bool{}
	}
	var missing []string
	for _, name := range names {
		if !p.built[name] {
			missing = append(missing, "./plugins/"+name)
		}
	}
	if len(missing) == 0 {
		return p.dir
	}
	source, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/containernetworking/plugins").Output()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	cmd := exec.Command("go", append([]string{"build", "-o", p.dir + string(filepath.Separator)}, missing...)...)
	cmd.Dir = strings.TrimSpace(string(source))
	// With what that module's own go.mod and go.sum say.
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, name := range names {
		p.built[name] = true
	}
	return p.dir
}

// removeCNIPlugins is called when all tests have ended.
func removeCNIPlugins() {
	if cniPlugins.dir != "" {
		_ = os.RemoveAll(cniPlugins.dir)
	}
}
