//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/barepod/barepod/pod"
)

// controller is step 6: a process that has nothing but the pod's ID takes over
// when the creator is dead.
func controller(ctx context.Context, args []string) error {
	id, killed := args[0], args[1]
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	p, err := pod.Open(ctx, "", id)
	if err != nil {
		return err
	}
	text, err := takeOver(ctx, p)
	if err := errors.Join(err, p.Close()); err != nil {
		return err
	}
	step(6, "The creator (PID %s) was killed with SIGKILL.\nAnother process (PID %d) opened the pod by its ID.\n%s",
		killed, os.Getpid(), text)
	return nil
}

// takeOver returns what there is to tell.
func takeOver(ctx context.Context, p *pod.Pod) (string, error) {
	checker, err := p.Container("checker")
	if err != nil {
		return "", err
	}
	exit, err := checker.Wait(ctx)
	if err != nil {
		return "", err
	}
	if exit.Code != lastWord || exit.Signal != 0 {
		return "", fmt.Errorf("checker: ended with %+v", exit)
	}
	const script = "uname -n; ls /site"
	out, err := execIn(ctx, p, "loader", "sh", "-c", script)
	if err != nil {
		return "", err
	}
	words := strings.Join(strings.Fields(out), ", ")
	if want := podName + ", first, page"; words != want {
		return "", fmt.Errorf("loader: %q says %q, not %q", script, words, want)
	}
	if err := p.Stop(ctx); err != nil {
		return "", err
	}
	all, err := p.Status(ctx)
	if err != nil {
		return "", err
	}
	var ends []string
	for _, c := range all.Containers {
		if c.State.Terminated == nil {
			return "", fmt.Errorf("%s: %s after Stop", c.Name, stateOf(c))
		}
		ends = append(ends, c.Name+" "+stateOf(c))
	}
	if err := p.Remove(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("checker had ended meanwhile: exit status %d after %.2f s.\n"+
		"In loader, the command %q says: %s.\n"+
		"It stopped the pod (%s) and removed it.",
		exit.Code, exit.FinishedAt.Sub(exit.StartedAt).Seconds(), script, words, strings.Join(ends, ", ")), nil
}
