package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/internal/vmtest/run"
)

// theHost and theGuest are two of the machines.
var theHost, theGuest = machines[0], machines[2]

func TestJudge(t *testing.T) {
	a, b := test{"p", "TestA"}, test{"p", "TestB/sub"}
	pass, fail := verdict{action: "pass"}, verdict{action: "fail"}
	skip := func(feature string) verdict { return verdict{"skip", feature} }
	for name, tt := range map[string]struct {
		host, guest map[test]verdict
		some        bool // not all machines
		want        []string
	}{
		"nothing":                    {},
		"all pass":                   {host: map[test]verdict{a: pass, b: pass}, guest: map[test]verdict{a: pass}},
		"one fails":                  {host: map[test]verdict{a: pass, b: fail}, want: []string{"host: p TestB/sub failed"}},
		"skipped where it is absent": {host: map[test]verdict{a: skip("cgroup2")}, guest: map[test]verdict{a: pass}},
		"skipped where it is there": {
			host: map[test]verdict{a: pass}, guest: map[test]verdict{a: skip("cgroup2")},
			want: []string{"debian: p TestA was skipped for lack of cgroup2, which this machine has"},
		},
		"skipped without a word": {
			host: map[test]verdict{a: pass}, guest: map[test]verdict{a: skip("")},
			want: []string{"debian: p TestA was skipped for lack of no known feature"},
		},
		"ran nowhere": {
			host: map[test]verdict{a: skip("cgroup2")}, guest: map[test]verdict{a: skip("gcc")},
			want: []string{"p TestA ran on no machine, for lack of cgroup2, gcc"},
		},
		"ran nowhere yet": {host: map[test]verdict{a: skip("cgroup2")}, some: true},
	} {
		t.Run(name, func(t *testing.T) {
			all := []*results{{machine: theHost, tests: tt.host}, {machine: theGuest, tests: tt.guest}}
			require.Equal(t, tt.want, judge(all, !tt.some))
		})
	}
	require.Equal(t, []string{"x"}, judge([]*results{{failures: []string{"x"}}}, false))
}

const passing = "\x16=== RUN   TestA\n\x16--- PASS: TestA (0.00s)\n\x16PASS\n"

// TestStream judges what comes out of a guest.
func TestStream(t *testing.T) {
	testutil.RequireFeature(t, "go")
	test2json := filepath.Join(t.TempDir(), "test2json")
	_, err := output(t.Context(), "", "go", "build", "-o", test2json, "cmd/test2json")
	require.NoError(t, err)
	out := func(text string) run.Message { return run.Message{Name: "p", Output: []byte(text)} }
	done, end := run.Message{Name: "p", Done: true}, run.Message{End: true}
	failed := run.Message{Name: "p", Done: true, Error: "exit status 1"}
	for name, tt := range map[string]struct {
		stream  []run.Message
		garbage string
		err     error
		want    []string
		shows   string
	}{
		"passes": {stream: []run.Message{{Name: "boot", Output: []byte("Linux 6.1")}, out(passing), done, end}, shows: "debian: Linux 6.1"},
		"in pieces": {stream: []run.Message{
			out(passing[:20]), out(passing[20:]), done, end,
		}},
		"fails": {
			stream: []run.Message{out("\x16=== RUN   TestA\n    a_test.go:1: why\n\x16--- FAIL: TestA (0.00s)\n\x16FAIL\n"), failed, end},
			want:   []string{"debian: p TestA failed", "debian: p: exit status 1"}, shows: "a_test.go:1: why",
		},
		"leaks": {
			stream: []run.Message{out(passing + "FAIL: left behind:\n\tfile x\n"), failed, end},
			want:   []string{"debian: p: exit status 1"}, shows: "file x",
		},
		"skips what it must not": {
			stream: []run.Message{out("\x16=== RUN   TestA\n    a_test.go:1: needs cgroup2 (a kernel): none\n\x16--- SKIP: TestA (0.00s)\n\x16PASS\n"), done, end},
			want:   []string{"debian: p TestA was skipped for lack of cgroup2, which this machine has"},
		},
		"panics in a test": {
			stream: []run.Message{out("\x16=== RUN   TestA\npanic: why\n"), failed, end},
			want:   []string{"debian: p: exit status 1"}, shows: "panic: why",
		},
		"ends in a test": {
			stream: []run.Message{out("\x16=== RUN   TestA\nabout to ")},
			want:   []string{"debian: ended before its tests did", "debian: p did not run to its end"}, shows: "about to",
		},
		"does not start": {err: errors.New("no kernel"), want: []string{
			"debian: ended before its tests did", "debian: no kernel", "debian: p did not run to its end",
		}},
		"has no tests to run": {stream: []run.Message{done}, want: []string{"debian: ended before its tests did"}},
		"says why it cannot": {stream: []run.Message{{Error: "no plan"}}, want: []string{
			"debian: ended before its tests did", "debian: no plan", "debian: p did not run to its end",
		}},
		"babbles": {stream: []run.Message{out(passing), done, end}, garbage: "}", want: []string{
			"debian: results: invalid character '}' looking for beginning of value",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var stream bytes.Buffer
			for _, m := range tt.stream {
				require.NoError(t, json.NewEncoder(&stream).Encode(m))
			}
			stream.WriteString(tt.garbage)
			var shown strings.Builder
			r := newResults(theGuest, run.Plan{Programs: []run.Program{{Name: "p"}}}, &shown, false, test2json)
			r.close(errors.Join(tt.err, receive(&stream, r.message)))
			require.Equal(t, tt.want, judge([]*results{r}, false))
			require.Contains(t, shown.String(), tt.shows)
		})
	}
}
