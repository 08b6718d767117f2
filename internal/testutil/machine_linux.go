package testutil

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mounts lists the mounts of this mount namespace, without those that other
// programs make among their temporary files.
func mounts(add func(string)) {
	eachMount(func(m mount) {
		if m.point == "/run/netns" {
			return // which "ip netns add" makes for good, and so do we
		}
		others := sharedMachine() || within(hostTempDir, m.point)
		if tempDir != "" && others && !within(tempDir, m.point) {
			return
		}
		add("mount of " + m.root + " of " + m.fstype + " " + m.source + " on " + m.point)
	})
}

func within(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// mount is what a line of mountinfo says, in its spelling.
type mount struct{ root, point, fstype, source string }

func eachMount(f func(mount)) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(info)) {
		head, tail, _ := strings.Cut(line, " - ")
		h, t := strings.Fields(head), strings.Fields(tail)
		if len(h) >= 5 && len(t) >= 2 {
			f(mount{root: h[3], point: h[4], fstype: t[0], source: t[1]})
		}
	}
}

// cgroups lists the control groups that have our name in theirs.
func cgroups(add func(string)) {
	// Errors are of groups that go while they are looked at.
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, "barepod") {
			add("cgroup " + path)
		}
		return nil
	})
}

// links lists the network devices.
func links(add func(string)) {
	entries, err := os.ReadDir("/sys/class/net")
	if err != nil {
		return // not every sandbox has sysfs
	}
	for _, e := range entries {
		add("network link " + e.Name())
	}
}

// namespaces lists the namespaces of all kinds that are in use by pins in this
// mount namespace, or by processes that a test may have left: those in a cgroup
// named barepod or in the same one as this process, where other services of the
// machine are not.
func namespaces(add func(string)) {
	found := map[string]bool{}
	eachMount(func(m mount) {
		if m.fstype == "nsfs" {
			found[m.root] = true
		}
	})
	cgroup := func(pid string) string {
		b, _ := os.ReadFile("/proc/" + pid + "/cgroup") // empty if it has ended
		return string(b)
	}
	own := cgroup("self")
	eachProcess(func(pid int) {
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil {
			return // a kernel thread, or ended: when init reaps that is not in our hands
		}
		if c := cgroup(strconv.Itoa(pid)); c != own && !strings.Contains(c, "barepod") {
			return
		}
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/ns/*", pid))
		if err != nil {
			panic(err)
		}
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil {
				found[to] = true
			}
		}
	})
	for name := range found {
		add("namespace " + name)
	}
}
