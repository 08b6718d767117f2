// Command quickstart shows what a pod is, on any Linux machine with root and
// nothing but Go: no image, no daemon, no network set-up.
//
//	go run ./examples/quickstart
//
// It makes one pod of three containers: a web server in an empty root, a loader
// that writes its pages with the host's sh, and a checker that looks at the
// pod from inside. It fetches a page from the pod's IPs, from the host and from a
// second pod. Then it kills the server and starts it again, kills the
// process that made the pod and goes on from another one, removes the pod and
// looks for what might be left of it.
//
//	-keep        leave the pod, and print commands to look at it
//	-remove ID   remove a pod that was left
//
// # How it is made
//
// One program plays all parts; its first argument says which. The process that
// you start (supervise.go) starts another one that makes the pod (creator.go)
// and shows it around (tour.go), kills it, and starts a third one that takes
// over (controller.go). The program is also what runs in two of the containers
// (server.go, checker.go) and in the second pod (reach.go): spec.go mounts it
// there. What might be left is looked for in left.go and left_network.go.
//
// Pods with an IP need the kernel's bridge, veth and nf_tables; where one of them
// is missing, the library's error names it.
package main
