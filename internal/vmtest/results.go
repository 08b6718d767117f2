package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/barepod/barepod/internal/vmtest/run"
)

// test is a test, or a subtest of one.
type test struct{ pkg, name string }

func (t test) String() string { return t.pkg + " " + t.name }

// verdict is how a test ended.
type verdict struct {
	action string // pass, fail or skip
	lacks  string // the feature for lack of which it was skipped
}

// results are those of one machine.
type results struct {
	machine  machine
	tests    map[test]verdict
	failures []string // everything but tests that failed
	profiles [][]byte

	out       io.Writer
	verbose   bool
	test2json string // the program

	pending map[string]bool // programs that have not ended
	current *conversion
	ended   bool
	start   time.Time
	took    time.Duration
}

func newResults(m machine, plan run.Plan, out io.Writer, verbose bool, test2json string) *results {
	r := &results{
		machine: m, tests: map[test]verdict{}, pending: map[string]bool{}, start: time.Now(),
		out: out, verbose: verbose, test2json: test2json,
	}
	for _, p := range plan.Programs {
		r.pending[p.Name] = true
	}
	return r
}

// message takes in what the machine says.
func (r *results) message(m run.Message) error {
	switch {
	case m.Done:
		return r.done(m)
	case m.Error != "":
		r.fail(m.Error)
	case m.End:
		r.ended = true
	case !r.pending[m.Name]:
		fmt.Fprintf(r.out, "     %s: %s\n", r.machine.name, m.Output)
	default:
		if r.current == nil {
			var err error
			if r.current, err = r.convert(m.Name); err != nil {
				return err
			}
		}
		_, err := r.current.in.Write(m.Output)
		return err
	}
	return nil
}

// done ends a program.
func (r *results) done(m run.Message) error {
	if r.current == nil {
		var err error
		if r.current, err = r.convert(m.Name); err != nil {
			return err
		}
	}
	c := r.current
	r.current = nil
	if err := c.close(); err != nil {
		return err
	}
	delete(r.pending, m.Name)
	if len(m.Profile) > 0 {
		r.profiles = append(r.profiles, m.Profile)
	}
	word := "ok  "
	if m.Error != "" {
		word = "FAIL"
		r.fail(m.Name + ": " + m.Error)
		fmt.Fprint(r.out, c.rest())
	}
	fmt.Fprintf(r.out, "%s %s\t%s\t%.1fs\n", word, r.machine.name, m.Name, time.Since(c.start).Seconds())
	return nil
}

func (r *results) fail(what string) { r.failures = append(r.failures, r.machine.name+": "+what) }

// close counts what did not run as failed. The error is of the machine.
func (r *results) close(err error) {
	r.took = time.Since(r.start)
	if r.current != nil {
		err = errors.Join(err, r.current.close())
		fmt.Fprint(r.out, r.current.rest())
		r.current = nil
	}
	if err != nil {
		r.fail(err.Error())
	}
	if !r.ended {
		r.fail("ended before its tests did")
	}
	for name := range r.pending {
		r.fail(name + " did not run to its end")
	}
}

// conversion makes events of a test binary's output.
type conversion struct {
	results *results
	pkg     string
	start   time.Time
	cmd     *exec.Cmd
	in      io.WriteCloser
	done    chan error
	output  map[string]string // by test, of those that have not passed; "" is the package
}

func (r *results) convert(pkg string) (*conversion, error) {
	c := &conversion{
		results: r, pkg: pkg, start: time.Now(),
		cmd: exec.Command(r.test2json, "-p", pkg), done: make(chan error, 1), output: map[string]string{},
	}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	events, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { c.done <- c.read(events) }()
	return c, nil
}

func (c *conversion) close() error {
	return errors.Join(c.in.Close(), <-c.done, c.cmd.Wait())
}

// needs matches what testutil says when it skips a test.
var needs = regexp.MustCompile(`(?m): needs (\S+) \(`)

func (c *conversion) read(events io.Reader) error {
	for decoder := json.NewDecoder(bufio.NewReader(events)); ; {
		var e struct{ Action, Test, Output string }
		switch err := decoder.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		switch e.Action {
		case "output":
			c.output[e.Test] += e.Output
			if c.results.verbose {
				fmt.Fprint(c.results.out, e.Output)
			}
		case "pass", "fail", "skip":
			if e.Test != "" {
				c.ended(e.Test, e.Action)
			}
		}
	}
}

func (c *conversion) ended(name, action string) {
	v := verdict{action: action}
	text := c.output[name]
	delete(c.output, name)
	switch action {
	case "skip":
		if found := needs.FindStringSubmatch(text); found != nil {
			v.lacks = found[1]
		}
	case "fail":
		if !c.results.verbose {
			fmt.Fprint(c.results.out, text)
		}
	}
	t := test{c.pkg, name}
	if c.results.tests[t].action != "fail" { // with -count, once is enough
		c.results.tests[t] = v
	}
}

// rest is the output of what has not ended, and of the package.
func (c *conversion) rest() string {
	if c.results.verbose {
		return ""
	}
	var b strings.Builder
	for _, text := range c.output {
		b.WriteString(text)
	}
	return b.String()
}
