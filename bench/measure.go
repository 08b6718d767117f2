package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// plan says what to measure.
type plan struct {
	peers  []peer
	jobs   []job
	rounds int
	pods   []int         // how many shall stand
	limit  time.Duration // how long a peer may take to make them
	heap   int64         // bytes
	mounts int
}

func (p *plan) wants(j job) bool { return slices.Contains(p.jobs, j) }

// with are the peers that have a job, starting with another one each round:
// none has always the same predecessor.
func (p *plan) with(j job, round int) []peer {
	var list []peer
	for i := range p.peers {
		q := p.peers[(i+round)%len(p.peers)]
		if slices.Contains(q.jobs(), j) {
			list = append(list, q)
		}
	}
	return list
}

// slice is how long a quick peer works at a job in one round; the round's number
// is then the median.
const slice = 60 * time.Millisecond

// measure does all jobs with all peers, interleaved. What one job fails at does
// not spoil the others: with an error come the results that there are.
func (p *plan) measure(ctx context.Context, r *room) (*results, error) {
	res := &results{versions: map[string]string{}, rounds: p.rounds, pods: p.pods, values: map[quantity]map[string][]float64{}}
	for _, q := range p.peers {
		res.peers = append(res.peers, q.name())
		version, err := q.version(ctx)
		if err != nil {
			return nil, fmt.Errorf("version of %s: %w", q.name(), err)
		}
		res.versions[q.name()] = version
	}
	var errs []error
	for _, part := range []struct {
		title string
		jobs  []job
		do    func(ctx context.Context, r *room, res *results) error
	}{
		{"one pod after the other", cycle, p.cycles},
		{"whole lives", []job{jobLife}, p.lives},
		{"pods with an address", []job{jobAddress}, p.addresses},
		{"lives at a time", []job{jobMany}, p.many},
		{"foreign mounts", []job{jobMounts}, p.foreignMounts},
		{"large heap", []job{jobHeap}, p.largeHeap},
		{"pods standing", []job{jobStand}, p.stand},
	} {
		if !slices.ContainsFunc(part.jobs, p.wants) {
			continue
		}
		progress("%s", part.title)
		if err := part.do(ctx, r, res); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part.title, err))
		}
		if ctx.Err() != nil {
			return nil, errors.Join(errs...)
		}
	}
	return res, errors.Join(errs...)
}

// cycles times the jobs of a pod, one after the other.
func (p *plan) cycles(ctx context.Context, _ *room, res *results) error {
	wanted := slices.DeleteFunc(slices.Clone(cycle), func(j job) bool { return !p.wants(j) })
	for round := range p.rounds + 1 { // the first one warms up
		for _, q := range p.with(jobStart, round) {
			times, err := repeat(func(t map[job][]float64) error { return onePod(ctx, q, t) })
			if err != nil {
				return fmt.Errorf("%s: %w", q.name(), err)
			}
			for _, j := range wanted {
				if round > 0 && slices.Contains(q.jobs(), j) {
					res.add(quantity(j), q.name(), spreadOf(times[j]).median)
				}
			}
		}
	}
	return nil
}

// repeat calls f again and again for a while, at least once.
func repeat(f func(times map[job][]float64) error) (map[job][]float64, error) {
	times := map[job][]float64{}
	for begin := time.Now(); ; {
		if err := f(times); err != nil {
			return nil, err
		}
		if time.Since(begin) > slice {
			return times, nil
		}
	}
}

// onePod does the jobs of a cycle. Whatever fails, the pod is removed.
func onePod(ctx context.Context, q peer, times map[job][]float64) error {
	var made pod
	err := timed(times, jobSandbox, func() (err error) {
		made, err = q.newPod(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, j := range cycle[1:] {
		err := timed(times, j, func() error { return j.do(ctx, made) })
		if err != nil && j != jobRemove {
			err = errors.Join(err, made.remove(context.WithoutCancel(ctx)))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", titles[j], err)
		}
	}
	return nil
}

func timed(times map[job][]float64, j job, f func() error) error {
	begin := time.Now()
	err := f()
	times[j] = append(times[j], milliseconds(time.Since(begin)))
	return err
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// settle is how long what ends after a life may take to do so.
const settle = 50 * time.Millisecond

// lives times whole lives, and the processor time that they take.
func (p *plan) lives(ctx context.Context, r *room, res *results) error {
	for round := range p.rounds + 1 {
		for _, q := range p.with(jobLife, round) {
			before, err := r.cpuTime()
			if err != nil {
				return err
			}
			times, err := repeat(func(t map[job][]float64) error {
				return timed(t, jobLife, func() error { return q.life(ctx) })
			})
			if err != nil {
				return fmt.Errorf("%s: %w", q.name(), err)
			}
			if err := pause(ctx, settle); err != nil {
				return err
			}
			after, err := r.cpuTime()
			if err != nil {
				return err
			}
			if round > 0 {
				res.add(quantity(jobLife), q.name(), spreadOf(times[jobLife]).median)
				res.add(cpuPerLife, q.name(), milliseconds(after-before)/float64(len(times[jobLife])))
			}
		}
	}
	return nil
}

// concurrent is how many lives are led at a time.
var concurrent = []int{2, 16}

// few is the number of rounds of what takes long.
func (p *plan) few() int { return max(1, p.rounds/3) }

// many times lives led at a time: how long it takes until the last one has
// ended, divided by their number.
func (p *plan) many(ctx context.Context, _ *room, res *results) error {
	for round := range p.few() {
		for _, n := range concurrent {
			for _, q := range p.with(jobMany, round) {
				times, err := repeat(func(t map[job][]float64) error {
					return timed(t, jobMany, func() error { return together(ctx, n, q.life) })
				})
				if err != nil {
					return fmt.Errorf("%d of %s: %w", n, q.name(), err)
				}
				res.add(atATime(n), q.name(), spreadOf(times[jobMany]).median/float64(n))
			}
		}
	}
	return nil
}

// together calls f n times at a time.
func together(ctx context.Context, n int, f func(context.Context) error) error {
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = f(ctx) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// foreignMounts times lives with many mounts on the host, and without.
func (p *plan) foreignMounts(ctx context.Context, r *room, res *results) error {
	for round := range p.few() {
		for _, q := range p.with(jobMounts, round) {
			if err := lifeAs(ctx, q, lifeMounts0, res); err != nil {
				return err
			}
			remove, err := r.mountMany(p.mounts)
			if err != nil {
				return err
			}
			if err := errors.Join(lifeAs(ctx, q, lifeMounts, res), remove()); err != nil {
				return err
			}
		}
	}
	return nil
}

// lifeAs times lives and adds the median to a quantity.
func lifeAs(ctx context.Context, q peer, what quantity, res *results) error {
	times, err := repeat(func(t map[job][]float64) error {
		return timed(t, jobLife, func() error { return q.life(ctx) })
	})
	if err != nil {
		return fmt.Errorf("%s: %w", q.name(), err)
	}
	res.add(what, q.name(), spreadOf(times[jobLife]).median)
	return nil
}
