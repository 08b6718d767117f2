package namespace

// Unshare makes one new namespace of each kind in kinds, and runs setup (which
// may be nil) inside all of them: the place to set a host name or a sysctl. The
// caller must close the set, which is in the order of [Kind.Kinds]. An error of
// setup is returned as it is and the namespaces are gone.
//
// The package documentation says what holds inside setup, under Threads; its
// thread always ends. With Mount, setup sees a copy of the program's mount
// table, in its working directory there; the propagation of mounts is what it was,
// so that on most systems what it mounts appears outside, too, unless it begins
// with making the root private or slave (mount_setattr(2)).
//
// With no kind at all setup runs on a thread of its own all the same, which it
// may change as it likes.
//
// User, PID and Time are an [*UnsupportedError].
func Unshare(kinds Kind, setup func() error) (Set, error) {
	if err := kinds.check(); err != nil {
		return nil, wrap("unshare", 0, "", err)
	}
	return unshare(kinds, setup)
}
