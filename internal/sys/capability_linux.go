package sys

import (
	"sync"

	"golang.org/x/sys/unix"
)

// LastCap returns the highest capability that the kernel knows.
var LastCap = sync.OnceValue(func() int {
	for c := range 64 {
		// EINVAL: no such capability (prctl(2)).
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err != nil {
			return c - 1
		}
	}
	return 63
})
