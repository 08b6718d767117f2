package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/barepod/barepod/network"
	lib "github.com/barepod/barepod/sandbox"
)

// barepod is this library, used as any Go program uses it.
type barepod struct {
	cfg  lib.Config
	root lib.Rootfs
	all  *lib.Sandbox // keeps what all sandboxes of a state directory share
}

func (*barepod) name() string { return "barepod" }
func (*barepod) needs() needs { return needs{} }
func (*barepod) jobs() []job  { return podJobs }

func (*barepod) version(context.Context) (string, error) { return "this tree", nil }

func (b *barepod) open(ctx context.Context, r *room) (err error) {
	b.cfg = lib.Config{
		Name: "bench", StateDir: filepath.Join(r.state, "barepod"), DataDir: filepath.Join(r.dir, "barepod"),
		Cgroup: lib.Cgroup{Parent: "/" + r.group + "/barepod"},
	}
	b.root = lib.Dir{Path: r.root}
	b.all, err = lib.New(ctx, b.cfg)
	return err
}

func (b *barepod) close(ctx context.Context) error {
	return errors.Join(b.all.Remove(ctx), b.all.Close(), lib.Sweep(ctx, b.cfg.StateDir))
}

func (b *barepod) newPod(ctx context.Context) (pod, error) {
	sb, err := lib.New(ctx, b.cfg)
	if err != nil {
		return nil, err
	}
	return &barepodPod{peer: b, sb: sb}, nil
}

// newAddressed gives the pod IPv4 alone, as the others do.
func (b *barepod) newAddressed(ctx context.Context) (pod, error) {
	cfg := b.cfg
	cfg.Networks = network.Attachments{network.Bridge{Subnets: network.DefaultSubnets()[:1]}}
	sb, err := lib.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &barepodPod{peer: b, sb: sb}, nil
}

func (b *barepod) lifeAddressed(ctx context.Context) error { return wholeLifeAddressed(ctx, b) }

func (b *barepod) life(ctx context.Context) error { return wholeLife(ctx, b) }

type barepodPod struct {
	peer *barepod
	sb   *lib.Sandbox
	main *lib.Process
}

func (p *barepodPod) command(path string) *lib.Cmd {
	cmd := p.sb.Command(path)
	cmd.Rootfs = p.peer.root
	return cmd
}

func (p *barepodPod) start(ctx context.Context) (err error) {
	p.main, err = p.command(stayProgram).Start(ctx)
	return err
}

func (p *barepodPod) exec(ctx context.Context) error { return toEnd(ctx, p.main.Exec(trueProgram)) }
func (p *barepodPod) run(ctx context.Context) error  { return toEnd(ctx, p.command(trueProgram)) }

func toEnd(ctx context.Context, cmd *lib.Cmd) error {
	exit, err := cmd.Run(ctx)
	if err == nil && !exit.Success() {
		err = fmt.Errorf("%s: %+v", cmd.Path, exit)
	}
	return err
}

// forget closes the handles, as a program does that makes many pods: every fork
// copies the descriptor table.
func (p *barepodPod) forget() error {
	var err error
	if p.main != nil {
		err = p.main.Close()
	}
	return errors.Join(err, p.sb.Close())
}

func (p *barepodPod) remove(ctx context.Context) error {
	return errors.Join(lib.Remove(ctx, p.peer.cfg.StateDir, p.sb.ID()), p.forget())
}
