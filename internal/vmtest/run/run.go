package run

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Run runs the programs of a plan. That one of them fails is a message; the error
// is of send.
func (p Plan) Run(ctx context.Context, send func(Message) error) error {
	for _, program := range p.Programs {
		profile, err := p.runOne(ctx, program, send)
		m := Message{Name: program.Name, Profile: profile, Done: true}
		if err != nil {
			m.Error = err.Error()
		}
		if err := send(m); err != nil {
			return err
		}
	}
	return send(Message{End: true})
}

// runOne runs one program and returns the profile that it wrote.
func (p Plan) runOne(ctx context.Context, program Program, send func(Message) error) (profile []byte, err error) {
	dir, err := os.MkdirTemp("", "vmtest")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o777); err != nil { // the program may be another user's
		return nil, err
	}
	args := append(p.Wrap[:len(p.Wrap):len(p.Wrap)], program.Path)
	args = append(args, program.Args...)
	env := append(p.Env[:len(p.Env):len(p.Env)], "PWD="+program.Dir)
	at := filepath.Join(dir, "profile")
	if program.Profile {
		args = append(args, "-test.coverprofile="+at)
		env = append(env, "GOCOVERDIR="+dir) // for processes that the tests start
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = program.Dir, env
	cmd.WaitDelay = 10 * time.Second // for processes that it leaves with its output
	out := &output{program.Name, send}
	cmd.Stdout, cmd.Stderr = out, out // the same: what is written first comes first
	err = cmd.Run()
	if program.Profile && err == nil {
		profile, err = os.ReadFile(at)
	}
	return profile, err
}

// output sends what a program writes.
type output struct {
	name string
	send func(Message) error
}

func (o *output) Write(b []byte) (int, error) {
	return len(b), o.send(Message{Name: o.name, Output: bytes.Clone(b)})
}
