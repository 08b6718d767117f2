package main

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := &archive{w: &b}
	a.dir("dev")
	a.device("dev/console", 5, 1)
	a.file("init", 0o755, []byte("hello"))
	a.file("empty", 0o644, nil)
	require.NoError(t, a.close())
	require.Zero(t, b.Len()%4)
	const second = 110 + 4 + 2 // header, name with its end, padding
	require.Equal(t, "070701"+
		"00000001"+"000041ED"+"00000000"+"00000000"+"00000001"+"00000000"+"00000000"+
		"00000000"+"00000000"+"00000000"+"00000000"+"00000004"+"00000000"+"dev\x00", b.String()[:114])
	require.Equal(t, "070701"+
		"00000002"+"00002180"+"00000000"+"00000000"+"00000001"+"00000000"+"00000000"+
		"00000000"+"00000000"+"00000005"+"00000001"+"0000000C"+"00000000"+"dev/console\x00", b.String()[second:second+122])

	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return // the kernel reads them in any case
	}
	list := exec.Command(busybox, "cpio", "-itv")
	list.Stdin = &b
	out, err := list.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `(?s)^drwxr-xr-x .* dev\ncrw------- .* dev/console\n-rwxr-xr-x .* 5 .* init\n-rw-r--r-- .* 0 .* empty\n`, string(out))
}
