// Package pod makes Kubernetes-style pods: containers that share a network, an
// IPC and a host name, volumes, a cgroup, and on request their process IDs.
//
// A [Spec] says what a pod is: the configuration of a sandbox and the
// containers in it. A [Pod] is a handle of one, a [ContainerHandle] one of a
// container in it. Names are those of Kubernetes' PodSpec and PodStatus where
// these have a word for the thing. All of it is built on package sandbox, which
// [Pod.Sandbox] gives access to.
//
// # Life cycle
//
// [New] makes the pod, [Pod.Start] starts its containers in the order of the
// Spec, [Pod.Wait] waits until they have ended, [Pod.Stop] ends them: with a stop
// signal, and with SIGKILL after a grace period. Then the pod is still there,
// with its volumes and with how its containers ended, and they can be started
// again. [Pod.Remove] destroys it.
//
//	New ──▶ Pending ──Start──▶ Running ──▶ Succeeded or Failed ──▶ Remove
//	                              ▲                 │
//	                              └──────Start──────┘
//
// A pod belongs to the machine, not to the program that made it. [Open] returns
// a handle in any process that has the privileges, and every method works there:
// an exit status is exact, whoever waits for it and whoever made the pod. Close
// drops the handle and nothing else. A pod does not survive a reboot.
//
// A pod whose creator died during New can only be removed: [Open] says
// sandbox.ErrIncomplete, and [Remove] needs nothing but the ID. sandbox.Sweep
// removes what was left half-made.
//
// Nobody starts a container again by itself: a pod has Kubernetes' restart
// policy Never, and its phases are computed by the rules for that.
//
// # Output
//
// The output of containers goes to the file of [Container].LogPath, which the
// container has open itself, so that logging outlives every program here. A
// command of [ContainerHandle.Exec] has streams as in os/exec.
//
// # Privileges
//
// Those of package sandbox: root. Checking a Spec ([Spec.Validate]) and JSON need
// none.
//
// # Threads
//
// All methods may be called from several goroutines and several processes at the
// same time. Pod.Stop has a goroutine for each container until it returns;
// nothing else runs in the background, but the copiers of a running command's
// streams.
//
// # Limitations
//
//   - RestartCount can be one too low if two processes start the same ended
//     container at the very same time, and the run of the first is over before
//     the other one tries.
//   - The first process of a PID namespace, which a container's is unless the pod
//     shares its process IDs, gets only those signals that it has a handler for.
//     One that has none for its stop signal is killed after the grace period.
//   - Restart policies, init containers, probes and life cycle hooks are for the
//     caller.
//   - The limitations of package sandbox.
package pod
