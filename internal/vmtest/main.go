// Vmtest runs the tests on every machine of the kernel matrix:
//
//	go run ./internal/vmtest [flags] [packages]
//
// The machines are this one as root and as an ordinary user, and virtual ones
// with Debian's kernel, without and with systemd. The table in machines.go says
// which features each has. A test that fails anywhere is a failure; and so is one
// that is skipped for lack of a feature that its machine has, and one that runs
// on no machine.
//
// Kernel and root file system come from Debian's archive, and are kept in
// barepod-vmtest in the user's cache directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	machines []machine
	run      string
	count    int
	race     bool
	verbose  bool
	keep     bool
	cover    string
	timeout  time.Duration
	patterns []string
}

// everything are the patterns of all packages.
var everything = []string{"./..."}

func main() {
	opt, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if err == nil && opt != nil {
		err = matrix(ctx, *opt)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmtest:", err)
		os.Exit(1)
	}
}

// parse reads the command line. Without options there is nothing left to do.
func parse(args []string) (*options, error) {
	var opt options
	flags := flag.NewFlagSet("vmtest", flag.ContinueOnError)
	names := flags.String("machine", machineNames(), "the machines, with commas")
	list := flags.String("features", "", "print the features of this machine as BAREPOD_REQUIRE has them, and do nothing else")
	flags.StringVar(&opt.run, "run", "", "run only the tests that match this, as go test")
	flags.IntVar(&opt.count, "count", 1, "run each test so many times")
	flags.BoolVar(&opt.race, "race", false, "on the host, run with the race detector")
	flags.BoolVar(&opt.verbose, "v", false, "print the output of all tests")
	flags.BoolVar(&opt.keep, "keep", false, "keep the temporary files: binaries, images, consoles")
	flags.StringVar(&opt.cover, "cover", "", "write the merged coverage profile of all machines to this file")
	flags.DurationVar(&opt.timeout, "timeout", 20*time.Minute, "the limit for the tests of a package on a machine")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *list != "" {
		m, err := machineNamed(*list)
		if err == nil {
			fmt.Println(m.features())
		}
		return nil, err
	}
	for name := range strings.SplitSeq(*names, ",") {
		m, err := machineNamed(name)
		if err != nil {
			return nil, err
		}
		opt.machines = append(opt.machines, m)
	}
	if opt.patterns = flags.Args(); len(opt.patterns) == 0 {
		opt.patterns = everything
	}
	return &opt, nil
}

func machineNames() string {
	var names []string
	for _, m := range machines {
		names = append(names, m.name)
	}
	return strings.Join(names, ",")
}

func machineNamed(name string) (machine, error) {
	i := slices.IndexFunc(machines, func(m machine) bool { return m.name == name })
	if i < 0 {
		return machine{}, fmt.Errorf("no machine %q: there are %s", name, machineNames())
	}
	return machines[i], nil
}
