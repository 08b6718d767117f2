package main

import (
	"fmt"
	"os"

	"github.com/barepod/barepod/namespace"
)

// object is a JSON object.
type object = map[string]any

// ociSpec is the container that "runc spec" proposes, with our program, root
// file system and cgroup, no terminal and, as barepod has none, no seccomp
// filter, which that proposal has none of either.
func ociSpec(root, program string, join namespace.Set, group string) object {
	caps := []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
	return object{
		"ociVersion": "1.0.2",
		"process": object{
			"user": object{"uid": 0, "gid": 0}, "cwd": "/", "args": []string{program},
			"env":             []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			"capabilities":    object{"bounding": caps, "effective": caps, "permitted": caps},
			"noNewPrivileges": true,
		},
		"root":     object{"path": root},
		"hostname": "bench",
		"mounts":   ociMounts(),
		"linux": object{
			"cgroupsPath": "/" + group,
			"resources":   object{"devices": []object{{"allow": false, "access": "rwm"}}},
			"namespaces":  ociNamespaces(join),
			"maskedPaths": []string{
				"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
			},
			"readonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

func ociMounts() []object {
	mount := func(kind, to string, options ...string) object {
		return object{"type": kind, "source": kind, "destination": to, "options": options}
	}
	return []object{
		mount("proc", "/proc"),
		mount("tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
		mount("devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
		mount("tmpfs", "/dev/shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
		mount("mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev"),
		mount("sysfs", "/sys", "nosuid", "noexec", "nodev", "ro"),
		mount("cgroup", "/sys/fs/cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
	}
}

// ociNamespaces are those of a container; a joined one is named by this
// program's own descriptor of it, which every process can open.
func ociNamespaces(join namespace.Set) []object {
	names := map[namespace.Kind]string{namespace.Net: "network", namespace.IPC: "ipc", namespace.UTS: "uts"}
	list := []object{{"type": "pid"}, {"type": "mount"}, {"type": "cgroup"}}
	for kind, name := range names {
		ns := object{"type": name}
		for _, h := range join {
			if h.Kind() == kind {
				ns["path"] = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.File().Fd())
			}
		}
		list = append(list, ns)
	}
	return list
}
