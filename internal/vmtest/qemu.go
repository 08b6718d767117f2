package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/barepod/barepod/internal/vmtest/run"
)

// guest is a virtual machine.
type guest struct {
	kernel kernel
	init   string // what is PID 1: "", or "systemd"
	root   string // image of the root file system, which stays as it is
	tests  string // image of the test binaries and the module's files
	dir    string // for files of its own
	binary string // of internal/vmtest/guest
}

// run starts the machine, has it run a plan, and hands on what it says.
func (g guest) run(ctx context.Context, plan run.Plan, send func(run.Message) error) error {
	data, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	initramfs, console := filepath.Join(g.dir, "initramfs"), filepath.Join(g.dir, "console")
	if err := g.kernel.initramfs(initramfs, g.binary, data); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-machine", "q35", "-accel", accelerator(), "-cpu", "max", "-smp", "2", "-m", "2G",
		"-kernel", filepath.Join(g.kernel.dir, "vmlinuz"), "-initrd", initramfs,
		"-append", "console=ttyS0 panic=-1 INIT="+g.init,
		"-drive", "if=virtio,format=raw,snapshot=on,file="+g.root,
		"-drive", "if=virtio,format=raw,readonly=on,file="+g.tests,
		"-serial", "file:"+console,
		"-device", "virtio-serial-pci", "-chardev", "file,id=results,path=/dev/stdout", "-device", "virtserialport,chardev=results,name=results",
	)
	cmd.Stderr = os.Stderr
	stream, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = receive(stream, send)
	if err != nil {
		_ = cmd.Process.Kill() // what it says now nobody understands
	}
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(console))
	}
	return nil
}

// accelerator is KVM, if it is there and the processor has what it needs: there are
// machines with the device alone, on which a guest hangs.
func accelerator() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || !virtualizes.Match(info) {
		return "tcg"
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return "tcg"
	}
	kvm.Close()
	return "kvm"
}

var virtualizes = regexp.MustCompile(`(?m)^flags\b.* (vmx|svm)( |$)`)

// receive reads messages to the end of the stream.
func receive(stream io.Reader, send func(run.Message) error) error {
	for decoder := json.NewDecoder(stream); ; {
		var m run.Message
		switch err := decoder.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("results: %w", err)
		}
		if err := send(m); err != nil {
			return err
		}
	}
}

// tail returns the end of a file.
func tail(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return "console:\n" + string(data[max(0, len(data)-8000):])
}
