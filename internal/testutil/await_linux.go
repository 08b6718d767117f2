package testutil

import "time"

// patience bounds what should take no time, on a machine that is emulated and
// has other work.
const patience = time.Minute

// Await asks until the answer is yes, and reports whether it came before the
// patience for slow machines was at its end. It asks from the caller's own
// goroutine, so that cond may end the test, and has returned when Await does: not
// so require.Eventually's.
func Await(cond func() bool) bool {
	for pause, end := time.Millisecond, time.Now().Add(patience); ; pause = min(2*pause, 100*time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		time.Sleep(pause)
	}
}
