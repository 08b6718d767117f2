//go:build !linux

package namespace

import (
	"os"

	"github.com/barepod/barepod/internal/feature"
)

var errLinux = feature.NeedsLinux("namespaces")

func openPath(string) (*Handle, error) { return nil, errLinux }

func ofProcess(*os.File, Kind) (*Handle, error) { return nil, errLinux }

func ofThread(Kind) (*Handle, error) { return nil, errLinux }

func fromFile(*os.File) (*Handle, error) { return nil, errLinux }

func dup(*os.File) (*os.File, error) { return nil, errLinux }

func (h *Handle) owner() (*Handle, error) { return nil, errLinux }

func (h *Handle) pin(string) error { return errLinux }

func unpin(string) error { return errLinux }

func do(set Set, _ func() error) error { return wrap("enter", set.Kind(), "", errLinux) }

func unshare(kinds Kind, _ func() error) (Set, error) {
	return nil, wrap("unshare", kinds, "", errLinux)
}
