// Package volume has what the containers of a pod can mount: an [EmptyDir] on
// disk or in memory, a [HostPath], or [Files] whose content is given as data; and
// how a container mounts it, a [Mount].
//
// [Volume] and [Mount] are plain data that survives JSON. Validate,
// [ValidateVolumes] and [ValidateMounts] check them without looking at the host.
// Package sandbox does the rest for its callers; Make, Remove and UsageOf are
// for those who build something else.
//
// # Life cycle
//
// [Make] makes a volume and returns it as a mount that is attached nowhere. As
// long as it is not, it goes with its descriptor, whatever happens to the
// process. The exception is an EmptyDir on disk: it is the directory
// <storage>/<name>, and with a SizeLimit there is the file
// <storage>/<name>.project beside it. [Remove] removes both, also after a Make
// that did not get to its end. What a HostPath made on the host stays.
//
// A Make that fails has undone what it did.
//
// # Privileges
//
// Make needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace
// of the calling thread, and /proc. Quotas need CAP_SYS_ADMIN on the host,
// Remove CAP_DAC_OVERRIDE for what containers made.
//
// # Threads
//
// All functions can be called from any goroutine at the same time, for different
// volumes. They neither change nor heed the umask. Mounts are looked up in the
// mount namespace of the calling thread.
//
// # Safety
//
// Device nodes have no effect in volumes, and set-user-ID programs only in a
// HostPath. A HostPath's Path is resolved once; what is checked is what is
// mounted. Remove and UsageOf open what containers left behind one component at a
// time: they follow no symbolic link and cross no mount point.
//
// # Limitations
//
//   - A limit on disk does not hold for processes with CAP_SYS_RESOURCE, where
//     the file system says so (ext4 does), and a process in the host's user
//     namespace can take files that it owns out of their project
//     (FS_IOC_FSSETXATTR). Containers have that capability only if they are given
//     it; a user namespace closes the other way.
//   - What the host mounts below a HostPath after Make, and a Mount with
//     propagation sees, has the attributes that the host gave it, also for
//     device nodes.
//   - A HostPath holds what the host has mounted below it, also after the host
//     has unmounted that, unless the mounts there are shared. With "/" these are
//     the pinned namespaces of other pods too.
//   - Remove does not change the attributes of files: one that a container with
//     CAP_LINUX_IMMUTABLE made immutable has to be freed by chattr(1) first.
//   - UsageOf an EmptyDir on disk without SizeLimit reads all its directories.
package volume
