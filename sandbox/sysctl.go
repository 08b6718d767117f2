package sandbox

import (
	"regexp"
	"slices"
	"strings"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/namespace"
)

// sysctlName is one spelling only: dots, lower case, none of the "/" and "+"
// with which kernel.core_pattern was once smuggled in (CVE-2022-0811).
var sysctlName = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_][a-z0-9_-]*)+$`)

// ipcSysctls are the parameters of an IPC namespace (ipc_namespaces(7)).
var ipcSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
	"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
}

// checkSysctl refuses parameters that are not those of the pod's own
// namespaces.
func checkSysctl(field, name, value string, own namespace.Kind) error {
	bad := func(reason string) error { return &invalid.Error{Field: field, Value: name, Reason: reason} }
	if !sysctlName.MatchString(name) {
		return bad(`must be the name of a kernel parameter with dots, such as "net.ipv4.ip_forward"`)
	}
	if strings.ContainsAny(value, "\x00\n") || len(value) > 4096 {
		return &invalid.Error{Field: field, Value: value, Reason: "must be one line"}
	}
	var kind namespace.Kind
	switch {
	case strings.HasPrefix(name, "net."):
		kind = namespace.Net
	case slices.Contains(ipcSysctls, name), strings.HasPrefix(name, "fs.mqueue."):
		kind = namespace.IPC
	case name == "kernel.domainname":
		kind = namespace.UTS
	default:
		return bad("must be a parameter of a network, IPC or UTS namespace, others are the whole machine's")
	}
	if !own.Has(kind) {
		return bad("must be a parameter of a namespace of the pod's own, and the " + kind.String() + " namespace is the host's")
	}
	return nil
}
