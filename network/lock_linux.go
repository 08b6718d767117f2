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
	return awaitLock(ctx, f)
}

// lockTable takes the lock of the nftables table, which is that of the network
// namespace itself: the table is for the pods of all state directories. Who makes
// it or takes it away has it; elements come and go without.
func lockTable(ctx context.Context) (unlock func(), err error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	return awaitLock(ctx, f)
}

// awaitLock takes the lock of a file, which it closes.
func awaitLock(ctx context.Context, f *os.File) (unlock func(), err error) {
	if err := sys.AwaitFlock(ctx, f, true); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
