package volume_test

import (
	"encoding/json"
	"fmt"

	"github.com/barepod/barepod/volume"
)

// The volumes of a pod, and how one of its containers mounts them.
func Example() {
	volumes := []volume.Volume{
		{Name: "site", Source: volume.EmptyDir{}},
		{Name: "cache", Source: volume.EmptyDir{Medium: volume.MediumMemory, SizeLimit: 16 << 20}},
		{Name: "conf", Source: volume.Files{Items: map[string]volume.File{
			"app/app.conf": {Content: []byte("listen 80\n")},
			"app/key":      {Content: []byte("secret"), Mode: 0o400, UID: 1000},
		}}},
	}
	mounts := []volume.Mount{
		{Volume: "site", Path: "/srv/www", ReadOnly: true},
		{Volume: "cache", Path: "/var/cache"},
		{Volume: "conf", Path: "/etc/app", SubPath: "app"},
	}
	fmt.Println(volume.ValidateVolumes(volumes), volume.ValidateMounts(volumes, mounts))

	mounts[1].Path = "/etc/app"
	fmt.Println(volume.ValidateMounts(volumes, mounts))
	// Output:
	// <nil> <nil>
	// invalid Mounts[2].Path "/etc/app": is another mount's path too
}

// In JSON a source has its type as a field.
func ExampleVolume_json() {
	var v volume.Volume
	err := json.Unmarshal([]byte(`{"name": "site", "source": {"type": "EmptyDir", "medium": "Memory"}}`), &v)
	fmt.Printf("%#v %v\n", v.Source, err)
	// Output:
	// volume.EmptyDir{Medium:"Memory", SizeLimit:0} <nil>
}
