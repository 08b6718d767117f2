//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/barepod/barepod/pod"
)

// step prints that a step has succeeded. Further lines are indented.
func step(n int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Printf("✓ %d  %s\n", n, strings.ReplaceAll(text, "\n", "\n     "))
}

// printPod prints the pod as a table.
func printPod(ctx context.Context, p *pod.Pod) error {
	sb, err := p.Sandbox().Status(ctx)
	if err != nil {
		return err
	}
	status, err := p.Status(ctx)
	if err != nil {
		return err
	}
	var namespaces []string
	for _, kind := range slices.Sorted(maps.Keys(sb.Namespaces)) {
		namespaces = append(namespaces, fmt.Sprintf("%s:[%d]", kind, sb.Namespaces[kind]))
	}
	spec := p.Spec()
	volumes := map[string][]string{} // names by type
	for _, v := range spec.Sandbox.Volumes {
		volumes[typeName(v.Source)] = append(volumes[typeName(v.Source)], v.Name)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	row := func(cells ...any) {
		fmt.Fprintln(w, strings.Join(slices.Collect(func(yield func(string) bool) {
			for _, c := range cells {
				if !yield(fmt.Sprint(c)) {
					return
				}
			}
		}), "\t"))
	}
	row("POD", status.ID)
	row("phase", status.Phase)
	row("hostname", sb.Hostname)
	row("namespaces", strings.Join(namespaces, " "))
	row("IPs", list(status.PodIPs))
	row("cgroup", sb.Cgroup)
	for _, kind := range slices.Sorted(maps.Keys(volumes)) {
		row(kind, strings.Join(volumes[kind], " "))
	}
	row("PID 1", sb.InitPID)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Println()
	row("CONTAINER", "STATE", "PID", "RESTARTS", "ROOT", "MOUNT NAMESPACE")
	for i, c := range status.Containers {
		mnt, _ := os.Readlink(filepath.Join("/proc", fmt.Sprint(pidOf(c)), "ns/mnt"))
		row(c.Name, stateOf(c), pidOf(c), c.RestartCount, typeName(spec.Containers[i].Rootfs), mnt)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Println()
	return nil
}

// typeName returns the name of a value's type without its package.
func typeName(v any) string {
	name := fmt.Sprintf("%T", v)
	return name[strings.LastIndexByte(name, '.')+1:]
}

// stateOf returns the word for a container's state.
func stateOf(c pod.ContainerStatus) string {
	switch s := c.State; {
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		return fmt.Sprintf("exited %d", s.Terminated.ExitCode)
	default:
		return "waiting"
	}
}

// pidOf returns the PID of a container that runs, and 0 of one that does not.
func pidOf(c pod.ContainerStatus) int {
	if c.State.Running == nil {
		return 0
	}
	return c.State.Running.PID
}
