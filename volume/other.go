//go:build !linux

package volume

import (
	"context"
	"os"

	"github.com/barepod/barepod/internal/feature"
)

// Make needs Linux.
func Make(context.Context, Volume, string) (*Mounted, error) {
	return nil, feature.NeedsLinux("volumes")
}

// Remove needs Linux.
func Remove(context.Context, Volume, string) error { return feature.NeedsLinux("volumes") }

// UsageOf needs Linux.
func UsageOf(context.Context, Volume, *os.File, string) (Usage, error) {
	return Usage{}, feature.NeedsLinux("volumes")
}
