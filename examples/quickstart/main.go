//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// The parts of this program other than the one that the user starts. The names
// of those in containers end in the container's name.
const (
	asCreator    = "as-creator"
	asController = "as-controller"
	asServer     = "as-server"
	asChecker    = "as-checker"
	asFindings   = "as-findings"
	asVisitor    = "as-visitor"
)

// parts are what the program does for a first argument; args are the others.
var parts = map[string]func(ctx context.Context, args []string) error{
	asCreator:    creator,
	asController: controller,
	asServer:     server,
	asChecker:    checker,
	asFindings:   findingsCommand,
	asVisitor:    visitor,
}

func main() {
	if len(os.Args) > 1 && parts[os.Args[1]] != nil {
		exit(parts[os.Args[1]](context.Background(), os.Args[2:]))
	}
	keep := flag.Bool("keep", false, "leave the pod, and print commands to look at it")
	remove := flag.String("remove", "", "remove the pod with this `ID`, which -keep has left")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if os.Geteuid() != 0 {
		exit(becomeRoot())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if *remove != "" {
		err := removePod(ctx, *remove)
		if err == nil {
			fmt.Println("Nothing is left of", *remove+".")
		}
		exit(err)
	}
	exit(supervise(ctx, *keep))
}

// exitCode is an error that is nothing but the exit status of the program.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exit ends the program.
func exit(err error) {
	var code exitCode
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &code):
		os.Exit(int(code))
	}
	fmt.Fprintln(os.Stderr, "quickstart:", err)
	os.Exit(1)
}

// becomeRoot runs the program again through sudo.
func becomeRoot() error {
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return errors.New("a pod needs root (CAP_SYS_ADMIN), and there is no sudo to get it: run this as root")
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Println("A pod needs root (CAP_SYS_ADMIN): running this again through sudo.")
	args := append([]string{sudo, "--", exe}, os.Args[1:]...)
	return &os.PathError{Op: "exec", Path: sudo, Err: syscall.Exec(sudo, args, os.Environ())}
}

// again returns the command line with which the user runs this program.
func again(args ...string) string {
	command := "go run ./examples/quickstart"
	if exe, err := os.Executable(); err == nil && !strings.Contains(exe, "/go-build") {
		command = exe
	}
	return strings.Join(append([]string{command}, args...), " ")
}
