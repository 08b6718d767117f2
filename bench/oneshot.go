package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
)

// oneShot is a program that makes a container with namespaces of its own, runs
// a program in it to its end, and leaves nothing: it knows neither pods nor
// containers that stay.
type oneShot struct {
	title, pkg, program string
	// args make a container of a root file system; each has a name of its own.
	args func(root, name string) []string

	room  *room
	count atomic.Int64
}

func (o *oneShot) name() string { return o.title }
func (o *oneShot) needs() needs { return needs{packages: []string{o.pkg}} }
func (*oneShot) jobs() []job    { return containerJobs }

func (o *oneShot) open(_ context.Context, r *room) error {
	o.room = r
	return nil
}

func (*oneShot) close(context.Context) error { return nil }

// version is the second word that such a program says of itself.
func (o *oneShot) version(ctx context.Context) (string, error) {
	out, err := o.room.legacy.run(ctx, nil, o.program, "--version")
	if err != nil {
		return "", err
	}
	words := strings.Fields(out)
	if len(words) < 2 {
		return "", fmt.Errorf("%s says that its version is %q", o.program, out)
	}
	return words[1], nil
}

func (*oneShot) newPod(context.Context) (pod, error) {
	return nil, errors.New("BUG: asked for a pod")
}

func (o *oneShot) life(ctx context.Context) error {
	name := fmt.Sprintf("bench-%d-%d", os.Getpid(), o.count.Add(1))
	return o.room.legacy.detach(ctx, nil, o.program, o.args(o.room.root, name)...)
}
