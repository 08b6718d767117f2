//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "guest: runs in a Linux virtual machine only")
	os.Exit(1)
}
