package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

// Bounds of what a plugin may take and print.
const (
	// pluginTimeout is for a command to all plugins of a list, where the
	// caller's context has no end. It is documented at Attach.
	pluginTimeout = time.Minute
	// pluginWait is how long a process that a plugin has left may keep its
	// output open.
	pluginWait      = time.Second
	maxPluginResult = 1 << 20
	maxPluginError  = 8 << 10
)

// plugins executes CNI plugins. It is the invoke.Exec of libcni.
type plugins struct {
	version.PluginDecoder
	network string // that the errors are of
}

// FindInPath returns the path of a plugin's executable.
func (p *plugins) FindInPath(name string, dirs []string) (string, error) {
	if !isPluginName(name) { // CVE-2021-20206
		return "", fmt.Errorf("%q is not the name of a plugin", name)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("no executable in %s: %w", strings.Join(dirs, ", "), fs.ErrNotExist)
}

// ExecPlugin executes a plugin, and returns what it prints. When ctx ends the
// plugin is killed, with its process group.
func (p *plugins) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	env := pluginEnv(environ)
	failed := &CNIError{Network: p.network, Plugin: filepath.Base(path), Command: env["CNI_COMMAND"]}
	for tries := 0; ; tries++ {
		stdout, stderr, err := execPlugin(ctx, path, stdin, env)
		switch {
		case errors.Is(err, syscall.ETXTBSY) && tries < 5 && ctx.Err() == nil:
			time.Sleep(100 * time.Millisecond) // it is being installed
			continue
		case err != nil:
			return nil, failed.because(ctx, err, stdout, stderr)
		}
		if failed.Command == "ADD" {
			if _, err := parseCNIResult(stdin, stdout); err != nil {
				failed.Err = fmt.Errorf("the result %s: %w", abbreviate(stdout), err)
				return nil, failed
			}
		}
		return stdout, nil
	}
}

// because fills in why the plugin has failed.
func (e *CNIError) because(ctx context.Context, err error, stdout, stderr []byte) error {
	e.Err = err
	if ctx.Err() != nil {
		e.Err = ctx.Err()
	}
	var printed types.Error
	if json.Unmarshal(stdout, &printed) == nil && printed != (types.Error{}) {
		e.Code, e.Msg, e.Details = printed.Code, printed.Msg, printed.Details
	} else if len(stderr) > 0 || len(stdout) > 0 {
		e.Msg = abbreviate(append(stderr, stdout...))
	}
	return e
}

// pluginEnv is what a plugin sees of the environment: what the specification
// says, and PATH. The host program's own is nobody's business.
func pluginEnv(environ []string) map[string]string {
	env := map[string]string{}
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		switch key {
		case "CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "PATH":
			env[key] = value
		}
	}
	if env["PATH"] == "" {
		env["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	return env
}

func execPlugin(ctx context.Context, path string, stdin []byte, env map[string]string) (stdout, stderr []byte, err error) {
	cmd := exec.CommandContext(ctx, path)
	for key, value := range env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	out, errOut := &boundedBuffer{max: maxPluginResult, fail: true}, &boundedBuffer{max: maxPluginError}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), out, errOut
	cmd.WaitDelay = pluginWait
	// A plugin must not go on when this process was killed: another one will
	// undo what it does. The signal is tied to the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		err = nil // it has exited with 0, and left somebody
	}
	if out.full {
		err = fmt.Errorf("prints more than %d bytes", maxPluginResult)
	}
	return out.buf.Bytes(), errOut.buf.Bytes(), err
}

// boundedBuffer takes at most max bytes, and then either fails or forgets.
type boundedBuffer struct {
	buf  bytes.Buffer
	max  int
	fail bool
	full bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	room := b.max - b.buf.Len()
	if len(p) > room {
		b.full = true
		_, _ = b.buf.Write(p[:room])
		if b.fail {
			return room, errors.New("too much")
		}
		return len(p), nil
	}
	return b.buf.Write(p)
}

// abbreviate returns text that fits into an error.
func abbreviate(text []byte) string {
	const most = 300
	text = bytes.TrimSpace(text)
	if len(text) > most {
		return fmt.Sprintf("%q... (%d bytes)", text[:most], len(text))
	}
	return fmt.Sprintf("%q", text)
}
