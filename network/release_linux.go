package network

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/nftables"
)

// Files beside the leases.
const (
	bridgeFile = "bridge"
	// bridgeLock is held by who makes or removes the bridge.
	bridgeLock = "bridge.lock"
)

// bridgeRecord is the content of bridgeFile: what is known of a bridge when
// nobody has its settings any more. It is there before the bridge.
type bridgeRecord struct {
	MAC     string   `json:"mac"`
	Subnets []Subnet `json:"subnets"`
}

// readBridge returns the record; an empty one if no bridge was made yet.
func readBridge(dir string) (r bridgeRecord, err error) {
	err = readJSON(filepath.Join(dir, bridgeFile), &r)
	return r, ignore(err, fs.ErrNotExist)
}

// releaseBridge removes a bridge of the state directory, unless a pod has a
// lease.
func releaseBridge(ctx context.Context, host *conn, stateDir, name string) error {
	dir := networkDir(stateDir, name)
	unlock, err := lock(ctx, filepath.Join(dir, bridgeLock))
	if err != nil {
		return err
	}
	defer unlock()
	if holders, err := os.ReadDir(filepath.Join(dir, holdersName)); len(holders) > 0 || ignore(err, fs.ErrNotExist) != nil {
		return err
	}
	record, err := readBridge(dir)
	if err != nil {
		return err
	}
	link, err := host.link(name)
	if err == nil && link.Type() == "bridge" && link.Attrs().HardwareAddr.String() == record.MAC {
		err = host.deleteLink(name)
	}
	if ignore(err, errNoLink) != nil {
		return err
	}
	if err := forgetBridge(ctx, name, record.Subnets); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// forgetBridge takes a bridge out of the table, and the table away if it was the
// last.
func forgetBridge(ctx context.Context, name string, subnets []Subnet) error {
	unlock, err := lockTable(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := nftables.New()
	if err != nil {
		return err
	}
	if err := bridgeElements(name, subnets).batch(c.SetDeleteElements); err != nil {
		return err
	}
	if err := ignore(c.Flush(), syscall.ENOENT); err != nil {
		return err
	}
	if there, err := hasTable(c); err != nil || !there {
		return err
	}
	t := newTable()
	left, err := c.GetSetElements(newBridges(t))
	if err != nil || len(left) > 0 {
		return err
	}
	c.DelTable(t)
	return ignore(c.Flush(), syscall.ENOENT)
}
