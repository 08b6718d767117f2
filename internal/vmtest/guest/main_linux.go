package main

import (
	"fmt"
	"os"
)

// self and plan are where this program and what to run are after the start.
const (
	self = "/run/vmtest/guest"
	plan = "/run/vmtest/plan.json"
)

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "run":
		report(runTests())
		powerOff()
	case os.Args[0] == self:
		report(initialize())
		powerOff()
	default:
		report(boot())
	}
	os.Exit(1) // of PID 1: the kernel panics, which ends the machine
}

// report prints an error on the console.
func report(err error) {
	if err != nil {
		fmt.Println("vmtest:", err)
	}
}
