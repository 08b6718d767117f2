// Package run runs test binaries one after the other and reports all they do,
// on the machine it is on: the host, or a virtual machine's guest.
package run

import "time"

// Plan is what to run on a machine.
type Plan struct {
	Env      []string // the environment of each program
	Wrap     []string // the command and arguments that start each program, if any
	Timeout  time.Duration
	Programs []Program
}

// Program is a test binary, or another program that succeeds or fails.
type Program struct {
	Name    string // its import path; for other than tests with a word more
	Path    string
	Dir     string
	Args    []string
	Profile bool // it is to write a coverage profile
}

// Message is one step of a run; they come one at a time. The last one of a program
// has Done set, the last one of all has End.
type Message struct {
	Name    string `json:",omitempty"` // of the program
	Output  []byte `json:",omitempty"` // of the program, both streams
	Profile []byte `json:",omitempty"` // what it covered, as -test.coverprofile
	Done    bool   `json:",omitempty"`
	Error   string `json:",omitempty"` // with Done: how the program failed; else why the machine did
	End     bool   `json:",omitempty"`
}
