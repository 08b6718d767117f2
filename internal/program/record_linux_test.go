package program_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/program"
)

// record lays out an exit record as a keeper does.
func record(magic string, status uint32, words map[int]uint64, oom string) []byte {
	b := make([]byte, program.RecordSize)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], status)
	for at, w := range words {
		binary.LittleEndian.PutUint64(b[at:], w)
	}
	copy(b[192:], oom)
	return b
}

func full() []byte {
	return record("barepod1", 9, map[int]uint64{
		16: 1700000000, 24: 5, // start
		32: 1700000060, 40: 999999999, // end
		48: 1, 56: 500000, // ru_utime
		64: 0, 72: 250, // ru_stime
		80: 1234, // ru_maxrss
	}, "oom_kill 2\n")
}

func TestParseRecord(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		want program.Record
		err  string
	}{
		{
			name: "killed", in: full(),
			want: program.Record{
				Status: 9, StartedAt: time.Unix(1700000000, 5), FinishedAt: time.Unix(1700000060, 999999999),
				UserTime: 1500 * time.Millisecond, SystemTime: 250 * time.Microsecond,
				MaxRSS: 1234 << 10, OOM: []byte("oom_kill 2\n"),
			},
		},
		{
			name: "nothing but the status", in: record("barepod1", 7<<8, nil, ""),
			want: program.Record{Status: 7 << 8, StartedAt: time.Unix(0, 0), FinishedAt: time.Unix(0, 0), OOM: []byte{}},
		},
		{
			name: "OOM file as long as its place", in: record("barepod1", 0, nil, string(bytes.Repeat([]byte("x"), 256))),
			want: program.Record{StartedAt: time.Unix(0, 0), FinishedAt: time.Unix(0, 0), OOM: bytes.Repeat([]byte("x"), 256)},
		},
		{name: "empty", in: nil, err: "malformed exit record"},
		{name: "cut", in: full()[:program.RecordSize-1], err: "malformed exit record"},
		{name: "too long", in: append(full(), 0), err: "malformed exit record"},
		{name: "another version", in: record("barepod2", 0, nil, ""), err: "malformed exit record"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := program.ParseRecord(tt.in)
			if tt.err != "" {
				require.EqualError(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(full())
	f.Add(record("barepod1", 0xffffffff, map[int]uint64{16: 1 << 63, 24: 1 << 63, 48: 1 << 62, 80: 1 << 63}, "\x00x\x00"))
	f.Add(full()[:100])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		r, err := program.ParseRecord(b)
		require.Equal(t, before, b)
		if err != nil {
			require.Zero(t, r)
			return
		}
		require.Len(t, b, program.RecordSize)
		require.LessOrEqual(t, len(r.OOM), 256)
		require.True(t, bytes.HasPrefix(b[192:], r.OOM))
	})
}
