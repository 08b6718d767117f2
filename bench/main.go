// Command bench compares barepod with its peers, side by side on this machine,
// and writes what it finds into the documentation. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/barepod/barepod/internal/sys"
)

// The parts of this program other than the one that the user starts.
const (
	asInner  = "as-inner"  // what measures
	asWorker = "as-worker" // a host program for the job with a large heap
	asDriver = "as-driver" // what strace looks at
)

// The first argument may have something else done than the comparison.
const (
	profileCommand    = "profile"    // barepod is looked into
	throughputCommand = "throughput" // bridges are compared
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, args []string) error {
	switch {
	case len(args) > 0 && args[0] == asWorker:
		return work(ctx, args[1:])
	case len(args) > 0 && args[0] == asDriver:
		return driveTraced(ctx, args[1:])
	case len(args) > 2 && args[0] == asInner:
		return inner(ctx, args[1], args[2], args[3:])
	}
	return outer(ctx, args)
}

// options are the command line.
type options struct {
	peers, jobs, pods string
	rounds, mounts    int
	heap              int64
	limit             time.Duration
	out, traces       string
	command           string // empty, profile or throughput
}

func parse(args []string) (*options, error) {
	o := &options{}
	if len(args) > 0 && (args[0] == profileCommand || args[0] == throughputCommand) {
		o.command, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.peers, "peers", defaultPeers, "what to compare, the first being barepod: a `list` with commas; runc-debian is there, too")
	flags.StringVar(&o.jobs, "jobs", joinJobs(podJobs), "what to measure, a `list` with commas")
	flags.IntVar(&o.rounds, "rounds", 15, "how often, in turn; a third of that where a round takes long")
	flags.StringVar(&o.pods, "pods", "100,1000", "how many pods shall stand, a `list` with commas")
	flags.DurationVar(&o.limit, "limit", 2*time.Minute, "how long a peer may take to make them")
	flags.IntVar(&o.mounts, "mounts", 1000, "foreign mounts on the host")
	flags.Int64Var(&o.heap, "heap", 4<<30, "the large heap of a host program, in bytes")
	flags.StringVar(&o.out, "o", "../docs", "the `directory` of performance.md, which is changed between its markers")
	flags.StringVar(&o.traces, "traces", "", "the `directory` for traces and profiles, below the user's cache if empty")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "bench [%s | %s] [flags]\n", profileCommand, throughputCommand)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return o, nil
}

func joinJobs(jobs []job) string {
	names := make([]string, len(jobs))
	for i, j := range jobs {
		names[i] = string(j)
	}
	return strings.Join(names, ",")
}

func (o *options) plan() (*plan, error) {
	peers, err := choosePeers(o.peers)
	if err != nil {
		return nil, err
	}
	p := &plan{peers: peers, rounds: o.rounds, limit: o.limit, mounts: o.mounts, heap: o.heap}
	for name := range strings.SplitSeq(o.jobs, ",") {
		if titles[job(name)] == "" {
			return nil, fmt.Errorf("there is no job %q", name)
		}
		p.jobs = append(p.jobs, job(name))
	}
	for n := range strings.SplitSeq(o.pods, ",") {
		count, err := strconv.Atoi(n)
		if err != nil || count < 2 {
			return nil, fmt.Errorf("-pods %s: a number from 2 on is wanted", n)
		}
		p.pods = append(p.pods, count)
	}
	if o.rounds < 1 {
		return nil, errors.New("-rounds: at least one is needed")
	}
	return p, nil
}

// outer installs what is missing, has inner measure, and clears away what that
// has left, however it ended.
func outer(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	p, err := o.plan()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("only root can make pods")
	}
	switch o.command {
	case profileCommand:
		err = installPackages(ctx, "strace")
	case throughputCommand:
		err = installPackages(ctx, append((&podman{}).needs().packages, "iperf3")...)
	default:
		err = install(ctx, p.peers)
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/var/tmp", "barepod-bench-")
	if err != nil {
		return err
	}
	group := filepath.Base(dir)
	before, err := machine()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{asInner, dir, group}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// What the terminal sends goes to this process alone, which passes it on:
	// the peers' own processes shall end in their order.
	// The run has a host of its own as far as the network goes: bridges, rules
	// and whatever else peers leave there end with its last process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWNET}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	err = cmd.Run()

	// Whatever happens now, the machine is to be as it was.
	ctx = context.WithoutCancel(ctx)
	left, sweepErr := sweep(ctx, dir, group)
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left behind, and taken away now:\n\t%s", strings.Join(left, "\n\t")))
	}
	err = errors.Join(err, sweepErr)
	return errors.Join(err, before.compare())
}

// inner measures and writes.
func inner(ctx context.Context, dir, group string, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	p, err := o.plan()
	if err != nil {
		return err
	}
	if err := sys.LoopbackUp(); err != nil {
		return err
	}
	r, err := enterRoom(dir, group)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.leave()) }()
	switch o.command {
	case profileCommand:
		return lookInto(ctx, r, o)
	case throughputCommand:
		return throughput(ctx, r, o)
	}
	closeAll, err := openPeers(ctx, r, p.peers)
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return err
	}
	res, err := p.measure(ctx, r)
	if res == nil {
		return err
	}
	return errors.Join(err, write(o.out, res))
}

// openPeers gets peers ready. What it returns ends all that it began, also
// after an error.
func openPeers(ctx context.Context, r *room, peers []peer) (closeAll func() error, err error) {
	var opened []peer
	closeAll = func() error {
		var errs []error
		for _, p := range opened {
			if err := p.close(context.WithoutCancel(ctx)); err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", p.name(), err))
			}
		}
		return errors.Join(errs...)
	}
	for _, p := range peers {
		if err := p.open(ctx, r); err != nil {
			return closeAll, fmt.Errorf("open %s: %w", p.name(), err)
		}
		opened = append(opened, p)
	}
	return closeAll, nil
}

// progress tells the user what is going on.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
