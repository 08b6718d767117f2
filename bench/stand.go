package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// stand times a life beside many standing pods, each with a container in it, and
// what those pods take of memory.
func (p *plan) stand(ctx context.Context, r *room, res *results) error {
	var errs []error
	for _, q := range p.with(jobStand, 0) {
		s := standingPods{plan: p, room: r, peer: q, res: res}
		err := s.measure(ctx)
		err = errors.Join(err, s.removeAll(context.WithoutCancel(ctx)))
		if err == nil {
			// Once more beside none: the machine may be another by now.
			err = s.lives(ctx, 1)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", q.name(), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// standingPods is the pods of one peer.
type standingPods struct {
	plan *plan
	room *room
	peer peer
	res  *results
	pods []pod
}

func (s *standingPods) measure(ctx context.Context) error {
	if err := s.lives(ctx, 1); err != nil {
		return err
	}
	before, err := s.room.memory()
	if err != nil {
		return err
	}
	if d, ok := s.peer.(interface{ daemon() int }); ok {
		s.res.add(memDaemon, s.peer.name(), before.pss[d.daemon()])
	}
	begin := time.Now()
	for _, n := range s.plan.pods {
		if made := len(s.pods); made > 0 {
			if took := time.Since(begin); took*time.Duration(n)/time.Duration(made) > s.plan.limit {
				progress("%s would take too long to make %d pods", s.peer.name(), n)
				return nil
			}
		}
		for len(s.pods) < n-1 {
			if err := s.add(ctx); err != nil {
				return err
			}
			if time.Since(begin) > s.plan.limit {
				progress("%s has made %d pods in %v: it is not asked for %d", s.peer.name(), len(s.pods), s.plan.limit, n)
				return nil
			}
		}
		if err := s.lives(ctx, n); err != nil {
			return err
		}
		after, err := s.room.memory()
		if err != nil {
			return err
		}
		helpers, kernel := after.since(before)
		s.res.add(memHelpers, s.peer.name(), helpers/float64(n-1))
		s.res.add(memKernel, s.peer.name(), kernel/float64(n-1))
	}
	return nil
}

// lives times lives of the nth pod.
func (s *standingPods) lives(ctx context.Context, n int) error {
	for range s.plan.few() {
		if err := lifeAs(ctx, s.peer, standing(n), s.res); err != nil {
			return err
		}
	}
	return nil
}

func (s *standingPods) add(ctx context.Context) error {
	made, err := s.peer.newPod(ctx)
	if err != nil {
		return err
	}
	s.pods = append(s.pods, made)
	if err := made.start(ctx); err != nil {
		return err
	}
	return made.forget()
}

func (s *standingPods) removeAll(ctx context.Context) error {
	var errs []error
	for _, p := range s.pods {
		errs = append(errs, p.remove(ctx))
	}
	return errors.Join(errs...)
}

// memory is what the processes of the room and the kernel have, in KiB.
type memory struct {
	pss    map[int]float64 // by process, without the containers' own
	kernel float64
}

func (r *room) memory() (memory, error) {
	m := memory{pss: map[int]float64{}}
	pids, err := r.processes()
	if err != nil {
		return m, err
	}
	for _, pid := range pids {
		if pid == os.Getpid() || strings.HasPrefix(commandLine(pid), stayProgram) {
			continue
		}
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if errors.Is(err, os.ErrNotExist) {
			continue // ended meanwhile
		}
		if err != nil {
			return m, err
		}
		if m.pss[pid], err = field(data, "Pss"); err != nil {
			continue // a process that is ending has no memory
		}
	}
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return m, err
	}
	for _, key := range []string{"Slab", "KernelStack", "PageTables", "Percpu"} {
		n, err := field(data, key)
		if err != nil {
			return m, err
		}
		m.kernel += n
	}
	return m, nil
}

// field is a number of a file such as /proc/meminfo, in KiB.
func field(data []byte, key string) (float64, error) {
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), key+":"); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", key)
}

// since is what helper processes and the kernel have more than before.
func (m memory) since(before memory) (helpers, kernel float64) {
	for pid, n := range m.pss {
		if _, ok := before.pss[pid]; !ok {
			helpers += n
		}
	}
	return helpers, m.kernel - before.kernel
}
