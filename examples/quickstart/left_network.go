//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"

	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/sandbox"
)

// tableName is what the library's nftables table is called.
const tableName = "barepod"

// ownNetwork returns what there is of a pod's network: links, leases, and
// elements of the nftables table.
func ownNetwork(id string, m made) ([]string, error) {
	var left []string
	aliases, err := filepath.Glob("/sys/class/net/*/ifalias")
	if err != nil {
		return nil, err
	}
	for _, file := range aliases {
		alias, _ := os.ReadFile(file) // nothing if the link goes
		if strings.Contains(string(alias), id) {
			left = append(left, "link "+filepath.Base(filepath.Dir(file)))
		}
	}
	err = filepath.WalkDir(filepath.Join(sandbox.DefaultStateDir, ".network"), func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		content, _ := os.ReadFile(path) // nothing of a directory
		if strings.Contains(filepath.Base(path), id) || strings.Contains(string(content), id) {
			left = append(left, "lease "+path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	elements, err := elements()
	for _, e := range elements {
		if m.leads(e) {
			left = append(left, "element of the nftables table "+tableName)
		}
	}
	return left, err
}

// leads reports whether an element makes the host port lead to the pod. Another
// pod may have the address by now, or the port, but not both.
func (m made) leads(e nftables.SetElement) bool {
	if !bytes.Contains(e.Key, binary.BigEndian.AppendUint16(nil, m.HostPort.Port())) {
		return false
	}
	for _, ip := range m.IPs {
		if bytes.HasPrefix(e.Val, ip.AsSlice()) {
			return true
		}
	}
	return false
}

// sharedNetwork returns what pods share of the network: the bridge and, unless
// the bridges of other state directories need it, the table.
func sharedNetwork() ([]string, error) {
	var left []string
	if _, err := net.InterfaceByName(network.DefaultBridge); err == nil {
		left = append(left, "link "+network.DefaultBridge)
	}
	all, err := elements()
	if err != nil {
		return nil, err
	}
	if all != nil && len(all) == 0 {
		left = append(left, "nftables table "+tableName)
	}
	for _, e := range all {
		if strings.TrimRight(string(e.Key), "\x00") == network.DefaultBridge {
			left = append(left, "nftables table "+tableName+" with "+network.DefaultBridge)
		}
	}
	return left, nil
}

// elements returns those of all sets and maps of the table; nil if there is no
// table.
func elements() ([]nftables.SetElement, error) {
	all, err := listElements()
	for _, none := range []error{
		syscall.ENOENT,                          // it has just gone
		syscall.EINVAL, syscall.EPROTONOSUPPORT, // the kernel has no nf_tables
	} {
		if errors.Is(err, none) {
			return nil, nil
		}
	}
	return all, err
}

func listElements() ([]nftables.SetElement, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName })
	if i < 0 {
		return nil, nil
	}
	sets, err := c.GetSets(tables[i])
	all := []nftables.SetElement{}
	for _, s := range sets {
		some, err := c.GetSetElements(s)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, err
}
