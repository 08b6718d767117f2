package pod

import (
	"errors"
	"io/fs"
	"os"

	"github.com/barepod/barepod/internal/invalid"
)

// openLog opens a container's log file, which outlives whoever starts the
// container: the process has the file itself, no copier stands between.
func openLog(path string) (*os.File, error) {
	// Opening a FIFO would wait for its reader, whatever the context says.
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, &invalid.Error{Field: "LogPath", Value: path, Reason: "must be a regular file"}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
}
