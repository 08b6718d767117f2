package volume_test

import (
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/volume"
)

// A program that is just being forked has copies of our descriptors until it
// executes, those of files that are being written among them.
func TestFilesWhileOthersFork(t *testing.T) {
	testutil.RequireRoot(t)
	busybox := testutil.Busybox(t)
	stop := make(chan struct{})
	var forkers sync.WaitGroup
	for range 4 {
		forkers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.Command(busybox, "true").Run()
				}
			}
		})
	}
	var errs []error
	for range 500 {
		v := volume.Volume{Name: "files", Source: volume.Files{Items: map[string]volume.File{"a": {Content: []byte("a")}}}}
		m, err := volume.Make(t.Context(), v, t.TempDir())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		require.NoError(t, m.File.Close())
	}
	close(stop)
	forkers.Wait()
	require.Empty(t, errs)
}
