package namespace_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/barepod/barepod/namespace"
)

// Make namespaces, give them a host name, and keep them without a process.
func ExampleUnshare() {
	set, err := namespace.Unshare(namespace.Net|namespace.UTS, func() error {
		return syscall.Sethostname([]byte("web"))
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer set.Close()
	for _, h := range set {
		if err := h.Pin("/run/example/" + h.Kind().String()); err != nil {
			fmt.Println(err)
		}
	}
}

// Listen on a port inside a network namespace. The listener then works from
// anywhere in the program.
func ExampleHandle_Do() {
	h, err := namespace.Open("/run/example/net")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()
	var ln net.Listener
	err = h.Do(func() error {
		ln, err = net.Listen("tcp", ":80")
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
}

// Run Go code in several namespaces at once.
func ExampleSet_Do() {
	var set namespace.Set
	defer func() { set.Close() }()
	for _, kind := range []string{"net", "ipc", "uts"} {
		h, err := namespace.Open("/run/example/" + kind)
		if err != nil {
			fmt.Println(err)
			return
		}
		set = append(set, h)
	}
	err := set.Do(func() error {
		name, err := os.Hostname()
		fmt.Println(name)
		return err
	})
	if err != nil {
		fmt.Println(err)
	}
}

// A kind is its list of names in text.
func ExampleKind() {
	spec := struct{ Share namespace.Kind }{namespace.IPC | namespace.Net}
	data, err := json.Marshal(spec)
	fmt.Println(string(data), err)
	err = json.Unmarshal([]byte(`{"Share":"uts,net"}`), &spec)
	fmt.Println(spec.Share, spec.Share.Has(namespace.UTS), err)
	// Output:
	// {"Share":"net,ipc"} <nil>
	// net,uts true <nil>
}

// What Go cannot do is said, not tried.
func ExampleUnsupportedError() {
	h, err := namespace.Open("/proc/self/ns/user")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()
	fmt.Println(h.Do(func() error { return nil }))
	// Output:
	// namespace: enter user: running Go code in a user namespace: not supported, needs a process with a single thread, which no Go program is
}
