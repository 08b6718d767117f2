package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/barepod/barepod/internal/cgroup"
	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/launch"
	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/internal/undo"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/volume"
)

// Sandbox is a handle of a pod's shared context. Its methods may be called from
// several goroutines.
type Sandbox struct {
	cfg       Config
	createdAt time.Time
	res       result
	entry     *state.Entry
	anchor    *namespace.Handle
	shared    namespace.Set // net, ipc, uts, and pid if shared
	cgroup    *cgroup.Group
	lifeline  *lifeline   // of DieWithCreator
	init      *launch.Run // of PID 1, until it is committed, or with DieWithCreator for good
	pid1      *os.File    // pidfd of PID 1, while New works

	close sync.Once
}

// New makes a sandbox. If it fails, nothing of the sandbox is left; what could
// not be undone is part of the error, and Remove finishes it.
//
// The context bounds the call, never the sandbox: once New has returned, the
// end of ctx does not affect it. New needs root (CAP_SYS_ADMIN, and CAP_MKNOD
// for the first sandbox of a state directory).
//
// The caller must Close the handle; Remove destroys the sandbox.
func New(ctx context.Context, cfg Config) (*Sandbox, error) {
	cfg = cfg.complete()
	if err := cfg.validate(); err != nil {
		return nil, wrap("new", "", err)
	}
	s, err := create(ctx, cfg)
	return s, wrap("new", cfg.ID, err)
}

func create(ctx context.Context, cfg Config) (_ *Sandbox, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Sandbox{cfg: cfg, createdAt: time.Now()}
	lock, err := s.claim(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock() // when all is undone, if it has to be
	var u undo.Stack
	defer func() {
		if err != nil {
			err = u.Unwind(ctx, err)
		}
	}()
	u.Push("close", func(context.Context) error { return s.Close() })
	u.Push("remove state", s.entry.Remove)
	// Only now: what sandboxes share stays as long as there is an entry.
	if err := keepParent(cfg.StateDir, cfg.Cgroup); err != nil {
		return nil, err
	}
	nursery, err := openNursery(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	defer nursery.Close()
	if err := s.make(ctx, nursery, lock, &u); err != nil {
		return nil, err
	}
	u.Release()
	closeAll(s.pid1)
	return s, nil
}

// claim takes the ID: by mkdir, and then the lock.
func (s *Sandbox) claim(ctx context.Context) (lock *state.Lock, err error) {
	for range 100 { // some sweeps at once can be that unlucky
		s.entry, err = state.Create(s.cfg.StateDir, s.cfg.ID)
		if errors.Is(err, fs.ErrExist) {
			return nil, ErrExist
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // a Sweep took it between mkdir and open
		}
		if err != nil {
			return nil, err
		}
		if err = fault.Point("new.claimed"); err == nil {
			lock, err = s.entry.Lock(ctx, true)
		}
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, s.entry.Remove(context.WithoutCancel(ctx)), s.entry.Close())
		}
		if err := s.entry.Close(); err != nil {
			return nil, err
		}
		// A Sweep took the directory for a dead creator's, before it was
		// locked: again.
	}
	return nil, fmt.Errorf("%s keeps being swept away: %w", s.cfg.ID, ErrIncomplete)
}

// make does the steps of New from the intent to the commit.
func (s *Sandbox) make(ctx context.Context, nursery *namespace.Handle, lock *state.Lock, u *undo.Stack) error {
	var rec record
	return runSteps(ctx, "new", []step{
		{"intent", func() error {
			creator, err := state.Self()
			if err != nil {
				return err
			}
			rec = record{Version: stateVersion, BootID: state.BootID(), CreatedAt: s.createdAt, Creator: creator, Config: s.cfg}
			return s.entry.Write(stateFile, rec)
		}},
		{"cgroup", func() error { return s.makeCgroup(u) }},
		{"anchor", func() error { return s.makeAnchor(ctx, nursery, u) }},
		{"network", func() error { return s.attachNetwork(ctx, u) }},
		{"init", func() error { return s.startInit(ctx, nursery, lock, u) }},
		{"lifeline", s.openLifeline},
		{"result", func() error {
			rec.Made = &s.res
			return s.entry.Write(stateFile, rec)
		}},
		{"pin", func() error {
			u.Push("unpin", func(context.Context) error { return namespace.Unpin(s.pinPath()) })
			return s.anchor.Pin(s.pinPath())
		}},
		{"commit", s.commitInit},
	})
}

// step is one of those that a call consists of.
type step struct {
	name string
	do   func() error
}

// runSteps does one step after the other, each behind a fault point of its name,
// until one fails or ctx ends.
func runSteps(ctx context.Context, call string, steps []step) error {
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fault.Point(call + "." + step.name); err != nil {
			return err
		}
		if err := step.do(); err != nil {
			return err
		}
	}
	return fault.Point(call + ".done")
}

func (s *Sandbox) pinPath() string { return filepath.Join(s.cfg.StateDir, s.cfg.ID, anchorPin) }

func (s *Sandbox) makeCgroup(u *undo.Stack) error {
	g, err := cgroup.Create(s.cfg.Cgroup, s.cfg.ID)
	if err != nil {
		return err
	}
	s.cgroup = g
	u.Push("remove cgroup", g.Remove)
	if s.cfg.Resources == (Resources{}) {
		return nil
	}
	return g.Set(s.cfg.Resources)
}

// makeAnchor makes the volumes and the namespaces.
func (s *Sandbox) makeAnchor(ctx context.Context, nursery *namespace.Handle, u *undo.Stack) error {
	a := &anchor{cfg: &s.cfg, nursery: nursery, cgroup: s.cgroup, etc: s.cfg.etc(readHostFiles())}
	defer func() {
		for _, v := range a.volumes {
			_ = v.File.Close()
		}
	}()
	if len(s.cfg.Volumes) > 0 {
		u.Push("remove volumes", func(ctx context.Context) error { return removeData(ctx, &s.cfg) })
	}
	for _, v := range s.cfg.Volumes {
		dir, err := s.volumeDir(v)
		if err != nil {
			return err
		}
		if err := fault.Point("new.volume"); err != nil {
			return err
		}
		m, err := volume.Make(ctx, v, dir)
		if err != nil {
			return err
		}
		a.volumes = append(a.volumes, m)
		if !m.Dir {
			s.res.FileVolumes = append(s.res.FileVolumes, v.Name)
		}
	}
	if err := fault.Point("new.namespaces"); err != nil {
		return err
	}
	if err := a.build(); err != nil {
		return err
	}
	s.anchor, s.shared = a.mnt, a.context
	s.res.Anchor = a.mnt.ID()
	s.res.Namespaces = map[namespace.Kind]namespace.ID{}
	for _, h := range s.shared {
		s.res.Namespaces[h.Kind()] = h.ID()
	}
	return nil
}

// creatorAlive reports whether the process that called New still runs.
func creatorAlive(creator state.Proc) (bool, error) {
	f, err := openRunning(creator)
	closeAll(f)
	return f != nil, err
}

// Open returns a handle of an existing sandbox, after verifying that its
// namespaces are the recorded ones. An empty stateDir means DefaultStateDir.
// The error matches ErrNotExist if there is none of this ID, and ErrIncomplete
// if its creator did not finish it. The caller must Close the handle.
func Open(ctx context.Context, stateDir, id string) (*Sandbox, error) {
	s, err := open(ctx, orDefault(stateDir), id)
	return s, wrap("open", id, err)
}

func orDefault(stateDir string) string {
	if stateDir == "" {
		return DefaultStateDir
	}
	return stateDir
}

func open(ctx context.Context, stateDir, id string) (_ *Sandbox, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entry, err := openEntry(stateDir, id)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{entry: entry}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	var in record
	if err := entry.Read(stateFile, &in); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrIncomplete
	} else if err != nil {
		return nil, err
	}
	if in.Version != stateVersion {
		return nil, fmt.Errorf("state of version %d, not %d", in.Version, stateVersion)
	}
	if in.BootID != state.BootID() {
		return nil, fmt.Errorf("made before the last boot: %w", ErrIncomplete)
	}
	s.cfg, s.createdAt = in.Config, in.CreatedAt
	s.cfg.StateDir = stateDir // as it is reached now
	if in.Made == nil {
		return nil, ErrIncomplete
	}
	s.res = *in.Made
	if s.cgroup, err = cgroup.Open(s.cfg.Cgroup, s.cfg.ID); err != nil {
		return nil, err
	}
	if err := s.openNamespaces(); err != nil {
		return nil, err
	}
	return s, s.openLifeline()
}

func openEntry(stateDir, id string) (*state.Entry, error) {
	entry, err := state.OpenEntry(stateDir, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotExist
	}
	return entry, err
}

// openNamespaces opens the anchor and what it pins, and compares them with the
// record.
func (s *Sandbox) openNamespaces() (err error) {
	s.anchor, err = namespace.Open(s.pinPath())
	if errors.Is(err, fs.ErrNotExist) {
		return ErrIncomplete
	}
	if errors.Is(err, namespace.ErrNotNamespace) {
		// The file without the mount: killed while pinning or removing.
		return fmt.Errorf("%w (%w)", ErrIncomplete, err)
	}
	if err != nil {
		return err
	}
	if s.anchor.Kind() != namespace.Mount || s.anchor.ID() != s.res.Anchor {
		return fmt.Errorf("anchor is %v, not the recorded mnt:[%d]", s.anchor, s.res.Anchor.Ino)
	}
	if s.shared, err = openPins(s.anchor, s.cfg.ShareProcessNamespace); err != nil {
		return err
	}
	for _, h := range s.shared {
		if want := s.res.Namespaces[h.Kind()]; h.ID() != want {
			return fmt.Errorf("namespace is %v, not the recorded %v:[%d]", h, h.Kind(), want.Ino)
		}
	}
	return nil
}

// List returns the IDs of all sandboxes in a state directory, sorted, also of
// those that can only be removed. An empty stateDir means DefaultStateDir; one
// that does not exist has none.
func List(stateDir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for id, err := range state.List(orDefault(stateDir)) {
			if !yield(id, wrap("list", id, err)) {
				return
			}
		}
	}
}

// ID returns the sandbox's ID.
func (s *Sandbox) ID() string { return s.cfg.ID }

// Name returns the pod's name.
func (s *Sandbox) Name() string { return s.cfg.Name }

// Config returns a copy of the configuration, defaults filled in.
func (s *Sandbox) Config() Config { return s.cfg.clone() }

// Namespace returns a handle of one of the namespaces that the containers
// share: net, ipc, uts, and pid with ShareProcessNamespace. The caller must
// close it. It stays valid after Close and Remove: the namespace lives as long
// as somebody holds it.
func (s *Sandbox) Namespace(kind namespace.Kind) (*namespace.Handle, error) {
	h := s.shared.Of(kind)
	if h == nil {
		return nil, wrap("namespace", s.cfg.ID, &UnsupportedError{
			Feature: fmt.Sprintf("the %v namespace of a pod", kind),
			Needs:   "one that the containers share",
		})
	}
	dup, err := h.Dup()
	return dup, wrap("namespace", s.cfg.ID, err)
}

// Do runs fn in the pod's net, IPC and UTS namespaces, on an OS thread of its
// own, and returns its error. Goroutines that fn starts are not in them, and
// neither are connections that other goroutines make for it (net.Dialer tries
// addresses in parallel). A panic in fn is returned as an error.
func (s *Sandbox) Do(fn func() error) error {
	var set namespace.Set
	for kind := range contextKinds.Kinds() {
		if h := s.shared.Of(kind); h != nil {
			set = append(set, h)
		}
	}
	return set.Do(fn)
}

// Stats returns what all containers together use.
func (s *Sandbox) Stats(ctx context.Context) (PodStats, error) {
	if err := ctx.Err(); err != nil {
		return PodStats{}, wrap("stats", s.cfg.ID, err)
	}
	stats, err := s.cgroup.Stats()
	if err != nil {
		return PodStats{}, wrap("stats", s.cfg.ID, err)
	}
	interfaces, err := s.interfaceStats()
	return PodStats{Stats: stats, Interfaces: interfaces}, wrap("stats", s.cfg.ID, err)
}

// Close drops the handle; the sandbox stays, unless it has DieWithCreator. It
// is idempotent.
func (s *Sandbox) Close() error {
	var err error
	s.close.Do(func() {
		if s.anchor != nil {
			err = s.anchor.Close()
		}
		err = errors.Join(err, s.shared.Close(), s.lifeline.Close())
		if s.init != nil {
			err = errors.Join(err, s.init.Close())
		}
		closeAll(s.pid1)
		if s.entry != nil {
			err = errors.Join(err, s.entry.Close())
		}
	})
	return wrap("close", s.cfg.ID, err)
}
