package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// peer is a way to make pods. What it is asked for is only what its jobs name.
type peer interface {
	// name is what tables and -peers call it.
	name() string
	// needs is what has to be installed.
	needs() needs
	// jobs are those that the peer has, as they come in one pod's life.
	jobs() []job
	// open gets it ready: what all its pods share, such as a daemon.
	open(ctx context.Context, r *room) error
	// version is what was measured; it is asked for after open.
	version(ctx context.Context) (string, error)
	// newPod makes a pod: namespaces and a cgroup, with no container in it.
	newPod(ctx context.Context) (pod, error)
	// life makes a pod, runs one container to its end in it, and removes both.
	// It is
	// called from several goroutines at a time if the peer has that job.
	life(ctx context.Context) error
	// close ends what open began.
	close(ctx context.Context) error
}

// pod is one pod of a peer.
type pod interface {
	// start starts a container that stays, and returns when its program is
	// executed. It is called once.
	start(ctx context.Context) error
	// exec runs a further command in that container to its end.
	exec(ctx context.Context) error
	// run runs another container to its end and leaves nothing of it.
	run(ctx context.Context) error
	// remove ends what runs in the pod, and leaves nothing of the pod.
	remove(ctx context.Context) error
	// forget closes handles of this program, as one does that makes many pods;
	// remove works all the same.
	forget() error
}

// wholeLife is the life of a pod, for peers that have no shorter way.
func wholeLife(ctx context.Context, q peer) error {
	p, err := q.newPod(ctx)
	if err != nil {
		return err
	}
	return errors.Join(p.run(ctx), p.remove(context.WithoutCancel(ctx)))
}

// job is something that is timed.
type job string

const (
	jobSandbox job = "sandbox"
	jobStart   job = "start"
	jobExec    job = "exec"
	jobRun     job = "run"
	jobRemove  job = "remove"
	jobLife    job = "life"
	jobAddress job = "address"
	jobMany    job = "many"
	jobStand   job = "stand"
	jobMounts  job = "mounts"
	jobHeap    job = "heap"
)

// cycle are the jobs of one pod, in the order in which they are done.
var cycle = []job{jobSandbox, jobStart, jobExec, jobRun, jobRemove}

// podJobs are all the jobs of a peer that has pods.
var podJobs = append(slices.Clone(cycle), jobLife, jobAddress, jobMany, jobStand, jobMounts, jobHeap)

// containerJobs are those of a peer that has containers only.
var containerJobs = []job{jobLife, jobMany, jobMounts, jobHeap}

// titles say what a job is, for the reader.
var titles = map[job]string{
	jobSandbox: "make a pod sandbox",
	jobStart:   "start a container in it",
	jobExec:    "exec in the container",
	jobRun:     "run a container to its end in it",
	jobRemove:  "stop and remove the pod",
	jobLife:    "a whole life: pod, container, end, removal",
	jobAddress: "pods with an address",
	jobMany:    "lives at a time",
	jobStand:   "pods standing",
	jobMounts:  "a life on a host with foreign mounts",
	jobHeap:    "a life from a program with a large heap",
}

// do does a job of a pod that exists.
func (j job) do(ctx context.Context, p pod) error {
	switch j {
	case jobStart:
		return p.start(ctx)
	case jobExec:
		return p.exec(ctx)
	case jobRun:
		return p.run(ctx)
	case jobRemove:
		return p.remove(ctx)
	}
	return fmt.Errorf("BUG: %q is no job of a pod", j)
}

// peers are all that there are; the first one is what the others are compared
// with.
func peers() []peer {
	return []peer{
		&barepod{}, &floor{},
		&oci{title: "crun", program: "crun", packages: []string{"crun"}},
		&oci{title: "runc", program: "runc", builds: []build{runcBuild}},
		&oci{title: "runc-debian", program: "runc", packages: []string{"runc"}},
		&podman{}, &containerd{}, newBwrap(), newNspawn(),
	}
}

// defaultPeers leaves out what a newer one stands for.
const defaultPeers = "barepod,floor,crun,runc,podman,containerd,bwrap,nspawn"

// choosePeers returns the peers of a list of names with commas.
func choosePeers(names string) ([]peer, error) {
	var chosen []peer
	for name := range strings.SplitSeq(names, ",") {
		all := peers()
		i := slices.IndexFunc(all, func(p peer) bool { return p.name() == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no peer %q", name)
		}
		chosen = append(chosen, all[i])
	}
	if chosen[0].name() != peers()[0].name() {
		return nil, fmt.Errorf("the first peer has to be %s: all others are compared with it", peers()[0].name())
	}
	return chosen, nil
}
