package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// largeHeap times lives that a program with a large heap leads, and one with a
// small heap: both are this program, started once more each.
func (p *plan) largeHeap(ctx context.Context, r *room, res *results) (err error) {
	var names []string
	for _, q := range p.with(jobHeap, 0) {
		names = append(names, q.name())
	}
	workers := map[quantity]*worker{}
	for what, heap := range map[quantity]int64{lifeHeap0: 0, lifeHeap: p.heap} {
		w, err := startWorker(ctx, r, strings.Join(names, ","), heap)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.stop()) }()
		workers[what] = w
	}
	for round := range p.few() + 1 {
		for _, q := range p.with(jobHeap, round) {
			for what, w := range workers {
				took, err := w.life(q.name())
				if err != nil {
					return err
				}
				if round > 0 {
					res.add(what, q.name(), took)
				}
			}
		}
	}
	return nil
}

// worker is this program in another process, which leads lives when it is told.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startWorker(ctx context.Context, r *room, peers string, heap int64) (*worker, error) {
	w := &worker{cmd: exec.CommandContext(ctx, "/proc/self/exe", asWorker, r.dir, r.group, r.legacy.path(), peers, strconv.FormatInt(heap, 10))}
	w.cmd.Stderr = os.Stderr
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewScanner(out)
	return w, w.cmd.Start()
}

// life has the worker lead lives with a peer, and returns how long one took.
func (w *worker) life(peer string) (float64, error) {
	if _, err := fmt.Fprintln(w.in, peer); err != nil {
		return 0, err
	}
	if !w.out.Scan() {
		return 0, errors.Join(errors.New("the worker has ended"), w.out.Err())
	}
	return strconv.ParseFloat(w.out.Text(), 64)
}

func (w *worker) stop() error { return errors.Join(w.in.Close(), w.cmd.Wait()) }

// work is the worker: it uses a room that is there.
func work(ctx context.Context, args []string) (err error) {
	if len(args) != 5 {
		return errors.New("BUG: arguments of the worker")
	}
	peers, err := choosePeers(args[3])
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(args[4], 10, 64)
	if err != nil {
		return err
	}
	r, err := visitRoom(args[0], args[1], args[2])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.leave()) }()
	closeAll, err := openPeers(ctx, r, peers)
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return err
	}
	heap := make([]byte, size)
	for i := 0; i < len(heap); i += os.Getpagesize() {
		heap[i] = 1
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		res := &results{values: map[quantity]map[string][]float64{}}
		for _, p := range peers {
			if p.name() == in.Text() {
				err = lifeAs(ctx, p, lifeHeap, res)
			}
		}
		if err != nil {
			return err
		}
		fmt.Println(res.median(lifeHeap, in.Text()))
	}
	runtime.KeepAlive(heap)
	return nil
}
