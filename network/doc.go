// Package network gives a pod its IP: an [Attachment] says how a pod is
// attached to a network, [Attach] does it, and a [Result] is what came of it.
//
// [None] is the pod's own loopback and nothing else, [Host] the host's network.
// A [Bridge] is built in: a bridge of the host with a subnet of IPv4, of IPv6, or
// of both, an interface in the pod with an address from each, and ports of the
// host that lead to the pod. It is made by netlink messages alone: no program is
// executed, and nothing has to be installed. A [CNI] has the plugins of another
// network make the interface: those of Flannel, Calico, Cilium or any other.
//
// Attachments are plain data that survives JSON. [Attachments.Validate] checks
// them without looking at the host.
//
// # Life cycle
//
// Who attaches a pod writes the [Pod] and its Attachments down first. [Attach]
// then takes a lease of the addresses, and the host ports, and makes the
// links. An Attach that fails undoes what it did. [Detach] takes everything
// back from what was written down alone, whatever state it is in: the namespace
// may be gone, the process that attached may have died at any moment. It
// silences the pod's link before it gives the address back; the link itself
// goes with the pod's namespace, some 30 ms after nobody holds that any more.
// [Check] compares the network with the Result.
//
// What CNI plugins are called with is a file below <StateDir>/.netns/<ID> before
// they are, so that they can be called to delete it. They find the network
// namespace at [Pod.NetNSPath], where Attach pins it, and Detach unpins it
// last.
//
// Leases are files below <StateDir>/.network/<bridge>, in the layout of CNI's
// host-local. Addresses are given in turn, so that one that was given back is
// not used again before all others were; and the hardware address derives from
// the IP address, so that a neighbour that remembers it is right in any case.
//
// The bridge and the rules stay when the last pod goes; [Release] removes them.
// [Sweep] takes back what pods have left whose records were lost.
//
// # Privileges
//
// Attach, Detach and Release need CAP_NET_ADMIN in the user namespaces that own
// the pod's network namespace and the host's, and CAP_SYS_ADMIN to enter the
// pod's; /proc must be mounted with its kernel parameters writable.
//
// Attach changes the host: the first pod of a bridge turns IP forwarding on, of
// the families that the bridge has, and it stays on. Interfaces that listen to
// IPv6 routers go on to do so (accept_ra 2). A bridge with host ports has the
// parameter route_localnet, so that they can be reached through 127.0.0.1; a rule
// drops what pods send to or from 127.0.0.0/8 (CVE-2020-8558).
//
// CNI plugins are executed with the privileges of the program, which should be all
// of root's, and do to the host what they do.
//
// # Threads
//
// All functions can be called from any goroutine at the same time, for different
// pods. What they call the host is the network namespace of the calling
// thread: the program's, unless the goroutine is locked to one that is elsewhere,
// as in namespace.Handle.Do. Messages to the pod go through a socket that was
// opened in its namespace; no thread stays there. There is a lock for each
// bridge around the choice of an address, and one around the making of the bridge;
// none is held while the kernel makes a link.
//
// # Limitations
//
//   - The kernel connects at most 1,023 pods to a bridge: the next one is
//     [ErrBridgeFull].
//   - A bridge belongs to the pods of one state directory. One that exists
//     already, with other settings or made by somebody else, is refused.
//   - Rules of others apply, too: where a firewall drops what is forwarded by
//     default, as Docker has it do, it has to let the bridge's packets pass. Who
//     flushes all rules of the host takes masquerading and host ports from the
//     pods that are there; Check tells.
//   - A container with CAP_NET_ADMIN can change the pod's side: its addresses,
//     its routes, the limit of what it sends.
//   - To take a pod's rules out (host ports, NoMasquerade, Isolate) takes some
//     10 ms, for which the kernel has Detach wait. A pod without has none.
//   - Pods are not reached through ::1 of the host.
//   - CNI plugins are children of the program: a wait loop of the program that
//     reaps any child takes their exit status, and the call fails.
//   - No two pods of the machine with a CNI or Pin have the same ID.
package network
