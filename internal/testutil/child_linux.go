package testutil

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// childMark begins the first argument of a test binary that runs as a child.
const childMark = "barepod-test-child="

var childFuncs = map[string]func(args []string){}

// Child registers a function that [StartChild] runs in a process of its own, for
// instance to be killed there. It is called from a package's variables or init
// functions, as
//
//	var _ = testutil.Child("creator", func(args []string) { ... })
//
// The process ends with status 0 when the function returns.
func Child(name string, f func(args []string)) bool {
	if _, ok := childFuncs[name]; ok {
		panic("testutil: two children named " + name)
	}
	childFuncs[name] = f
	return true
}

// runChild runs the function of a child and exits, if this is one. It is before
// flags are parsed.
func runChild() {
	if len(os.Args) < 2 {
		return
	}
	name, ok := strings.CutPrefix(os.Args[1], childMark)
	if !ok {
		return
	}
	f, ok := childFuncs[name]
	if !ok {
		exit(fmt.Errorf("no child named %s", name))
	}
	f(os.Args[2:])
	if os.Getenv("GOCOVERDIR") == "" {
		syscall.Exit(0) // os.Exit complains of that, if the binary counts coverage
	}
	os.Exit(0)
}

// ChildCommand returns a command that runs a function registered with [Child]:
// for tests that want other files or attributes than [StartChild] gives.
func ChildCommand(name string, args ...string) *exec.Cmd {
	return exec.Command("/proc/self/exe", append([]string{childMark + name}, args...)...)
}

// ChildProcess is a function that runs in a process of its own.
type ChildProcess struct {
	*exec.Cmd
	In  io.WriteCloser // its standard input
	Out *bufio.Reader  // its standard output
	t   testing.TB

	waited bool
	err    error
}

// StartChild starts a function registered with [Child]. Its standard error is
// that of the test. It is killed when the test ends.
func StartChild(t testing.TB, name string, args ...string) *ChildProcess {
	t.Helper()
	c := &ChildProcess{Cmd: ChildCommand(name, args...), t: t}
	c.Stderr = os.Stderr
	var err error
	if c.In, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Out = bufio.NewReader(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

// PID returns the child's process ID.
func (c *ChildProcess) PID() int { return c.Process.Pid }

// ReadLine returns the next line of the child's output, without its end. At the
// end of the output the test fails.
func (c *ChildProcess) ReadLine() string {
	c.t.Helper()
	line, err := c.Out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read from child: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// WriteLine sends a line to the child's standard input.
func (c *ChildProcess) WriteLine(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.In, line+"\n"); err != nil {
		c.t.Fatalf("write to child: %v", err)
	}
}

// Kill kills the child with SIGKILL and waits for its end. It may be called
// again, and after the child's end.
func (c *ChildProcess) Kill() {
	if c.waited {
		return
	}
	_ = c.Process.Kill() // it may have ended
	_ = c.Wait()
}

// Wait waits for the child's end, as [exec.Cmd.Wait] does, any number of times.
// What the child still has to say must be read before.
func (c *ChildProcess) Wait() error {
	if !c.waited {
		c.waited = true
		c.err = c.Cmd.Wait()
	}
	return c.err
}
