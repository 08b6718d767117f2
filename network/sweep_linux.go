package network

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
)

// Sweep takes back what pods of a state directory have that no longer exist and
// that nobody can call Detach for: leases, rules, links that somebody keeps
// alive by the namespace they lead to, pins, and what CNI plugins have made. exists is asked about every pod that has
// anything; one that is being attached exists.
//
// It looks at all pods, and is not for the hot path.
func Sweep(ctx context.Context, stateDir string, exists func(id string) bool) error {
	return wrap("sweep", "", sweep(ctx, stateDir, exists))
}

func sweep(ctx context.Context, stateDir string, exists func(id string) bool) error {
	return errors.Join(
		eachBridge(stateDir, func(host *conn, name string) error {
			return errors.Join(
				sweepLinks(host, stateDir, name, exists),
				sweepLeases(ctx, networkDir(stateDir, name), exists))
		}),
		sweepPins(ctx, stateDir, exists))
}

// eachBridge calls do for each bridge of a state directory, whatever came of the
// others.
func eachBridge(stateDir string, do func(host *conn, name string) error) error {
	dirs, err := os.ReadDir(filepath.Join(stateDir, networksName))
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	host, err := dial()
	if err != nil {
		return err
	}
	defer host.Close()
	var errs []error
	for _, d := range dirs {
		errs = append(errs, do(host, d.Name()))
	}
	return errors.Join(errs...)
}

// sweepLinks deletes the ports of a bridge that lead to no pod.
func sweepLinks(host *conn, stateDir, bridge string, exists func(id string) bool) error {
	br, err := host.link(bridge)
	if err != nil {
		return ignore(err, errNoLink)
	}
	if record, err := readBridge(networkDir(stateDir, bridge)); err != nil || br.Attrs().HardwareAddr.String() != record.MAC {
		return err // not ours
	}
	links, err := dump((&netlink.Handle{}).LinkList)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		a := l.Attrs()
		id, _, named := strings.Cut(a.Alias, " ")
		// One without its alias is being made, or its maker died before it led
		// anywhere; its namespace is gone with it.
		if a.MasterIndex == br.Attrs().Index && strings.HasPrefix(a.Name, hostPrefix) && named && !exists(id) {
			errs = append(errs, host.deleteLink(a.Name))
		}
	}
	return errors.Join(errs...)
}

// sweepLeases gives back the leases of pods that are gone, and takes out their
// rules before.
func sweepLeases(ctx context.Context, dir string, exists func(id string) bool) error {
	holders, err := os.ReadDir(filepath.Join(dir, holdersName))
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	var errs []error
	for _, h := range holders {
		parts := strings.Split(h.Name(), "@")
		if len(parts) != 3 || exists(parts[0]) {
			continue
		}
		id, ifname := parts[0], parts[1]
		err := removeElementsOf(heldBy(dir, id, ifname))
		if err == nil {
			err = unlease(ctx, dir, id, ifname)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
