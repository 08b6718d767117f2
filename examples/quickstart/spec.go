//go:build linux && (amd64 || arm64)

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/barepod/barepod/network"
	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
	"github.com/barepod/barepod/volume"
)

const (
	podName = "quickstart" // and the hostname
	program = "/quickstart"
	siteDir = "/site"
)

// logFile is where the containers' output goes. Like all of a pod's own names
// it follows from the ID.
func logFile(id string) string { return filepath.Join(os.TempDir(), id+".log") }

// loaderScript writes a page that stays and one that changes all the time. They
// are complete whenever they are read: a rename puts them in place.
const loaderScript = `
trap 'exit 0' TERM
put() { cat >/site/.new && mv /site/.new "/site/$1"; }
echo "first page of $(uname -n)" | put first
n=0
while :; do
	n=$((n + 1))
	echo "$n" | put page
	sleep 0.05 || sleep 1
done`

// podSpec returns the pod. It is plain data: nothing is made here.
func podSpec(id string) (pod.Spec, error) {
	volumes, mounts, env, err := programVolumes()
	if err != nil {
		return pod.Spec{}, err
	}
	port, err := freePort()
	if err != nil {
		return pod.Spec{}, err
	}
	site := volume.Mount{Volume: "site", Path: siteDir}
	readOnly := site
	readOnly.ReadOnly = true
	return pod.Spec{
		Sandbox: sandbox.Config{
			ID: id, Name: podName,
			ShareProcessNamespace: true,
			Volumes:               append(volumes, volume.Volume{Name: "site", Source: volume.EmptyDir{}}),
			Networks:              network.Attachments{bridge(port)},
		},
		Containers: []pod.Container{
			{
				Name: "server", Rootfs: sandbox.Scratch{}, LogPath: logFile(id),
				Command: []string{program, asServer}, Env: env, Mounts: append(mounts, readOnly),
			},
			{
				Name: "loader", Rootfs: sandbox.HostRoot{}, LogPath: logFile(id),
				Command: []string{"sh", "-c", loaderScript, "as-loader"}, Mounts: []volume.Mount{site},
			},
			{
				Name: "checker", Rootfs: sandbox.Scratch{}, LogPath: logFile(id),
				Command: []string{program, asChecker}, Env: env, Mounts: mounts,
			},
		},
		TerminationGracePeriod: 3 * time.Second,
	}, nil
}

// programVolumes returns what a container needs to run this program in an empty
// root.
func programVolumes() (volumes []volume.Volume, mounts []volume.Mount, env []string, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	libs, err := libraries()
	if err != nil {
		return nil, nil, nil, err
	}
	volumes = []volume.Volume{{Name: "program", Source: volume.HostPath{Path: exe, Type: volume.HostPathFile}}}
	mounts = []volume.Mount{{Volume: "program", Path: program, ReadOnly: true}}
	for i, lib := range libs {
		name := fmt.Sprintf("library-%d", i)
		volumes = append(volumes, volume.Volume{Name: name, Source: volume.HostPath{Path: lib.file, Type: volume.HostPathFile}})
		mounts = append(mounts, volume.Mount{Volume: name, Path: lib.path, ReadOnly: true})
		env = []string{"LD_LIBRARY_PATH=" + libraryDir} // without it, nothing
	}
	return volumes, mounts, env, nil
}
