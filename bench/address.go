package main

import (
	"context"
	"errors"
	"fmt"
)

// addressed is a peer whose pods can have an address: one of IPv4, on a bridge of
// the peer's own that leads to the host and is masqueraded beyond. The jobs of the
// other peers, and its own others, are done without.
type addressed interface {
	peer
	// newAddressed is newPod for a pod with an address.
	newAddressed(ctx context.Context) (pod, error)
	// lifeAddressed is life with such a pod.
	lifeAddressed(ctx context.Context) error
}

// The quantities of jobAddress.
const (
	sandboxAddress quantity = "sandbox with an address"
	removeAddress  quantity = "remove with an address"
	lifeAddress    quantity = "life with an address"
)

var addressTitles = map[quantity]string{
	sandboxAddress: "make a pod sandbox with an address",
	removeAddress:  "remove it",
	lifeAddress:    "a whole life with an address",
}

// addresses times pods with an address: an empty one made and removed, and whole
// lives.
func (p *plan) addresses(ctx context.Context, _ *room, res *results) error {
	for round := range p.rounds + 1 { // the first one warms up
		for _, q := range p.with(jobAddress, round) {
			a, ok := q.(addressed)
			if !ok {
				return fmt.Errorf("BUG: %s has no pods with an address", q.name())
			}
			// The kernel takes the last peer's links away in its own time, under
			// the lock that the next one's need.
			if err := pause(ctx, settle); err != nil {
				return err
			}
			times, err := repeat(func(t map[job][]float64) error { return onePodAddressed(ctx, a, t) })
			if err != nil {
				return fmt.Errorf("%s: %w", q.name(), err)
			}
			if round > 0 {
				res.add(sandboxAddress, q.name(), spreadOf(times[jobSandbox]).median)
				res.add(removeAddress, q.name(), spreadOf(times[jobRemove]).median)
				res.add(lifeAddress, q.name(), spreadOf(times[jobLife]).median)
			}
		}
	}
	return nil
}

func onePodAddressed(ctx context.Context, q addressed, times map[job][]float64) error {
	var made pod
	err := timed(times, jobSandbox, func() (err error) {
		made, err = q.newAddressed(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(
		timed(times, jobRemove, func() error { return made.remove(context.WithoutCancel(ctx)) }),
		timed(times, jobLife, func() error { return q.lifeAddressed(ctx) }))
}

// wholeLifeAddressed is wholeLife with an address.
func wholeLifeAddressed(ctx context.Context, q addressed) error {
	p, err := q.newAddressed(ctx)
	if err != nil {
		return err
	}
	return errors.Join(p.run(ctx), p.remove(context.WithoutCancel(ctx)))
}
