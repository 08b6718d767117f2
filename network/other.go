//go:build !linux

package network

import (
	"context"

	"github.com/barepod/barepod/internal/feature"
	"github.com/barepod/barepod/namespace"
)

// Attach needs Linux.
func Attach(context.Context, Pod, *namespace.Handle, Attachments) (Result, error) {
	return Result{}, feature.NeedsLinux("networks")
}

// Detach needs Linux.
func Detach(context.Context, Pod, Attachments) error { return feature.NeedsLinux("networks") }

// Check needs Linux.
func Check(context.Context, Pod, *namespace.Handle, Attachments, Result) error {
	return feature.NeedsLinux("networks")
}

// Sweep needs Linux.
func Sweep(context.Context, string, func(id string) bool) error {
	return feature.NeedsLinux("networks")
}

// Release needs Linux.
func Release(context.Context, string) error { return feature.NeedsLinux("networks") }

// Stats needs Linux.
func Stats(*namespace.Handle) ([]InterfaceStats, error) { return nil, feature.NeedsLinux("networks") }

// Status needs Linux.
func (c CNI) Status(context.Context) error { return feature.NeedsLinux("networks") }

// GC needs Linux.
func (c CNI) GC(context.Context, ...string) error { return feature.NeedsLinux("networks") }
