// Package state keeps what is known of sandboxes on disk: a directory for each,
// files written by rename, flock(2) between processes, and the identity of
// processes.
//
// Everything in an entry is reached from its directory's descriptor, never by a
// path, and nothing is followed out of it.
package state
