package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseTrace(t *testing.T) {
	const trace = `7 1.000000 openat(AT_FDCWD, "/early", O_RDONLY) = 3 <0.000900>
7 1.000100 faccessat(AT_FDCWD, "/barepod-bench-mark/New/begin", F_OK) = -1 ENOENT (No such file or directory) <0.000017>
7 1.000200 mount("a", "b", "tmpfs", 0, NULL) = 0 <0.000030>
8 1.000300 unshare(CLONE_NEWNET <unfinished ...>
7 1.000400 futex(0x1, FUTEX_WAIT, 0, NULL) = 0 <0.500000>
8 1.000500 <... unshare resumed>)        = 0 <0.000200>
7 1.000600 mount("c", "d", "tmpfs", 0, NULL) = -1 EPERM (Operation not permitted) <0.000010>
7 1.000700 faccessat(AT_FDCWD, "/barepod-bench-mark/New/end", F_OK) = -1 ENOENT (No such file or directory) <0.000017>
7 1.000800 close(3) = 0 <0.000900>
7 1.000900 faccessat(AT_FDCWD, "/barepod-bench-mark/Stop/begin", F_OK) = -1 ENOENT (No such file or directory) <0.000017>
9 1.001000 +++ exited with 0 +++
7 1.001100 close(4)                      = 0 <0.000001>
`
	calls, err := parseTrace(strings.NewReader(trace))
	require.NoError(t, err)
	require.Equal(t, map[string][]callTimes{
		opNew:  {{"unshare", 1, 200}, {"mount", 2, 40}},
		opStop: {{"close", 1, 1}},
	}, rounded(calls))
}

// rounded drops what floating point adds.
func rounded(calls map[string][]callTimes) map[string][]callTimes {
	for _, list := range calls {
		for i := range list {
			list[i].took = float64(int(list[i].took + 0.5))
		}
	}
	return calls
}
