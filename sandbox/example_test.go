package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

// A sandbox and a process in it.
func Example() {
	run := func(ctx context.Context) (err error) {
		sb, err := sandbox.New(ctx, sandbox.Config{
			Name:    "web", // and hostname
			Volumes: []volume.Volume{{Name: "site", Source: volume.EmptyDir{}}},
		})
		if err != nil {
			return err
		}
		defer func() {
			err = errors.Join(err, sb.Remove(context.WithoutCancel(ctx)), sb.Close())
		}()

		cmd := sb.Command("sh", "-c", "hostname; ls -d /site") // reads like os/exec
		cmd.Rootfs = sandbox.HostRoot{}                        // or Dir, Overlay, Scratch
		cmd.Mounts = []volume.Mount{{Volume: "site", Path: "/site"}}
		cmd.Stdout = os.Stdout
		proc, err := cmd.Start(ctx) // ctx bounds Start only
		if err != nil {
			return err
		}
		defer proc.Close()
		exit, err := proc.Wait(ctx) // in any process, any number of them
		if err != nil {
			return err
		}
		fmt.Println("exit code", exit.Code) // not 0 is no error
		return nil
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
