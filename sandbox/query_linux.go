package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/program"
	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/internal/sys"
	"github.com/barepod/barepod/volume"
)

// Status returns the sandbox as it is now. With a network.CNI that has its plugins
// executed (CHECK), whatever time they take.
func (s *Sandbox) Status(ctx context.Context) (Status, error) {
	st, err := s.status(ctx)
	return st, wrap("status", s.cfg.ID, err)
}

func (s *Sandbox) status(ctx context.Context) (Status, error) {
	if err := ctx.Err(); err != nil {
		return Status{}, err
	}
	if err := exists(s.entry); err != nil {
		return Status{}, err
	}
	st := Status{
		ID: s.cfg.ID, Name: s.cfg.Name, Hostname: s.cfg.Hostname, CreatedAt: s.createdAt,
		Namespaces: map[string]uint64{}, Cgroup: s.cgroup.Path(),
		Labels: maps.Clone(s.cfg.Labels), Annotations: maps.Clone(s.cfg.Annotations),
	}
	for kind, id := range s.res.Namespaces {
		st.Namespaces[kind.String()] = id.Ino
	}
	for _, v := range s.cfg.Volumes {
		st.Volumes = append(st.Volumes, v.Name)
	}
	if s.res.Init != nil {
		pidfd, err := openRunning(*s.res.Init)
		if err != nil {
			return Status{}, err
		}
		if pidfd != nil {
			st.InitPID = s.res.Init.PID
			closeAll(pidfd)
		}
	}
	if err := s.networkStatus(ctx, &st); err != nil {
		return Status{}, err
	}
	names, err := s.entry.Names(procsDir)
	if err != nil {
		return Status{}, err
	}
	for _, name := range names {
		p, err := s.processStatus(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // forgotten meanwhile
		}
		if err != nil {
			return Status{}, err
		}
		st.Processes = append(st.Processes, p)
	}
	return st, nil
}

// exists is ErrNotExist if what the entry is of was removed.
func exists(entry *state.Entry) error {
	err := entry.Exists()
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotExist
	}
	return err
}

func (s *Sandbox) processStatus(name string) (ProcessStatus, error) {
	entry, err := s.entry.Open(procsDir, name)
	if err != nil {
		return ProcessStatus{}, err
	}
	defer entry.Close()
	return readStatus(entry, name)
}

// Usage returns what a volume occupies. For an EmptyDir on disk without a
// SizeLimit all its directories are read. A HostPath is not the pod's own: the
// error matches errors.ErrUnsupported.
func (s *Sandbox) Usage(ctx context.Context, name string) (volume.Usage, error) {
	u, err := s.usage(ctx, name)
	return u, wrap("usage", s.cfg.ID, err)
}

func (s *Sandbox) usage(ctx context.Context, name string) (u volume.Usage, err error) {
	i := slices.IndexFunc(s.cfg.Volumes, func(v volume.Volume) bool { return v.Name == name })
	if i < 0 {
		return u, &invalid.Error{Field: "volume", Value: name, Reason: "must be one of the pod's"}
	}
	var mount *os.File
	err = s.anchor.Do(func() (err error) {
		mount, err = sys.OpenPath(nil, program.AnchorVolumes+"/"+name, false)
		return err
	})
	if err != nil {
		return u, err
	}
	defer mount.Close()
	return volume.UsageOf(ctx, s.cfg.Volumes[i], mount, filepath.Join(dataDir(&s.cfg), volumesDir))
}

// StorePut keeps the JSON of v under a name, an RFC 1123 label, together with
// the sandbox's state: for packages and programs that build on sandboxes. It
// replaces what was there, atomically, and goes with the sandbox.
func (s *Sandbox) StorePut(name string, v any) error {
	if err := invalid.Label("name", name); err != nil {
		return wrap("store", s.cfg.ID, err)
	}
	err := s.entry.Mkdir(storeDir)
	if err == nil {
		err = s.entry.Write(storeDir+"/"+name, v)
	}
	return wrap("store", s.cfg.ID, err)
}

// StoreGet reads into v what StorePut has kept under a name. The error matches
// fs.ErrNotExist if there is nothing.
func (s *Sandbox) StoreGet(name string, v any) error {
	if err := invalid.Label("name", name); err != nil {
		return wrap("store", s.cfg.ID, err)
	}
	return wrap("store", s.cfg.ID, s.entry.Read(storeDir+"/"+name, v))
}
