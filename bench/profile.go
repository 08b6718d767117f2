package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"

	"github.com/google/pprof/profile"
	"golang.org/x/sys/unix"

	lib "github.com/barepod/barepod/sandbox"
)

// The operations of barepod that are looked into.
const (
	opNew    = "New"
	opStart  = "Start"
	opExec   = "Exec" // Start and Wait of a further command
	opStop   = "Stop" // Kill of the container
	opRemove = "Remove"
)

var operations = []string{opNew, opStart, opExec, opStop, opRemove}

// The parts of the documentation that a profile writes.
const (
	partSteps = "steps"
	partCalls = "calls"
)

// lookInto writes traces and profiles into the directory traces, and the tables
// made of them into the documentation.
func lookInto(ctx context.Context, r *room, o *options) error {
	traces := o.traces
	if traces == "" {
		cache, err := cacheDir()
		if err != nil {
			return err
		}
		traces = filepath.Join(cache, "profiles")
	}
	for _, dir := range []string{traces, o.out} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	b := &barepod{}
	if err := b.open(ctx, r); err != nil {
		return err
	}
	steps, err := timeSteps(ctx, b, o.rounds*20)
	if err == nil {
		err = cpuProfiles(ctx, b, traces, o.rounds*100)
	}
	if err := errors.Join(err, b.close(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	trace := filepath.Join(traces, "strace")
	if err := straceDriver(ctx, r, trace, o.rounds); err != nil {
		return err
	}
	calls, err := readTrace(trace)
	if err != nil {
		return err
	}
	parts := map[string]string{partSteps: stepsPart(steps), partCalls: callsPart(calls, o.rounds)}
	if err := updateDoc(o.out, parts, []string{partSteps, partCalls}); err != nil {
		return err
	}
	progress("traces and profiles are in %s, the tables in %s", traces, filepath.Join(o.out, docName))
	return nil
}

// around is called with each operation and does it.
type around func(op string, do func() error) error

// drive leads one pod through all operations.
func drive(ctx context.Context, b *barepod, do around) error {
	var sb *lib.Sandbox
	err := do(opNew, func() (err error) {
		sb, err = lib.New(ctx, b.cfg)
		return err
	})
	if err != nil {
		return err
	}
	p := &barepodPod{peer: b, sb: sb}
	err = do(opStart, func() error { return p.start(ctx) })
	if err == nil {
		err = do(opExec, func() error { return p.exec(ctx) })
	}
	if err == nil {
		err = do(opStop, func() error { return p.main.Kill(ctx) })
	}
	remove := func() error { return lib.Remove(context.WithoutCancel(ctx), b.cfg.StateDir, sb.ID()) }
	return errors.Join(err, do(opRemove, remove), p.forget())
}

// cpuProfiles writes a CPU profile of each operation.
func cpuProfiles(ctx context.Context, b *barepod, dir string, rounds int) error {
	progress("CPU profiles")
	var data bytes.Buffer
	if err := pprof.StartCPUProfile(&data); err != nil {
		return err
	}
	var err error
	for range rounds {
		err = drive(ctx, b, func(op string, do func() error) (err error) {
			pprof.Do(ctx, pprof.Labels("op", op), func(context.Context) { err = do() })
			return err
		})
		if err != nil {
			break
		}
	}
	pprof.StopCPUProfile()
	if err != nil {
		return err
	}
	all, err := profile.Parse(&data)
	if err != nil {
		return err
	}
	for _, op := range operations {
		p := all.Copy()
		p.Sample = slices.DeleteFunc(p.Sample, func(s *profile.Sample) bool { return !s.HasLabel("op", op) })
		var out bytes.Buffer
		if err := p.Compact().Write(&out); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "cpu-"+op+".pprof"), out.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// straceDriver runs this program once more, as what strace looks at.
func straceDriver(ctx context.Context, r *room, trace string, rounds int) error {
	progress("system calls")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "strace", "-f", "-ttt", "-T", "-s", "80", "-o", trace,
		self, asDriver, r.dir, r.group, r.legacy.path(), strconv.Itoa(rounds))
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// driveTraced is the program that strace looks at.
func driveTraced(ctx context.Context, args []string) (err error) {
	if len(args) != 4 {
		return errors.New("BUG: arguments of the driver")
	}
	rounds, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	r, err := visitRoom(args[0], args[1], args[2])
	if err != nil {
		return err
	}
	b := &barepod{}
	if err := b.open(ctx, r); err != nil {
		return err
	}
	for range rounds {
		err := drive(ctx, b, func(op string, do func() error) error {
			mark(op, "begin")
			defer mark(op, "end")
			return do()
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(b.close(ctx), r.leave())
}

// markPrefix begins a path that does not exist: looking for it leaves a line in
// the trace.
const markPrefix = "/barepod-bench-mark/"

func mark(op, which string) {
	_ = unix.Access(fmt.Sprintf("%s%s/%s", markPrefix, op, which), unix.F_OK)
}
