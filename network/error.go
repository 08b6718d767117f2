package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/barepod/barepod/internal/feature"
)

// Error is the error type of this package's functions.
type Error struct {
	Op  string // "attach", "detach", "check", "count", "sweep", "release", "status" or "gc"
	ID  string // of the pod, if it is about one
	Err error
}

func (e *Error) Error() string {
	if e.ID == "" {
		return e.Op + " network: " + e.Err.Error()
	}
	return e.Op + " network of pod " + e.ID + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// wrap gives err the operation and the pod; nil stays nil, and errors that name a
// field stay as they are.
func wrap(op, id string, err error) error {
	var i *InvalidError
	if err == nil || errors.As(err, &i) {
		return err
	}
	return &Error{Op: op, ID: id, Err: err}
}

// UnsupportedError says that the machine lacks a feature; it names the feature
// and what it needs. It matches errors.ErrUnsupported.
type UnsupportedError = feature.Error

// PortError says that a port of the host is taken. It matches fs.ErrExist.
type PortError struct {
	Protocol Protocol
	Port     netip.AddrPort // unspecified address: all of the family
	// By says who has it: "pod <id>", or "a socket of the host".
	By string
}

func (e *PortError) Error() string {
	return fmt.Sprintf("host port %v/%s is taken by %s", e.Port, e.Protocol, e.By)
}

// Is reports whether target is fs.ErrExist.
func (e *PortError) Is(target error) bool { return target == fs.ErrExist } //nolint:errorlint // this is Is

// AddressError says that a subnet cannot give the address that was asked for, or
// any.
type AddressError struct {
	Bridge  string
	Subnet  netip.Prefix
	Address netip.Addr // that was asked for; the zero value: any
	// Free is how many addresses of the subnet are free, at most 2^63-1.
	Free int64
	// By is the pod that has Address.
	By string
}

func (e *AddressError) Error() string {
	if !e.Address.IsValid() {
		return fmt.Sprintf("subnet %v of bridge %s is full: %d addresses are free", e.Subnet, e.Bridge, e.Free)
	}
	return fmt.Sprintf("address %v of bridge %s is taken by pod %s: %d addresses of %v are free", e.Address, e.Bridge, e.By, e.Free, e.Subnet)
}

// Is reports whether target is fs.ErrExist, for an address that is taken.
func (e *AddressError) Is(target error) bool {
	return target == fs.ErrExist && e.Address.IsValid() //nolint:errorlint // this is Is
}

// BridgeError says that the host has an interface of the bridge's name, or
// addresses of its subnets, that are not ours to use.
type BridgeError struct {
	Bridge string
	Reason string
}

func (e *BridgeError) Error() string { return "bridge " + e.Bridge + ": " + e.Reason }

// Is reports whether target is fs.ErrExist.
func (e *BridgeError) Is(target error) bool { return target == fs.ErrExist } //nolint:errorlint // this is Is

// CNIError says that a CNI plugin has failed, or could not be executed.
type CNIError struct {
	Network string // that the configuration is of
	Plugin  string // its type; empty if it is about the list
	Command string // ADD, CHECK, DEL, GC or STATUS
	// Code is the error code of CNI that the plugin has printed, 0 if it printed
	// none: from 1 to 99 the specification's, from 100 on the plugin's own.
	Code    uint
	Msg     string // what the plugin says, or has written to its standard error
	Details string
	// Err is the cause on our side: an *exec.ExitError, the context's error,
	// fs.ErrNotExist if there is no such plugin. It may be nil.
	Err error
}

func (e *CNIError) Error() string {
	var b strings.Builder
	b.WriteString("CNI network " + e.Network + ": ")
	if e.Plugin != "" {
		b.WriteString("plugin " + e.Plugin + ": ")
	}
	b.WriteString(e.Command)
	if e.Code != 0 {
		fmt.Fprintf(&b, ": code %d", e.Code)
	}
	for _, text := range []string{e.Msg, e.Details} {
		if text != "" {
			b.WriteString(": " + text)
		}
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *CNIError) Unwrap() error { return e.Err }

// NetNSError says that what is at the place of the pod's pin is somebody else's:
// of the same name, or of a pod with the same ID in another state directory. It
// matches fs.ErrExist.
type NetNSError struct{ Path string }

func (e *NetNSError) Error() string { return e.Path + " is somebody else's" }

// Is reports whether target is fs.ErrExist.
func (e *NetNSError) Is(target error) bool { return target == fs.ErrExist } //nolint:errorlint // this is Is

// ErrBridgeFull says that a bridge has 1,023 pods, the most that the kernel
// connects to one (BR_MAX_PORTS). More need a bridge of another name.
var ErrBridgeFull = errors.New("has 1023 pods, the kernel's limit: another bridge is needed")

// ErrMismatch says what Check found to be different from what was made.
var ErrMismatch = errors.New("network is not as it was made")
