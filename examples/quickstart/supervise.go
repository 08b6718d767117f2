//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

// made is what the creator says of its pod when it has done its steps.
type made struct {
	PIDs       map[string]int `json:"pids"`       // of the containers
	Namespaces []string       `json:"namespaces"` // all that came with the pod, such as "net:[4026532008]"
	IPs        []netip.Addr   `json:"ips"`
	HostPort   netip.AddrPort `json:"hostPort"` // leads to the pod
}

// supervise is the process that the user starts. It makes no pod, but starts
// those that do, and looks at the machine before and after.
func supervise(ctx context.Context, keep bool) error {
	before, err := look()
	if err != nil {
		return err
	}
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	id := podName + "-" + hex.EncodeToString(b)

	m, err := run(ctx, id, keep)
	if err == nil && keep {
		printKept(id, m)
		return nil
	}
	if err != nil {
		if b, readErr := os.ReadFile(logFile(id)); readErr == nil && len(b) > 0 {
			fmt.Fprintf(os.Stderr, "The containers say:\n%s", b)
		}
	}
	// Not on ctx, which may be why it failed.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err == nil { // and the pod removed
		err = os.Remove(logFile(id))
	} else {
		err = errors.Join(err, removePod(clean, id))
	}
	left, lookErr := before.left(clean, id, m)
	switch {
	case lookErr != nil:
		return lookErr
	case len(left) > 0:
		return errors.Join(err, fmt.Errorf("left behind:\n  %s", strings.Join(left, "\n  ")))
	case err != nil:
		return err
	}
	step(7, "Nothing is left: no mount, namespace, cgroup, process or file of the pod,\nno link, address lease or firewall rule.")
	return nil
}

// run has the pod made by one process, kills that, and has another one go on.
func run(ctx context.Context, id string, keep bool) (made, error) {
	m, killed, err := runCreator(ctx, id)
	if err != nil || keep {
		return m, err
	}
	// Nobody is there now who could wait for the checker.
	p, err := os.FindProcess(m.PIDs["checker"])
	if err != nil {
		return m, err
	}
	defer p.Release()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return m, fmt.Errorf("stop the checker: %w", err)
	}
	for p.Signal(syscall.Signal(0)) == nil {
		select {
		case <-ctx.Done():
			return m, fmt.Errorf("wait for the checker's end: %w", ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	second := self(ctx, asController, id, fmt.Sprint(killed))
	second.Stdout, second.Stderr = os.Stdout, os.Stderr
	return m, failed(second.Run(), asController)
}

// runCreator starts the process that makes the pod and, when that has done its
// steps, kills it, whose PID is returned.
func runCreator(ctx context.Context, id string) (m made, pid int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return m, 0, err
	}
	defer r.Close()
	cmd := self(ctx, asCreator, id)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{w}
	stdin, err := cmd.StdinPipe() // whose end tells it that we are gone
	if err != nil {
		return m, 0, errors.Join(err, w.Close())
	}
	defer stdin.Close()
	err = cmd.Start()
	w.Close()
	if err != nil {
		return m, 0, err
	}
	if err := json.NewDecoder(r).Decode(&m); err != nil {
		err = errors.Join(failed(cmd.Wait(), asCreator), ctx.Err())
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return m, 0, err
	}
	if err := cmd.Process.Kill(); err != nil {
		return m, 0, err
	}
	_ = cmd.Wait() // killed
	return m, cmd.Process.Pid, nil
}

// self returns the command for another part of this program.
func self(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = podName
	return cmd
}

// failed says which part has failed; it has said itself why.
func failed(err error, part string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", strings.TrimPrefix(part, "as-"), err)
}

// removePod destroys a pod in whatever state it is, with its visitor, and what it shared with
// others if it was the last one.
func removePod(ctx context.Context, id string) error {
	if err := errors.Join(pod.Remove(ctx, "", id), sandbox.Remove(ctx, "", visitorID(id))); err != nil {
		return err
	}
	if err := os.Remove(logFile(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return sandbox.Sweep(ctx, "")
}

// printKept prints how to look at the pod from outside.
func printKept(id string, m made) {
	state := filepath.Join(sandbox.DefaultStateDir, id)
	fmt.Printf(`
The pod runs on, and nothing has to look after it. To look at it, as root:

  # its state, and the one mount that holds it
  ls -R %s
  findmnt %s/anchor

  # its containers: from outside, what they print, and from inside of loader
  ps -fp %d,%d,%d
  cat %s
  nsenter -t %d -a sh -c 'hostname; ls %s; ps ax'

  # its site, by its IP and by the host's port
  curl http://%s/page
  curl http://%s/page

  # its network
  nsenter -t %d -n ip addr
  nft list table inet barepod

  # remove it
  %s
`, state, state, m.PIDs["server"], m.PIDs["loader"], m.PIDs["checker"], logFile(id), m.PIDs["loader"], siteDir,
		sites(m.IPs)[0], m.HostPort, m.PIDs["server"], again("-remove", id))
}
