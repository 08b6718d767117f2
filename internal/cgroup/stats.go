package cgroup

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// Stats is what a group has used. A value whose controller the machine does not
// have is 0.
type Stats struct {
	CPUUsage    time.Duration `json:"cpuUsage"`    // CPU time of all processes, also of those that ended
	MemoryUsage int64         `json:"memoryUsage"` // bytes in use now, with page cache and memory volumes
	MemoryPeak  int64         `json:"memoryPeak"`  // the most bytes ever in use; 0 on cgroup v2 before Linux 5.19
	MemoryLimit int64         `json:"memoryLimit"` // the group's own limit in bytes, 0 for none
	PIDs        int64         `json:"pids"`        // processes and threads now
	OOMKills    int64         `json:"oomKills"`    // processes killed for want of memory, as of Group.OOMKills
}

// ParseOOMKills returns the number of OOM kills from the content of the file
// that [Group.OOMFile] names: memory.events of v2 or memory.oom_control of v1.
func ParseOOMKills(data []byte) (int64, error) {
	return parseKey(data, "oom_kill")
}

// parseKey returns the number that stands behind key in lines of "key number".
func parseKey(data []byte, key string) (int64, error) {
	for line := range bytes.Lines(data) {
		name, value, ok := bytes.Cut(bytes.TrimRight(line, "\n"), []byte(" "))
		if !ok || string(name) != key {
			continue
		}
		n, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil {
			return 0, fmt.Errorf("parse %s: %w", key, err)
		}
		return int64(n), nil
	}
	return 0, fmt.Errorf("parse %s: no such line", key)
}
