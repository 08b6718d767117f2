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

// A pod in a network of CNI plugins whose configuration is at hand, with a port of
// the host. An empty CNI is the network of the machine's Kubernetes node.
func ExampleCNI() {
	networks := network.Attachments{network.CNI{
		Config: json.RawMessage(`{"cniVersion":"1.0.0","name":"net","plugins":[
			{"type":"ptp","ipam":{"type":"host-local","ranges":[[{"subnet":"10.9.0.0/24"}]]}},
			{"type":"portmap","backend":"nftables","capabilities":{"portMappings":true}}]}`),
		Capabilities: map[string]json.RawMessage{
			"portMappings": json.RawMessage(`[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]`),
		},
	}}
	fmt.Println(networks.Validate())

	fmt.Println(network.Attachments{network.CNI{
		Config: json.RawMessage(`{"name":"net","plugins":[{"type":"../../bin/sh"}]}`),
	}}.Validate())
	// Output:
	// <nil>
	// invalid Networks[0].Config.plugins[0].type "../../bin/sh": must be the name of an executable, without a path
}
