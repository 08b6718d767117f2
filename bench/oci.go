package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/barepod/barepod/namespace"
)

// oci is an OCI runtime. It knows no pods, so its containers join namespaces
// that are made for them here, as those of a pod do where a container manager
// calls the runtime; a life is a container with namespaces of its own.
type oci struct {
	title, program string
	packages       []string
	builds         []build

	room  *room
	path  string // of the program
	root  string // its state
	count atomic.Int64
}

func (o *oci) name() string { return o.title }
func (o *oci) needs() needs { return needs{o.packages, o.builds} }
func (o *oci) jobs() []job  { return append([]job{jobStart, jobExec, jobRun}, containerJobs...) }

func (o *oci) version(ctx context.Context) (string, error) {
	out, err := o.room.legacy.run(ctx, nil, o.path, "--version")
	line, _, _ := strings.Cut(out, "\n")
	return strings.TrimPrefix(line, o.program+" version "), err
}

func (o *oci) open(_ context.Context, r *room) error {
	o.room, o.path = r, o.program
	for _, b := range o.builds {
		o.path = b.program()
	}
	o.root = filepath.Join(r.state, o.title)
	return nil
}

func (*oci) close(context.Context) error { return nil }

// bundle makes a bundle whose container runs program and joins the namespaces
// of the set, or has all of its own.
func (o *oci) bundle(name, program string, join namespace.Set) (string, error) {
	dir, err := o.room.path(o.title, name)
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(ociSpec(o.room.root, program, join, o.room.group+"/"+o.title+"/"+name))
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600)
}

// call runs the runtime.
func (o *oci) call(ctx context.Context, args ...string) error {
	return o.room.legacy.detach(ctx, nil, o.path, append([]string{"--root", o.root}, args...)...)
}

func (o *oci) id() string { return fmt.Sprintf("%s-%d-%d", o.title, os.Getpid(), o.count.Add(1)) }

func (o *oci) life(ctx context.Context) error {
	id := o.id()
	bundle, err := o.bundle(id, trueProgram, nil)
	if err != nil {
		return err
	}
	return errors.Join(o.call(ctx, "run", "--bundle", bundle, id), os.RemoveAll(bundle))
}

func (o *oci) newPod(context.Context) (pod, error) {
	p := &ociPod{oci: o, id: o.id()}
	var err error
	if p.namespaces, err = namespace.Unshare(namespace.Net|namespace.IPC|namespace.UTS, nil); err != nil {
		return nil, err
	}
	if p.stay, err = o.bundle(p.id+"-stay", stayProgram, p.namespaces); err != nil {
		return nil, err
	}
	p.ends, err = o.bundle(p.id+"-true", trueProgram, p.namespaces)
	return p, err
}

// ociPod is namespaces to join, and the container in them that stays.
type ociPod struct {
	*oci
	id         string
	stay, ends string // bundles
	namespaces namespace.Set
}

func (p *ociPod) start(ctx context.Context) error {
	return p.call(ctx, "run", "--detach", "--bundle", p.stay, p.id)
}

func (p *ociPod) exec(ctx context.Context) error { return p.call(ctx, "exec", p.id, trueProgram) }

func (p *ociPod) run(ctx context.Context) error {
	return p.call(ctx, "run", "--bundle", p.ends, p.oci.id())
}

func (p *ociPod) remove(ctx context.Context) error {
	return errors.Join(p.call(ctx, "delete", "--force", p.id), p.namespaces.Close(), os.RemoveAll(p.stay), os.RemoveAll(p.ends))
}

func (p *ociPod) forget() error { return nil }
