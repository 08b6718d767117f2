package pod_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// A pod of two containers that share a volume, from its beginning to its end.
func Example() {
	ctx := context.Background()
	p, err := pod.New(ctx, pod.Spec{
		Sandbox: sandbox.Config{
			Name:    "web",
			Volumes: []volume.Volume{{Name: "site", Source: volume.EmptyDir{}}},
		},
		Containers: []pod.Container{
			{
				Name: "loader", Rootfs: sandbox.HostRoot{}, Command: []string{"sh", "-c", "date > /site/index.html"},
				Mounts: []volume.Mount{{Volume: "site", Path: "/site"}},
			},
			{
				Name: "server", Rootfs: sandbox.Dir{Path: "/srv/images/httpd"}, Command: []string{"httpd", "-f", "-h", "/site"},
				Mounts:  []volume.Mount{{Volume: "site", Path: "/site", ReadOnly: true}},
				LogPath: "/var/log/web.log",
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := p.Remove(context.WithoutCancel(ctx)); err != nil {
			log.Print(err)
		}
		p.Close()
	}()
	if err := p.Start(ctx); err != nil {
		log.Print(err)
		return
	}
	status, err := p.Wait(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	for _, c := range status.Containers {
		fmt.Println(c.Name, c.State.Terminated.Reason, c.State.Terminated.ExitCode)
	}
}

// Another process, another day: what one needs is the ID.
func ExampleOpen() {
	ctx := context.Background()
	p, err := pod.Open(ctx, "", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	server, err := p.Container("server")
	if err != nil {
		log.Print(err)
		return
	}
	exit, err := server.Wait(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println("server ended with", exit.Code, "at", exit.FinishedAt)
	if err := server.Start(ctx); err != nil { // again
		log.Print(err)
	}
}

// A further command in a running container.
func ExampleContainerHandle_Exec() {
	ctx := context.Background()
	p, err := pod.Open(ctx, "", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	server, err := p.Container("server")
	if err != nil {
		log.Print(err)
		return
	}
	cmd, err := server.Exec("ls", "-l", "/site")
	if err != nil {
		log.Print(err)
		return
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	exit, err := cmd.Run(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(exit.Code)
}

// A Spec is data.
func ExampleSpec() {
	data, err := json.MarshalIndent(pod.Spec{
		Sandbox: sandbox.Config{Name: "hello"},
		Containers: []pod.Container{
			{Name: "hello", Rootfs: sandbox.HostRoot{}, Command: []string{"echo", "hello"}},
		},
	}, "", "  ")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(data))
	// Output:
	// {
	//   "sandbox": {
	//     "name": "hello"
	//   },
	//   "containers": [
	//     {
	//       "name": "hello",
	//       "command": [
	//         "echo",
	//         "hello"
	//       ],
	//       "rootfs": {
	//         "type": "HostRoot"
	//       }
	//     }
	//   ]
	// }
}
