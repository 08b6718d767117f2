// Package sandbox makes the shared context of a pod, and starts processes in it.
//
// A [Sandbox] is what the containers of a pod share: network, IPC, host name,
// optionally process IDs, volumes, and a cgroup with the pod's limits. A [Cmd]
// started in it is a container: a process with a root file system, a mount
// namespace, a cgroup and security settings of its own. Package pod puts the
// two together; this package is for programs that want less, or more, than a
// Kubernetes-style pod.
//
// # Life cycle
//
// [New] makes a sandbox, [Open] returns a handle of an existing one, in any
// process. Close drops the handle, Remove destroys the sandbox, with all that
// runs in it. A sandbox needs no process of its own and survives the program
// that made it; it does not survive a reboot.
//
// All that the kernel holds for a sandbox is in one mount namespace, the
// anchor, which is pinned in the state directory by one bind mount: that pin is
// the commit of New. A program that dies before leaves a directory and a
// cgroup, which [Remove] or [Sweep] take away.
//
// A process is watched by a keeper, a process of a few pages outside the pod,
// which writes down how it ended. So Wait works in any process and at any time,
// and the host program has no children of ours.
//
// # Network
//
// Config.Networks says how the pod is attached; by default it has nothing but
// its own loopback. New attaches it before the commit, and keeps what came of it
// with the state: [Sandbox.Network] returns it in any process, Status compares it
// with what there is, and Remove takes it back, whoever is still alive. The host
// of a pod is the network namespace of the program. With a network.CNI, or with
// Config.NetNSPath, the pod's namespace has a path below /run/netns, too. Open sockets in the pod's
// namespace, and handles of the sandbox, keep the namespace and its link, but
// Remove has silenced that.
//
// # What a container sees
//
// A root directory of the kind its [Rootfs] says; /proc of its PID namespace
// and /sys, with the paths masked or read-only that container runtimes mask;
// its own cgroups, read-only; a small /dev with null, zero, full, random,
// urandom, tty, pts, and the pod's shm and mqueue; /etc/hosts, /etc/hostname
// and /etc/resolv.conf of the pod, whose name is on its addresses; and the volumes it mounts. It runs with 14
// capabilities, no_new_privs, and a session keyring of its own. File systems
// are mounted nodev, so device nodes made inside open nothing.
//
// # Privileges
//
// Everything here needs root: CAP_SYS_ADMIN and what a container's settings
// take. Nothing is done in the name of another user.
//
// # Threads
//
// Namespace work is done on OS threads that are thrown away, and no thread of
// the program is changed. No signal handler, subreaper, or goroutine outlives a
// call, but the copiers of a process's streams, as in os/exec. SIGCHLD for a
// short-lived child may be seen during New and Start; a wait loop of the program
// may reap that child.
//
// # Limitations
//
// There is no seccomp profile, device cgroup, LSM label, user namespace or
// terminal yet: a container that is given more capabilities than the default
// ones, or the host's namespaces, is as dangerous as it looks. The limitations
// of package network. Where the unified cgroup hierarchy is missing, and
// processes of a container share the pod's PID namespace, those that its first
// process leaves behind are killed when its name is used again, or by Remove,
// and not at once.
package sandbox
