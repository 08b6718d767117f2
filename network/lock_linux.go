package network

import (
	"context"
	"errors"
	"os"

	"github.com/barepod/barepod/internal/sys"
)

// lock takes the exclusive flock(2) of a file, which it makes if need be, and
// gives up when ctx ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := sys.AwaitFlock(ctx, f, true); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
