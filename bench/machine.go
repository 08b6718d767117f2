package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/barepod/barepod/internal/cgroup"
)

// machineState is what a run must leave as it found it.
type machineState struct {
	mounts []string
	links  []string
}

func machine() (machineState, error) {
	var m machineState
	for _, f := range []struct {
		path string
		list *[]string
		skip int // lines of a heading
	}{
		{"/proc/self/mountinfo", &m.mounts, 0},
		{"/proc/net/dev", &m.links, 2},
	} {
		data, err := os.ReadFile(f.path)
		if err != nil {
			return m, err
		}
		for i, line := range slices.Collect(strings.Lines(string(data))) {
			name, _, _ := strings.Cut(line, ":") // counters follow a link's name
			if f.skip == 0 {
				name = line
			}
			if i >= f.skip {
				*f.list = append(*f.list, strings.TrimSpace(name))
			}
		}
	}
	return m, nil
}

// compare says what is there now that was not there before.
func (m machineState) compare() error {
	now, err := machine()
	if err != nil {
		return err
	}
	var left []string
	for _, line := range now.mounts {
		// Another program may mount something meanwhile.
		if !slices.Contains(m.mounts, line) && strings.Contains(line, "barepod-bench") {
			left = append(left, "mount "+line)
		}
	}
	for _, name := range now.links {
		if !slices.Contains(m.links, name) {
			left = append(left, "link "+name)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("left behind:\n\t%s", strings.Join(left, "\n\t"))
	}
	return nil
}

// describe says in a line what machine this is.
func describe() (string, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "", os.NewSyscallError("uname", err)
	}
	host, err := cgroup.Detect()
	if err != nil {
		return "", err
	}
	v1, v2 := 0, 0
	for _, h := range host.Hierarchies {
		if h.Unified {
			v2++
		} else {
			v1++
		}
	}
	groups := "cgroup v2"
	switch {
	case v1 > 0 && v2 > 0:
		groups = fmt.Sprintf("cgroup v1 (%d hierarchies) and v2 side by side", v1)
	case v1 > 0:
		groups = fmt.Sprintf("cgroup v1 (%d hierarchies)", v1)
	}
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "", err
	}
	kib, err := field(memory, "MemTotal")
	if err != nil {
		return "", err
	}
	release, _, _ := strings.Cut(unix.ByteSliceToString(uts.Release[:]), "-")
	return fmt.Sprintf("%d cores of an %s, %.0f GiB, Linux %s, %s, %s", runtime.NumCPU(), cpuModel(), kib/(1<<20), release, groups, runtime.Version()), nil
}

// cpuModel is what the processor calls itself; arm64 machines do not tell.
func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}
