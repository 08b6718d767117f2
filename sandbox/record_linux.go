package sandbox

import (
	"time"

	"github.com/barepod/barepod/internal/state"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// Files of a sandbox in its state directory.
const (
	stateFile = "sandbox" // what is to be made, and when it is, what was made
	anchorPin = "anchor"  // the pin: the commit
	storeDir  = "store"   // data of the packages above
	procsDir  = "procs"   // one directory for each process
)

// Files of a process in its directory.
const (
	cmdFile     = "cmd"     // intent
	startedFile = "started" // who runs; written before the program is executed
)

// stateVersion changes with the meaning of the files.
const stateVersion = 1

// record is the content of stateFile.
type record struct {
	Version   int       `json:"version"`
	BootID    string    `json:"bootId"`
	CreatedAt time.Time `json:"createdAt"`
	// Creator matters for DieWithCreator.
	Creator state.Proc `json:"creator"`
	Config  Config     `json:"config"`
	// Made is nil until everything is made; only the pin is missing then.
	Made *result `json:"made,omitempty"`
}

// result is what New made.
type result struct {
	Anchor     namespace.ID                    `json:"anchor"`
	Namespaces map[namespace.Kind]namespace.ID `json:"namespaces"`
	Init       *state.Proc                     `json:"init,omitempty"`
	Network    network.Result                  `json:"network,omitzero"`
	// FileVolumes are the volumes that are single files.
	FileVolumes []string `json:"fileVolumes,omitempty"`
}

// cmdRecord is the content of cmdFile.
type cmdRecord struct {
	Cmd    Cmd           `json:"cmd"`
	Rootfs *taggedRootfs `json:"rootfs,omitempty"`
	Target string        `json:"target,omitempty"`
}

// started is the content of startedFile.
type started struct {
	Keeper  state.Proc `json:"keeper"`
	Process state.Proc `json:"process"`
	At      time.Time  `json:"at"`
	OOM     int64      `json:"oomKills,omitempty"` // of the cgroup, before the start
}
