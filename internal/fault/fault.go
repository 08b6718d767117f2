// Package fault lets a test stop the library at any of its steps: return an
// error there, or kill the process. Outside tests a point costs one load.
package fault

import "sync/atomic"

var hook atomic.Pointer[func(point string) error]

// Point says that a step is about to begin. It returns an error only if a test
// wants one.
func Point(name string) error {
	if f := hook.Load(); f != nil {
		return (*f)(name)
	}
	return nil
}

// Set has every Point call f until restore is called. It is for tests.
func Set(f func(point string) error) (restore func()) {
	old := hook.Swap(&f)
	return func() { hook.Store(old) }
}
