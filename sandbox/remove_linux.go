package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/invalid"
	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/internal/tree"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/volume"
)

// Remove destroys the sandbox: its processes, namespaces, volumes, cgroups and
// state. It is idempotent, and so is the package's Remove, which does the same
// without a handle. The handle still has to be closed.
func (s *Sandbox) Remove(ctx context.Context) error {
	return Remove(ctx, s.cfg.StateDir, s.cfg.ID)
}

// Remove destroys the sandbox id of a state directory (empty: DefaultStateDir),
// whatever state it is in: running, half made by a creator that died, half
// removed. It needs nothing but the ID, does every step even if one fails, and
// can be repeated. A sandbox that does not exist is no error.
//
// It waits for a New, Start or Remove of the same sandbox that is under way;
// ctx bounds that, and the time that killed processes take to end.
func Remove(ctx context.Context, stateDir, id string) error {
	stateDir = orDefault(stateDir)
	if err := invalid.ID("ID", id); err != nil {
		return wrap("remove", "", err)
	}
	err := remove(ctx, stateDir, id)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	return wrap("remove", id, err)
}

func remove(ctx context.Context, stateDir, id string) error {
	entry, err := openEntry(stateDir, id)
	if err != nil {
		return err
	}
	defer entry.Close()
	lock, err := entry.Lock(ctx, true)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotExist
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return destroy(ctx, stateDir, id, entry)
}

// destroy is remove for whoever has the lock.
func destroy(ctx context.Context, stateDir, id string, entry *state.Entry) error {
	// What the ID does not tell; without it nothing else was made.
	var in record
	err := entry.Read(stateFile, &in)
	if errors.Is(err, fs.ErrNotExist) {
		if err := requireOurs(entry); err != nil {
			return err
		}
		return entry.Remove(ctx)
	}
	if err != nil {
		return err
	}
	in.Config.ID, in.Config.StateDir = id, stateDir
	in.Config = in.Config.complete()
	r := remover{cfg: &in.Config, made: in.Made, entry: entry, sameBoot: in.BootID == state.BootID()}
	var failed []error
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"processes", r.processes},
		{"network", r.network},
		{"pin", func(context.Context) error {
			err := namespace.Unpin(filepath.Join(stateDir, id, anchorPin))
			// Whatever else is there goes with the state, if nothing is
			// mounted on it.
			return ignore(err, namespace.ErrNotNamespace)
		}},
		{"cgroup", r.cgroup},
		{"data", func(ctx context.Context) error { return removeData(ctx, r.cfg) }},
	}
	for _, step := range steps {
		err := fault.Point("remove." + step.name)
		if err == nil {
			err = step.do(ctx)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", step.name, err))
		}
	}
	if len(failed) > 0 { // the state stays, so that Remove can be repeated
		return errors.Join(failed...)
	}
	if err := fault.Point("remove.state"); err != nil {
		return err
	}
	if err := entry.Remove(ctx); err != nil {
		return err
	}
	return fault.Point("remove.done")
}

// requireOurs refuses a directory that no sandbox has left: with a mistaken
// state directory Remove and Sweep would destroy whatever is there.
func requireOurs(entry *state.Entry) error {
	names, err := entry.Names(".")
	for _, name := range names {
		switch {
		case name == anchorPin, name == storeDir, name == procsDir, strings.HasPrefix(name, "."+stateFile+"."):
		default:
			return fmt.Errorf("is not a sandbox's directory: it has %q in it", name)
		}
	}
	return err
}

// remover is a removal under way.
type remover struct {
	cfg      *Config
	made     *result // nil if New did not come that far
	entry    *state.Entry
	sameBoot bool
}

// processes kills all containers and PID 1, and waits for the keepers, which
// write the last exit records into what is about to go.
func (r *remover) processes(ctx context.Context) error {
	if !r.sameBoot {
		return nil // none of them can be ours
	}
	g, err := cgroup.Open(r.cfg.Cgroup, r.cfg.ID)
	if err != nil {
		return err
	}
	errs := []error{g.Kill(ctx)}
	names, err := r.entry.Names(procsDir)
	errs = append(errs, err)
	for _, name := range names {
		err := fault.Point("remove.keeper")
		if err == nil {
			err = r.endKeeper(ctx, name)
		}
		errs = append(errs, err)
	}
	if r.made != nil && r.made.Init != nil {
		err := fault.Point("remove.init")
		if err == nil {
			err = endProcess(ctx, *r.made.Init)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// endKeeper waits for the keeper of a process that was killed.
func (r *remover) endKeeper(ctx context.Context, name string) error {
	entry, err := r.entry.Open(procsDir, name)
	if err != nil {
		return ignore(err, fs.ErrNotExist) // forgotten meanwhile
	}
	defer entry.Close()
	var st started
	err = entry.Read(startedFile, &st)
	if err == nil {
		// A process that is in no cgroup any more, or never was, goes now.
		err = endProcess(ctx, st.Process)
	}
	// Without the file the keeper never reported, and its child exits by itself.
	if err := ignore(err, fs.ErrNotExist); err != nil {
		return err
	}
	lock, err := entry.Lock(ctx, true) // the keeper's for as long as it lives
	lock.Unlock()
	return ignore(err, fs.ErrNotExist)
}

// endProcess kills a recorded process unless it has ended.
func endProcess(ctx context.Context, p state.Proc) error {
	pidfd, err := p.Open()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer pidfd.Close()
	return killProcess(ctx, pidfd)
}

func (r *remover) cgroup(ctx context.Context) error {
	g, err := cgroup.Open(r.cfg.Cgroup, r.cfg.ID)
	if err != nil {
		return err
	}
	return g.Remove(ctx)
}

// dataDir is where a sandbox has its disk volumes and writable layers.
func dataDir(cfg *Config) string { return filepath.Join(cfg.DataDir, "pods", cfg.ID) }

const (
	volumesDir = "volumes"
	layersDir  = "layers"
)

// volumeDir makes the directory for disk volumes and returns its path.
func (s *Sandbox) volumeDir(v volume.Volume) (string, error) {
	dir := filepath.Join(dataDir(&s.cfg), volumesDir)
	if e, ok := v.Source.(volume.EmptyDir); !ok || e.Medium == volume.MediumMemory {
		return dir, nil // nothing will be made there
	}
	return dir, mkdirData(dir, 0o700)
}

// mkdirData makes a directory in the sandbox's own. The removal of another
// sandbox may take away the parents that it finds empty meanwhile.
func mkdirData(dir string, mode os.FileMode) (err error) {
	for range 100 {
		if err = os.MkdirAll(dir, mode); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// removeData removes what the sandbox has on disk.
func removeData(ctx context.Context, cfg *Config) error {
	var errs []error
	for _, v := range cfg.Volumes {
		err := fault.Point("remove.volume")
		if err == nil {
			err = volume.Remove(ctx, v, filepath.Join(dataDir(cfg), volumesDir))
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := tree.Remove(ctx, cfg.DataDir, filepath.Join("pods", cfg.ID)); err != nil {
		return err
	}
	// What nobody has anything in goes, too; a directory of the caller's stays.
	err := os.Remove(filepath.Join(cfg.DataDir, "pods"))
	if err == nil && cfg.DataDir == DefaultDataDir {
		_ = os.Remove(cfg.DataDir)
	}
	return nil
}
