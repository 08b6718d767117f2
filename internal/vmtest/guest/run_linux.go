package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/barepod/barepod/internal/vmtest/run"
)

// runTests runs what the plan has and sends the results.
func runTests() error {
	out, err := openPort("results")
	if err != nil {
		return err
	}
	defer out.Close()
	encoder := json.NewEncoder(out)
	send := func(m run.Message) error { return encoder.Encode(m) }
	err = send(run.Message{Name: "boot", Output: machine()})
	if err == nil {
		err = runPlan(send)
	}
	if err != nil {
		err = errors.Join(err, send(run.Message{Error: err.Error()}))
	}
	return err
}

func runPlan(send func(run.Message) error) error {
	data, err := os.ReadFile(plan)
	if err != nil {
		return err
	}
	var p run.Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	return p.Run(context.Background(), send)
}

// machine says which kernel this is, and how long its start took.
func machine() []byte {
	version, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	uptime, _ := os.ReadFile("/proc/uptime")
	seconds, _, _ := strings.Cut(string(uptime), " ")
	return []byte("Linux " + strings.TrimSpace(string(version)) + ", up after " + seconds + " s")
}

// openPort opens a virtio port by its name. Without udev there is no link of
// that name.
func openPort(name string) (*os.File, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, file := range names {
		if have, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(have)) == name {
			return os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(file))), os.O_WRONLY, 0)
		}
	}
	return nil, errors.New("no virtio port named " + name)
}
