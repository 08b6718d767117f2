package program_test

import (
	"flag"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/program"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden compares every program with testdata/<name>.golden: a change of
// what runs as root in somebody's namespaces is to be seen.
func TestGolden(t *testing.T) {
	for _, c := range compile(t) {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join("testdata", c.name+".golden")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(path, []byte(c.prog.String()), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), c.prog.String())
			for _, goarch := range []string{"amd64", "arm64"} {
				_, err := c.prog.Image(goarch)
				require.NoError(t, err)
			}
		})
	}
}

// calls are the lines of a program, without notes, from one label to another.
func calls(p string, from, to string) []string {
	_, p, ok := strings.Cut("start:\n"+p, from+":\n")
	if !ok {
		return nil
	}
	p, _, _ = strings.Cut(p, "\n"+to+":\n")
	var list []string
	for line := range strings.Lines(p) {
		line = strings.TrimSuffix(line, "\n")
		if text, ok := strings.CutPrefix(line, "\t"); ok && !strings.HasPrefix(text, "# ") {
			list = append(list, text)
		}
	}
	return list
}

// index is where the only call that contains text is.
func index(t *testing.T, calls []string, text string) int {
	t.Helper()
	found := -1
	for i, c := range calls {
		if strings.Contains(c, text) {
			require.Equal(t, -1, found, "%q twice", text)
			found = i
		}
	}
	require.NotEqual(t, -1, found, "no %q", text)
	return found
}

// TestOrder checks what must hold of every program, whatever else it does.
func TestOrder(t *testing.T) {
	for _, c := range compile(t) {
		t.Run(c.name, func(t *testing.T) {
			all := calls(c.prog.String(), "start", "no such label")
			require.Equal(t, []string{"prctl(PR_SET_DUMPABLE, 0)", "close(4<image>)"}, all[:2],
				"before anything else")
			if c.birth != nil {
				checkKeeper(t, c)
				checkChild(t, c)
			}
		})
	}
}

// The keeper stays outside of the pod and keeps nothing of the starter's.
func checkKeeper(t *testing.T, c compiled) {
	t.Helper()
	keeper := calls(c.prog.String(), "keeper", "child")
	for _, call := range keeper {
		if strings.Contains(call, "setns(") || strings.Contains(call, "unshare(") {
			require.Contains(t, call, "CLONE_NEWPID", "which is its children's only")
		}
	}
	report, wait := index(t, keeper, "sendmsg("), index(t, keeper, "wait4(")
	require.Equal(t, "close_range(0, 4, 0)", keeper[report+1])
	require.Regexp(t, `^close_range\([67], ~0, 0\)$`, keeper[report+2])
	require.Less(t, report, wait)
}

// The child gives up what it has in the right order.
func checkChild(t *testing.T, c compiled) {
	t.Helper()
	b := c.birth
	child := calls(c.prog.String(), "child", "orphan")
	closed := index(t, child, "close_range(4, ~0, 0)")
	require.Equal(t, "fcntl(3<status>, F_SETFD, FD_CLOEXEC)", child[closed-1])
	index(t, child[:closed], "KEYCTL_JOIN_SESSION_KEYRING")

	end := child[closed+1:]
	at := func(text string) int { return index(t, end, text) }
	for _, call := range end {
		require.Contains(t, []string{"prctl", "setgroups", "setresgid", "setresuid", "capset", "chdir", "read", "if", "execve"},
			name(call), "no call that opens anything")
	}
	// Capabilities of the bounding set go while CAP_SETPCAP is there, groups
	// before the user, all of it before the working directory is looked up.
	order := []string{"PR_CAP_AMBIENT_CLEAR_ALL", "setgroups(", "setresgid(", "setresuid(", "capset("}
	order = append(order, "prctl(PR_SET_PDEATHSIG, SIGKILL)") // a change of credentials clears it
	if !b.NewPrivs {
		order = append(order, "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)")
	}
	order = append(order, `chdir("`+b.Dir+`")`, "read(3<status>", "goto orphan")
	if b.Lifeline == nil {
		order = append(order, "prctl(PR_SET_PDEATHSIG, 0)")
	}
	order = append(order, `execve("`+append(b.Search, b.Argv[0])[0]+`"`)
	for i := range order[1:] {
		require.Less(t, at(order[i]), at(order[i+1]), "%s before %s", order[i], order[i+1])
	}
	drops := 0
	for i, call := range end {
		if strings.Contains(call, "PR_CAPBSET_DROP") {
			require.Less(t, i, at("setgroups("))
			drops++
		}
	}
	require.Equal(t, b.LastCap+1-bits.OnesCount64(b.Caps), drops)
}

// name is the name of a call.
func name(call string) string {
	if strings.HasPrefix(call, "if ") {
		return "if"
	}
	call, _, _ = strings.Cut(call, "(")
	return call[strings.LastIndex(call, " ")+1:]
}

// The notes that starters look for are there.
func TestNotes(t *testing.T) {
	for _, c := range compile(t) {
		if c.birth != nil {
			require.Contains(t, c.prog.String(), "\t# "+program.NoteDir+c.birth.Dir+"\n")
			require.Contains(t, c.prog.String(), "\t# "+program.NoteExec+c.birth.Argv[0]+"\n")
		}
	}
}
