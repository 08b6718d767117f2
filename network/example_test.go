package network_test

import (
	"encoding/json"
	"fmt"

	"github.com/barepod/barepod/network"
)

// A pod with an address on the default bridge, and port 8080 of the host.
func Example() {
	networks := network.Attachments{network.Bridge{
		Ports: []network.Port{{HostPort: 8080, ContainerPort: 80}},
	}}
	fmt.Println(networks.Validate())

	data, err := json.Marshal(networks)
	fmt.Println(string(data), err)

	fmt.Println(network.Attachments{network.Bridge{Ports: []network.Port{{HostPort: 70000}}}}.Validate())
	// Output:
	// <nil>
	// [{"type":"Bridge","ports":[{"hostPort":8080,"containerPort":80}]}] <nil>
	// invalid Networks[0].Ports[0].HostPort 70000: must be from 1 to 65535
}
