package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/barepod/barepod/internal/launch"
)

// containerd is containerd's CRI server, asked as the kubelet does.
type containerd struct {
	room   *room
	socket string
	cmd    *exec.Cmd
	conn   *grpc.ClientConn
	cri    cri.RuntimeServiceClient
	events *exits
	count  atomic.Int64
}

// benchImage is the one image that there is.
const benchImage = "localhost/bench:latest"

func (*containerd) name() string { return "containerd" }

// Its work is done elsewhere: how large the heap of who asks is cannot matter.
func (*containerd) jobs() []job { return podJobs[:len(podJobs)-1] }

func (*containerd) needs() needs {
	return needs{
		packages: []string{"nftables"},
		builds:   []build{containerdBuild, shimBuild, ctrBuild, runcBuild, bridgeBuild, hostLocalBuild},
	}
}

func (c *containerd) version(ctx context.Context) (string, error) {
	v, err := c.cri.Version(ctx, &cri.VersionRequest{})
	return v.GetRuntimeVersion() + " with runc", err
}

// containerdConfig has the state on tmpfs, as /run is on most machines, and
// nothing that barepod's pods do not have either.
const containerdConfig = `version = 3
root = '%[1]s/root'
state = '%[2]s'
disabled_plugins = ['io.containerd.nri.v1.nri']
[grpc]
  address = '%[2]s/sock'
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = '` + benchImage + `'
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  disable_hugetlb_controller = true
  enable_selinux = false
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['%[1]s', '%[5]s', '%[6]s']
    conf_dir = '%[1]s/cni'
    use_internal_loopback = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    runtime_path = '%[3]s'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = '%[4]s'
      SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.` + addressedHandler + `]
    runtime_type = 'io.containerd.runc.v2'
    runtime_path = '%[3]s'
    cni_conf_dir = '%[1]s/cni-bridge'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.` + addressedHandler + `.options]
      BinaryName = '%[4]s'
      SystemdCgroup = false
`

// addressedHandler is the runtime of pods with an address: the same, with another
// network.
const addressedHandler = "addressed"

// The network of pods without an address: the loopback device, which containerd sets up itself.
// But it refuses a pod without an address on eth0, so a CNI plugin that does
// nothing else, and takes no time, says that there is one.
const (
	cniConfig = `{"cniVersion":"1.0.0","name":"none","plugins":[{"type":"none"}]}`
	cniResult = `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"none"}],"ips":[{"address":"127.0.0.1/8","interface":0}]}`
)

// bridgeConfig is the network of pods with one, of CNI's own plugins.
const bridgeConfig = `{"cniVersion":"1.0.0","name":"bridge","plugins":[{
	"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"ipMasqBackend":"nftables",
	"ipam":{"type":"host-local","dataDir":"%s","ranges":[[{"subnet":"10.214.0.0/16"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}`

func cniPlugin() *launch.Program {
	p := launch.New("none")
	p.Call("write", launch.Int(1), p.Str(cniResult), launch.Int(len(cniResult)))
	p.Call("exit_group", launch.Int(0))
	return p
}

func (c *containerd) open(ctx context.Context, r *room) error {
	c.room = r
	dir, err := r.path("containerd")
	if err != nil {
		return err
	}
	state := filepath.Join(r.state, "containerd")
	c.socket = filepath.Join(state, "sock")
	config := fmt.Sprintf(containerdConfig, dir, state, shimBuild.program(), runcBuild.program(), bridgeBuild.dir(), hostLocalBuild.dir())
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600),
		os.Mkdir(filepath.Join(dir, "cni"), 0o755),
		os.Mkdir(filepath.Join(dir, "cni-bridge"), 0o755),
	); err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "cni", "none.conflist"), []byte(cniConfig), 0o600),
		os.WriteFile(filepath.Join(dir, "cni-bridge", "bridge.conflist"), fmt.Appendf(nil, bridgeConfig, filepath.Join(state, "leases")), 0o600),
		writeProgram(filepath.Join(dir, "none"), cniPlugin()),
	); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.cmd = exec.Command(containerdBuild.program(), "--config", filepath.Join(dir, "config.toml"), "--log-level", "error")
	c.cmd.Stderr = log
	if err := r.legacy.start(c.cmd); err != nil {
		return err
	}
	err = c.connect(ctx, dir)
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		return errors.Join(fmt.Errorf("%w: %s", err, text), c.close(ctx))
	}
	return nil
}

// connect waits until the daemon answers, and gives it the image.
func (c *containerd) connect(ctx context.Context, dir string) (err error) {
	c.conn, err = grpc.NewClient("unix://"+c.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	c.cri = cri.NewRuntimeServiceClient(c.conn)
	started, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := c.cri.Version(started, &cri.VersionRequest{}, grpc.WaitForReady(true)); err != nil {
		return err
	}
	archive := filepath.Join(dir, "image.tar")
	if err := writeImage(archive, benchImage, c.room.root, pauseProg); err != nil {
		return err
	}
	if _, err := c.room.legacy.run(ctx, nil, ctrBuild.program(), "--address", c.socket, "--namespace", "k8s.io", "images", "import", archive); err != nil {
		return err
	}
	images := cri.NewImageServiceClient(c.conn)
	for {
		// The CRI server learns of it by an event.
		status, err := images.ImageStatus(started, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: benchImage}})
		if err != nil {
			return err
		}
		if status.Image != nil {
			break
		}
		if err := pause(started, 10*time.Millisecond); err != nil {
			return err
		}
	}
	stream, err := c.cri.GetContainerEvents(context.WithoutCancel(ctx), &cri.GetEventsRequest{})
	if err != nil {
		return err
	}
	c.events = &exits{ended: map[string]chan struct{}{}}
	go c.events.follow(stream)
	return nil
}

func (c *containerd) close(context.Context) error {
	var err error
	if c.conn != nil {
		err = c.conn.Close()
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = c.cmd.Wait() // its status says that a signal ended it
	return err
}

func (c *containerd) daemon() int { return c.cmd.Process.Pid }

// exits are the containers whose end is waited for.
type exits struct {
	mu    sync.Mutex
	ended map[string]chan struct{}
}

// of returns a channel that is closed when the container has ended.
func (e *exits) of(id string) chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended[id] == nil {
		e.ended[id] = make(chan struct{})
	}
	return e.ended[id]
}

func (e *exits) forget(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.ended, id)
}

// follow reads events until the connection is closed.
func (e *exits) follow(stream cri.RuntimeService_GetContainerEventsClient) {
	for {
		event, err := stream.Recv()
		if err != nil {
			return
		}
		if event.ContainerEventType == cri.ContainerEventType_CONTAINER_STOPPED_EVENT {
			close(e.of(event.ContainerId))
		}
	}
}

func (c *containerd) newPod(ctx context.Context) (pod, error) { return c.makePod(ctx, "") }

func (c *containerd) newAddressed(ctx context.Context) (pod, error) {
	return c.makePod(ctx, addressedHandler)
}

func (c *containerd) lifeAddressed(ctx context.Context) error { return wholeLifeAddressed(ctx, c) }

func (c *containerd) makePod(ctx context.Context, handler string) (pod, error) {
	name := fmt.Sprintf("bench-%d", c.count.Add(1))
	p := &criPod{containerd: c, config: &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: name, Uid: name, Namespace: "bench"},
		Hostname: "bench",
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent: "/" + c.room.group + "/containerd",
			SecurityContext: &cri.LinuxSandboxSecurityContext{
				NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_POD, Pid: cri.NamespaceMode_CONTAINER, Ipc: cri.NamespaceMode_POD},
			},
		},
	}}
	made, err := c.cri.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.config, RuntimeHandler: handler})
	p.id = made.GetPodSandboxId()
	return p, err
}

func (c *containerd) life(ctx context.Context) error { return wholeLife(ctx, c) }

type criPod struct {
	*containerd
	config *cri.PodSandboxConfig
	id     string
	main   string
}

func (p *criPod) begin(ctx context.Context, program string) (string, error) {
	made, err := p.cri.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: p.id, SandboxConfig: p.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: filepath.Base(program)},
			Image:    &cri.ImageSpec{Image: benchImage},
			Command:  []string{program},
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: p.config.Linux.SecurityContext.NamespaceOptions,
			}},
		},
	})
	if err != nil {
		return "", err
	}
	_, err = p.cri.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: made.ContainerId})
	return made.ContainerId, err
}

func (p *criPod) start(ctx context.Context) (err error) {
	p.main, err = p.begin(ctx, stayProgram)
	return err
}

func (p *criPod) exec(ctx context.Context) error {
	done, err := p.cri.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: p.main, Cmd: []string{trueProgram}})
	if err == nil && done.ExitCode != 0 {
		err = fmt.Errorf("exit code %d", done.ExitCode)
	}
	return err
}

func (p *criPod) run(ctx context.Context) error {
	id, err := p.begin(ctx, trueProgram)
	if err != nil {
		return err
	}
	defer p.events.forget(id)
	select {
	case <-p.events.of(id):
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err = p.cri.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: id})
	return err
}

func (p *criPod) remove(ctx context.Context) error {
	if p.main != "" {
		// Without a grace period: the program would not use it.
		if _, err := p.cri.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: p.main}); err != nil {
			return err
		}
	}
	if _, err := p.cri.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		return err
	}
	_, err := p.cri.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.id})
	return err
}

func (p *criPod) forget() error { return nil }
