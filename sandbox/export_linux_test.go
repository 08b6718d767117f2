package sandbox

// Unmade returns a sandbox of which nothing exists, for what is refused before
// anything is made.
func Unmade(cfg Config) *Sandbox { return &Sandbox{cfg: cfg.complete()} }

// Loopback is loopback, for tests.
var Loopback = loopback
