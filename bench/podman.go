package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// podman is Debian's podman, with crun, conmon and netavark, called as a user
// calls it: a process for each command.
type podman struct {
	room  *room
	env   []string
	count atomic.Int64
}

func (*podman) name() string { return "podman" }
func (*podman) jobs() []job  { return podJobs }

func (*podman) needs() needs {
	return needs{packages: []string{"podman", "crun", "conmon", "netavark", "iptables", "catatonit", "golang-github-containers-common", "golang-github-containers-image"}}
}

func (p *podman) version(ctx context.Context) (string, error) {
	out, err := p.call(ctx, "version", "--format", "{{.Client.Version}} with crun")
	return strings.TrimSpace(out), err
}

// podmanConfig has the state on tmpfs, and limits that do not need
// CAP_SYS_RESOURCE: podman's own are higher than some machines' hard ones.
const podmanConfig = `[containers]
default_ulimits = ["nofile=%[3]d:%[3]d", "nproc=%[4]d:%[4]d"]
log_driver = "k8s-file"
pids_limit = 0
seccomp_profile = "unconfined"
apparmor_profile = "unconfined"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "crun"
static_dir = "%[1]s/static"
tmp_dir = "%[2]s/tmp"
volume_path = "%[1]s/volumes"
[network]
network_backend = "netavark"
network_config_dir = "%[1]s/networks"
`

const podmanStorage = `[storage]
driver = "overlay"
graphroot = "%[1]s/storage"
runroot = "%[2]s/storage"
`

func (p *podman) open(ctx context.Context, r *room) error {
	p.room = r
	disk, err := r.path("podman")
	if err != nil {
		return err
	}
	state, err := r.path("state", "podman")
	if err != nil {
		return err
	}
	files, ferr := hardLimit(unix.RLIMIT_NOFILE)
	procs, perr := hardLimit(unix.RLIMIT_NPROC)
	config, storage := filepath.Join(disk, "containers.conf"), filepath.Join(disk, "storage.conf")
	p.env = []string{"CONTAINERS_CONF=" + config, "CONTAINERS_STORAGE_CONF=" + storage, "TMPDIR=" + disk}
	return errors.Join(ferr, perr,
		os.WriteFile(config, fmt.Appendf(nil, podmanConfig, disk, state, files, procs), 0o600),
		os.WriteFile(storage, fmt.Appendf(nil, podmanStorage, disk, state), 0o600))
}

// hardLimit is a value of a limit that podman may give: it has lowered its own
// to somewhere below the machine's.
func hardLimit(resource int) (uint64, error) {
	var limit unix.Rlimit
	err := unix.Getrlimit(resource, &limit)
	return min(limit.Max, 1<<14), os.NewSyscallError("getrlimit", err)
}

// close removes the image of the pause container with what podman keeps mounted,
// and the pods' cgroups in those v1 hierarchies that podman does not know of.
func (p *podman) close(ctx context.Context) error {
	_, err := p.call(ctx, "system", "reset", "--force")
	for _, h := range p.room.hierarchies {
		_, rerr := removeGroups(filepath.Join(h.Mountpoint, p.room.group, p.name()), 0)
		err = errors.Join(err, rerr)
	}
	return err
}

func (p *podman) call(ctx context.Context, args ...string) (string, error) {
	return p.room.legacy.run(ctx, p.env, "podman", args...)
}

// detach is call for a command that leaves processes behind.
func (p *podman) detach(ctx context.Context, args ...string) error {
	return p.room.legacy.detach(ctx, p.env, "podman", args...)
}

func (p *podman) newPod(ctx context.Context) (pod, error) { return p.makePod(ctx, podmanNone) }

func (p *podman) newAddressed(ctx context.Context) (pod, error) { return p.makePod(ctx, podmanBridge) }

// Networks of a pod: loopback alone, and the one that podman has from the start.
const (
	podmanNone   = "none"
	podmanBridge = "podman"
)

func (p *podman) makePod(ctx context.Context, network string) (*podmanPod, error) {
	made := &podmanPod{podman: p, id: fmt.Sprintf("bench-%d-%d", os.Getpid(), p.count.Add(1))}
	// "pod create" alone makes no namespaces: those come with its start.
	_, err := p.call(ctx, "pod", "create", "--network", network, "--share", "ipc,net,uts", "--hostname", "bench",
		"--cgroup-parent", "/"+p.room.group+"/podman", "--name", made.id)
	if err == nil {
		err = p.detach(ctx, "pod", "start", made.id)
	}
	return made, err
}

func (p *podman) life(ctx context.Context) error { return p.lifeIn(ctx, podmanNone) }

func (p *podman) lifeAddressed(ctx context.Context) error { return p.lifeIn(ctx, podmanBridge) }

func (p *podman) lifeIn(ctx context.Context, network string) error {
	made, err := p.makePod(ctx, network)
	if err != nil {
		return err
	}
	// The container, which has ended by then, goes with the pod.
	run := p.detach(ctx, made.command(trueProgram)...)
	return errors.Join(run, made.remove(context.WithoutCancel(ctx)))
}

type podmanPod struct {
	*podman
	id string
}

func (p *podmanPod) main() string { return p.id + "-main" }
func (p *podmanPod) ends() string { return p.id + "-ends" }

// command is how a container is run in the pod: detached, even one that ends at
// once, for podman 4.3 waits 20 seconds for an exit code that it has missed.
func (p *podmanPod) command(program string, flags ...string) []string {
	args := append([]string{"run", "--detach", "--pod", p.id}, flags...)
	return append(args, "--rootfs", p.room.root, program)
}

func (p *podmanPod) start(ctx context.Context) error {
	return p.detach(ctx, p.command(stayProgram, "--name", p.main())...)
}

func (p *podmanPod) exec(ctx context.Context) error {
	return p.detach(ctx, "exec", p.main(), trueProgram)
}

func (p *podmanPod) run(ctx context.Context) error {
	if err := p.detach(ctx, p.command(trueProgram, "--name", p.ends())...); err != nil {
		return err
	}
	return p.detach(ctx, "rm", "--force", "--time", "0", p.ends())
}

// remove tries again what fails: podman 4.3 takes it for an error when a
// container ends that it is about to kill.
func (p *podmanPod) remove(ctx context.Context) (err error) {
	for range 3 {
		if err = p.detach(ctx, "pod", "rm", "--force", "--time", "0", p.id); err == nil {
			return nil
		}
	}
	return err
}

func (p *podmanPod) forget() error { return nil }
