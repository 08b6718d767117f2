package sandbox_test

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

// A host program that ignores SIGCHLD has its children reaped by the kernel; a
// keeper must not inherit that.
func TestCase_R12_HostProgramIgnoresSIGCHLD(t *testing.T) {
	p := crashPlan(t, "ignore", sandbox.Config{ShareProcessNamespace: true})
	child := runPlan(t, "ignore", p)
	require.Equal(t, "7", child.ReadLine())
	require.NoError(t, child.Wait())
}

var _ = testutil.Child("ignore", func(args []string) {
	signal.Ignore(syscall.SIGCHLD)
	p := readPlan(args)
	ctx := context.Background()
	sb := must(sandbox.New(ctx, p.Config))
	exit := must(shell(sb, sandbox.Dir{Path: p.Root}, "(exit 3); test $? = 3 && exit 7").Run(ctx))
	fmt.Println(exit.Code)
})
