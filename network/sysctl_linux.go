package network

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/barepod/barepod/internal/sys"
)

// setSysctl gives a kernel parameter of the calling thread's network namespace
// a value, unless it has it.
func setSysctl(path, value string) error {
	f, err := sys.OpenSysctl(path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 64)
	n, err := f.Read(b)
	if err == nil && strings.TrimSpace(string(b[:n])) != value {
		_, err = f.WriteAt([]byte(value), 0)
	}
	if err != nil {
		return fmt.Errorf("sysctl %s = %s: %w", path, value, err)
	}
	return nil
}

// getSysctl reads one.
func getSysctl(path string) (string, error) {
	f, err := sys.OpenSysctl(path, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, 64)
	n, err := f.Read(b)
	return strings.TrimSpace(string(b[:n])), err
}

// requireIPv6 says with a typed error if there is no IPv6 here.
func requireIPv6() error {
	_, err := getSysctl("net/ipv6/conf/default/disable_ipv6")
	if errors.Is(err, os.ErrNotExist) {
		return noIPv6(err)
	}
	return err
}

func noIPv6(err error) error {
	return &UnsupportedError{Feature: "an IPv6 subnet", Needs: "a host with IPv6 on; Subnets with an IPv4 one alone do without", Err: err}
}
