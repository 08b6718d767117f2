// Package cgroup makes, limits, measures, kills and removes the control groups
// of pods and containers, on cgroup v1, on v2 and on the hybrid of both.
//
// # Names
//
// A group is named by its elements below [Config.Parent]: the pod's ID, then
// the container's name. Nothing else is needed to find it again, so [Open] does
// with names alone what another process created.
//
// # Hierarchies
//
// With v2 there is one directory for each group. With v1 a group is a directory
// in the hierarchies of memory, pids, cpu and cpuacct, as far as they are
// mounted, and in the unified hierarchy beside them (hybrid), which has
// cgroup.kill. Where no unified hierarchy is mounted, the freezer takes its
// place for a kill without races, and name=systemd is joined so that systemd
// does not end a pod with the service that made it. A controller that is missing
// is an error only when a limit needs it.
//
// # Drivers
//
// [CgroupFS] makes directories and needs nobody's help. [Systemd] asks systemd,
// which lets a subtree be managed by others only in a unit with Delegate=yes. A
// slice cannot be delegated, and a scope lives only as long as a process in it.
// So the pod is a slice, which lives without processes and carries the pod's
// limits as properties of the unit, and each container is a delegated scope in
// it with two leaves: "main" for the container and "keeper" for the process that
// waits for it ([Group.Keeper]). The scope begins with its first process:
// [Group.Adopt] must be called before anything joins the group.
//
// # Cost
//
// A group without limits costs one mkdir a hierarchy. Limits go through
// github.com/opencontainers/cgroups, which is handed the directories, so that it
// need not look for them; it keeps one descriptor of /sys/fs/cgroup open from
// the first limit on.
//
// # Privileges
//
// Writing below [Config.Parent], which on a machine's own cgroup file systems
// means root.
package cgroup
