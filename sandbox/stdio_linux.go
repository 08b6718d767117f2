package sandbox

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// stdio are the standard streams of a process being started.
type stdio struct {
	child [3]*os.File
	null  *os.File
	tasks []func() error
	ours  []*os.File // our ends of pipes
}

// open prepares the streams as os/exec does: nil is /dev/null, a file is passed
// through, anything else goes through a pipe and a goroutine. Files of the
// child's that we made are closed with files.
func (s *stdio) open(c *Cmd, files *fileSet) error {
	var err error
	if s.child[0], err = s.input(c.Stdin, files); err != nil {
		return err
	}
	if s.child[1], err = s.output(c.Stdout, files); err != nil {
		return err
	}
	if c.Stderr != nil && same(c.Stderr, c.Stdout) {
		s.child[2] = s.child[1]
		return nil
	}
	s.child[2], err = s.output(c.Stderr, files)
	return err
}

// same reports whether the two are one writer, which then gets one pipe.
func same(a, b io.Writer) (equal bool) {
	defer func() { _ = recover() }() // a type that cannot be compared
	return a == b
}

func (s *stdio) input(r io.Reader, files *fileSet) (*os.File, error) {
	if f, ok := r.(*os.File); ok {
		return f, nil
	}
	if r == nil {
		return s.devNull(files)
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	files.add(pr)
	s.ours = append(s.ours, pw)
	s.tasks = append(s.tasks, func() error {
		_, err := io.Copy(pw, r)
		if isPipe(err) { // the process did not read to the end
			err = nil
		}
		return errors.Join(err, pw.Close())
	})
	return pr, nil
}

func (s *stdio) output(w io.Writer, files *fileSet) (*os.File, error) {
	if f, ok := w.(*os.File); ok {
		return f, nil
	}
	if w == nil {
		return s.devNull(files)
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	files.add(pw)
	s.ours = append(s.ours, pr)
	s.tasks = append(s.tasks, func() error {
		_, err := io.Copy(w, pr)
		return errors.Join(err, pr.Close())
	})
	return pw, nil
}

// devNull opens /dev/null once for all streams.
func (s *stdio) devNull(files *fileSet) (_ *os.File, err error) {
	if s.null == nil {
		if s.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
			files.add(s.null)
		}
	}
	return s.null, err
}

// begin starts the copying and returns what to wait for.
func (s *stdio) begin() *copies {
	c := &copies{done: make(chan struct{})}
	if len(s.tasks) == 0 {
		close(c.done)
		return c
	}
	errs := make(chan error, len(s.tasks))
	for _, task := range s.tasks {
		go func() { errs <- task() }()
	}
	go func() {
		defer close(c.done)
		for range s.tasks {
			c.err = errors.Join(c.err, <-errs)
		}
	}()
	return c
}

// abort closes our ends.
func (s *stdio) abort() { closeAll(s.ours...) }

// copies is the copying under way.
type copies struct {
	done chan struct{}
	err  error // when done is closed
}

// isPipe reports whether err is that of writing to a pipe that nobody reads.
func isPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
