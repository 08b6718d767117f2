//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/barepod/barepod/pod"
)

// tour is what the creator does with its pod.
type tour struct {
	pod        *pod.Pod
	namespaces map[string]bool
	last       findings
}

// serve is step 1: server serves the volume.
func (t *tour) serve(ctx context.Context) error {
	if err := t.collect(ctx); err != nil { // the server's before it is killed
		return err
	}
	if err := t.await(ctx, func(f findings) bool { return f.Rounds > 0 }); err != nil {
		return err
	}
	libs, err := libraries()
	if err != nil {
		return err
	}
	linked := "statically linked"
	if n := len(libs); n > 0 {
		linked = fmt.Sprintf("dynamically linked, with %d libraries", n)
	}
	step(1, "server is this program (%s) in an empty root.\nIt serves the files of the volume site on http://localhost.", linked)
	return nil
}

// load is step 2: loader keeps the pages current, and can do no harm.
func (t *tour) load(ctx context.Context) error {
	first := t.last.Page
	if err := t.await(ctx, func(f findings) bool { return f.Page > first }); err != nil {
		return err
	}
	out, err := t.exec(ctx, "loader", "sh", "-c", "if (: >/usr/quickstart) 2>/dev/null; then echo writable; else echo read-only; fi")
	if err != nil {
		return err
	}
	if out != "read-only" {
		return fmt.Errorf("loader: the host's root is %q", out)
	}
	step(2, "loader is the host's sh in the host's root, %s.\nIt writes pages and keeps them current: page %d, then %d.", out, first, t.last.Page)
	return nil
}

// check is step 3: what checker finds.
func (t *tour) check(ctx context.Context) error {
	want := []string{"checker", "loader", "server"}
	f := t.last
	switch {
	case f.Hostname != podName:
		return fmt.Errorf("checker: the hostname is %q", f.Hostname)
	case !slices.Equal(f.Processes, want):
		return fmt.Errorf("checker: sees the processes of %q", f.Processes)
	case f.Exchanged == 0:
		return errors.New("checker: had no answer through shared memory")
	}
	step(3, "checker fetched page %d over localhost and found the hostname to be %s.\n"+
		"It sees the processes of %s, and server has answered it %d times\n"+
		"through POSIX shared memory and a System V semaphore.",
		f.Page, f.Hostname, strings.Join(f.Processes, ", "), f.Exchanged)
	return nil
}

// restart is step 5: server is killed and started again.
func (t *tour) restart(ctx context.Context) error {
	before, err := t.pids(ctx)
	if err != nil {
		return err
	}
	server, err := t.pod.Container("server")
	if err != nil {
		return err
	}
	if err := server.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	exit, err := server.Wait(ctx)
	if err != nil {
		return err
	}
	if exit.Signal != syscall.SIGKILL {
		return fmt.Errorf("server: ended with %+v", exit)
	}
	if err := t.await(ctx, func(findings) bool { return true }); err != nil {
		return err
	}
	was := t.last
	if err := server.Start(ctx); err != nil {
		return err
	}
	// One round may have been in its last line when the server was killed.
	if err := t.await(ctx, func(f findings) bool { return f.Rounds > was.Rounds+1 && f.Page > was.Page }); err != nil {
		return err
	}
	after, err := t.pids(ctx)
	if err != nil {
		return err
	}
	switch {
	case t.last.First != was.First:
		return fmt.Errorf("the page was %q, is %q", was.First, t.last.First)
	case after["server"] == before["server"] || after["loader"] != before["loader"] || after["checker"] != before["checker"]:
		return fmt.Errorf("the PIDs were %v, are %v", before, after)
	}
	step(5, "server was killed (signal %d) and started again: PID %d, now PID %d.\n"+
		"The volume's content is still there: %q.\n"+
		"loader and checker never noticed: still PIDs %d and %d, now at page %d.",
		exit.Signal, before["server"], after["server"], t.last.First, after["loader"], after["checker"], t.last.Page)
	return nil
}

// await asks checker for its findings until they are as wanted.
func (t *tour) await(ctx context.Context, wanted func(findings) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		out, err := t.exec(ctx, "checker", program, asFindings)
		var f findings
		if err == nil {
			err = json.Unmarshal([]byte(out), &f)
		}
		if err == nil && wanted(f) {
			t.last = f
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("checker: found no more than %+v: %w", f, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// exec executes a command in a container and returns what it prints.
func (t *tour) exec(ctx context.Context, container, path string, args ...string) (string, error) {
	return execIn(ctx, t.pod, container, path, args...)
}

func execIn(ctx context.Context, p *pod.Pod, container, path string, args ...string) (string, error) {
	c, err := p.Container(container)
	if err != nil {
		return "", err
	}
	cmd, err := c.Exec(path, args...)
	if err != nil {
		return "", err
	}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	exit, err := cmd.Run(ctx)
	if err == nil && !exit.Success() {
		err = fmt.Errorf("%s in %s: exit status %d: %s", path, container, exit.Code, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(out.String()), err
}

// pids returns the PIDs of the containers, which all have to run.
func (t *tour) pids(ctx context.Context) (map[string]int, error) {
	status, err := t.pod.Status(ctx)
	if err != nil {
		return nil, err
	}
	pids := map[string]int{}
	for _, c := range status.Containers {
		if c.State.Running == nil {
			return nil, fmt.Errorf("%s: %s", c.Name, stateOf(c))
		}
		pids[c.Name] = c.State.Running.PID
	}
	return pids, nil
}
