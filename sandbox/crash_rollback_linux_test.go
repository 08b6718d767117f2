package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/fault"
	"github.com/barepod/barepod/internal/testutil"
	"github.com/barepod/barepod/sandbox"
)

var errWanted = errors.New("wanted")

// points does a plan in this process and returns the points it came by, until f
// has an error for one of them.
func (p plan) points(ctx context.Context, f func(n int) error) (points []string, err error) {
	defer fault.Set(func(point string) error {
		points = append(points, point)
		return f(len(points) - 1)
	})()
	err = operations[p.Op](ctx, p)
	return points, err
}

func never(int) error { return nil }

// sandboxOf returns the ID that an error of the operation names.
func (p plan) sandboxOf() string {
	switch p.Op {
	case "start":
		return "start victim/second"
	case "restart":
		return "start victim/ended"
	}
	return p.Op + " victim"
}

// An error at any point of New and Start has everything undone, and nothing but
// that error comes of it.
func TestRollback(t *testing.T) {
	testutil.RequireRoot(t)
	for name, cfg := range crashVariants(t) {
		for _, op := range []string{"new", "start", "restart", "exec"} {
			if name == "dying" && op != "new" { // what prepare makes ends with its handle
				continue
			}
			t.Run(name+"/"+op, func(t *testing.T) {
				p := crashPlan(t, op, cfg)
				dir := filepath.Dir(p.Config.StateDir)
				p.prepare(t)
				points, err := p.points(t.Context(), never)
				require.NoError(t, err)
				require.NoError(t, sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID))
				p.prepare(t)
				for i, point := range points {
					if testing.Short() && i%4 != 0 {
						continue
					}
					before, files := testutil.Snapshot(), names(t, dir)
					_, err := p.points(t.Context(), func(n int) error {
						if n == i {
							return errWanted
						}
						return nil
					})
					require.ErrorIs(t, err, errWanted, point)
					if op != "exec" { // whose name is random
						text := err.Error()
						if strings.HasPrefix(point, "attach.") { // it says which interface it is about
							text = strings.NewReplacer("attach network of pod victim: ", "", "eth0: ", "").Replace(text)
						}
						require.Equal(t, "sandbox: "+p.sandboxOf()+": wanted", text, point)
					}
					if op == "restart" {
						// The record of the one before goes as soon as its name is
						// taken over.
						p.again(t)
					} else {
						require.Equal(t, files, names(t, dir), point)
					}
					requireNothingLeft(t, before, p.Config)
				}
			})
		}
	}
}

// again has the ended process of prepare once more, if it is gone.
func (p plan) again(t testing.TB) {
	t.Helper()
	require.NoError(t, withSandbox(t.Context(), p, func(sb *sandbox.Sandbox) error {
		cmd := p.command(sb, "ended")
		cmd.Path, cmd.Args = "/bin/true", nil
		_, err := cmd.Run(t.Context())
		return err
	}))
}

// The end of the context at any point is such an error, but what undoes the rest
// goes on all the same.
func TestCase_R01_CleanupHasAContextOfItsOwn(t *testing.T) {
	for _, op := range []string{"new", "start", "exec"} {
		t.Run(op, func(t *testing.T) {
			p := crashPlan(t, op, sandbox.Config{ShareProcessNamespace: true, Volumes: everyVolume(t)})
			dir := filepath.Dir(p.Config.StateDir)
			p.prepare(t)
			points, err := p.points(t.Context(), never)
			require.NoError(t, err)
			require.NoError(t, sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID))
			p.prepare(t)
			for i, point := range points {
				before, files := testutil.Snapshot(), names(t, dir)
				ctx, cancel := context.WithCancel(t.Context())
				_, err := p.points(ctx, func(n int) error {
					if n == i {
						cancel()
					}
					return nil
				})
				cancel()
				if err == nil { // too late to make a difference
					require.Contains(t, []string{"new.done", "new.commit", "start.done", "start.go"}, point)
					if op == "new" {
						require.NoError(t, sandbox.Remove(t.Context(), p.Config.StateDir, p.Config.ID))
					} else {
						break
					}
				} else {
					require.ErrorIs(t, err, context.Canceled, point)
				}
				require.Equal(t, files, names(t, dir), point)
				requireNothingLeft(t, before, p.Config)
			}
		})
	}
}

// An error at any point of Remove leaves the rest to be done, all of it done
// that can be, and Remove to be called again.
func TestRemoveAgain(t *testing.T) {
	for name, cfg := range map[string]sandbox.Config{"plain": {}, "shared": {ShareProcessNamespace: true, Volumes: everyVolume(t)}} {
		t.Run(name, func(t *testing.T) {
			p := crashPlan(t, "remove", cfg)
			dir := filepath.Dir(p.Config.StateDir)
			before, files := testutil.Snapshot(), names(t, dir)
			p.prepare(t)
			points, err := p.points(t.Context(), never)
			require.NoError(t, err)
			for i, point := range points {
				p.prepare(t)
				all, err := p.points(t.Context(), func(n int) error {
					if n == i {
						return fmt.Errorf("%s: %w", point, errWanted)
					}
					return nil
				})
				require.ErrorIs(t, err, errWanted)
				if point != "remove.state" && point != "remove.done" {
					require.Contains(t, all, "remove.data", "all steps are tried")
				}
				_, err = p.points(t.Context(), never)
				require.NoError(t, err)
				require.Equal(t, files, names(t, dir))
				requireNothingLeft(t, before, p.Config)
			}
		})
	}
}
