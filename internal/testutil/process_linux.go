package testutil

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// startPoller has the Go runtime open the descriptors of its poller, which it
// otherwise does with the first pipe, socket or timer.
var startPoller = sync.OnceFunc(func() {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	_, _ = r.Close(), w.Close()
})

// descriptors lists the open files.
func descriptors(add func(string)) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		// The directory's own descriptor is closed by now.
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			add("descriptor " + e.Name() + " -> " + to)
		}
	}
}

// children lists the processes that this one would have to wait for.
func children(add func(string)) {
	for {
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return
		}
		break
	}
	found := false
	eachProcess(func(pid int) {
		if stat := procStat(pid); len(stat) > 1 && stat[1] == strconv.Itoa(os.Getpid()) {
			found = true
			add(fmt.Sprintf("child %d %s (state %s)", pid, comm(pid), stat[0]))
		}
	})
	if !found {
		add("a child that /proc does not show")
	}
}

// threads returns the number of threads and lists those that are not in the same
// namespaces as the others, or have a working directory or credentials of
// their own: poison, if the scheduler gets them back.
func threads(add func(string)) int {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		panic(err)
	}
	// In the words of the process's first thread, with which it started.
	want := threadContext("/proc/self")
	for _, task := range tasks {
		have := threadContext("/proc/self/task/" + task.Name())
		for key, value := range have {
			if value != want[key] {
				add(fmt.Sprintf("thread %s with %s %s instead of %s", task.Name(), key, value, want[key]))
			}
		}
		if tid, err := strconv.Atoi(task.Name()); err == nil && ownFS(tid) {
			add("thread " + task.Name() + " with a working directory and umask of its own")
		}
	}
	// Should the first thread be the poisoned one, this differs.
	for key, value := range want {
		add("process with " + key + " " + value)
	}
	return len(tasks)
}

var (
	threadNamespaces  = []string{"net", "uts", "ipc", "mnt", "cgroup", "user", "time", "pid_for_children", "time_for_children"}
	threadCredentials = [][]byte{[]byte("Uid"), []byte("Gid"), []byte("Groups"), []byte("CapPrm"), []byte("CapEff"), []byte("NoNewPrivs"), []byte("Seccomp")}
)

// threadContext returns what every thread of a process has to share. It is empty
// if the thread has ended.
func threadContext(dir string) map[string]string {
	context := map[string]string{}
	for _, ns := range threadNamespaces {
		if to, err := os.Readlink(dir + "/ns/" + ns); err == nil {
			context[ns] = to
		}
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(status) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		for _, c := range threadCredentials {
			if bytes.Equal(key, c) {
				context[string(key)] = string(bytes.TrimSpace(value))
			}
		}
	}
	return context
}

// ownFS reports whether the thread has unshared CLONE_FS. Where the kernel cannot
// compare (CONFIG_KCMP), nobody can tell.
func ownFS(tid int) bool {
	const kcmpFS = 3
	pid := os.Getpid()
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid), uintptr(tid), kcmpFS, 0, 0, 0)
	return errno == 0 && r != 0
}

// strays lists processes that run from a memory image of ours: launchers, keepers
// and first processes of PID namespaces.
func strays(add func(string)) {
	eachProcess(func(pid int) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil || !strings.HasPrefix(exe, "/memfd:") {
			return
		}
		stat := procStat(pid)
		if len(stat) < 20 {
			return // ended meanwhile
		}
		add(fmt.Sprintf("process %d %s of %s (started at %s)", pid, comm(pid), exe, stat[19]))
	})
}

func eachProcess(f func(pid int)) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			f(pid)
		}
	}
}

// procStat returns the fields of /proc/<pid>/stat after the name: state, parent,
// and so on. It is empty if there is no such process.
func procStat(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

func comm(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(name))
}
