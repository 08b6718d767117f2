//go:build linux

package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"
)

// recordMagic begins every exit record.
const recordMagic = "barepod1"

// Record is how a process ended, as its keeper wrote it down.
type Record struct {
	Status                uint32 // as wait(2) gives it
	StartedAt, FinishedAt time.Time
	UserTime, SystemTime  time.Duration
	MaxRSS                int64  // bytes
	OOM                   []byte // the cgroup's counters of OOM kills, raw
}

// ParseRecord reads an exit record:
//
//	0    magic
//	8    wait status, 32 bits
//	16   start, struct timespec
//	32   end, struct timespec
//	48   struct rusage
//	192  what the OOM file said, padded with zeros
func ParseRecord(b []byte) (Record, error) {
	if len(b) != RecordSize || string(b[:8]) != recordMagic {
		return Record{}, errors.New("malformed exit record")
	}
	word := func(at int) int64 { return int64(binary.LittleEndian.Uint64(b[at:])) }
	usec := func(at int) time.Duration {
		return time.Duration(word(at))*time.Second + time.Duration(word(at+8))*time.Microsecond
	}
	return Record{
		Status:     binary.LittleEndian.Uint32(b[8:]),
		StartedAt:  time.Unix(word(16), word(24)),
		FinishedAt: time.Unix(word(32), word(40)),
		UserTime:   usec(48),
		SystemTime: usec(64),
		MaxRSS:     word(80) << 10,
		OOM:        bytes.TrimRight(b[recordOOM:], "\x00"),
	}, nil
}
