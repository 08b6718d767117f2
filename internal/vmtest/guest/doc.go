// Guest is the first program in a virtual machine of internal/vmtest: it makes
// the machine ready, and runs the tests.
//
// It starts as init of the initial RAM file system. There it loads the kernel's
// modules, mounts the root file system and what else is needed, and moves into
// it: a root that is the initial RAM file system could not be a pod's. What comes
// next is PID 1 of the machine, by the kernel parameter INIT: itself again, or
// systemd, which then starts it as a service.
//
// Results go to the virtio port named results, a JSON message a line.
package main
