package state

// Exists is fs.ErrNotExist if the entry was removed, whatever has its name now.
func (e *Entry) Exists() error { return isAt(e.dir, e.parent, e.name) }
