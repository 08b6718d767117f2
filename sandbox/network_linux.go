package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/barepod/barepod/internal/program"
	"github.com/barepod/barepod/internal/undo"
	"github.com/barepod/barepod/namespace"
	"github.com/barepod/barepod/network"
)

// attachNetwork attaches the pod to its networks, and has its files in /etc say
// so.
// The intent is on disk: it is the Config.
func (s *Sandbox) attachNetwork(ctx context.Context, u *undo.Stack) (err error) {
	if s.res.Network, err = network.Attach(ctx, s.cfg.pod(), s.shared.Of(namespace.Net), s.cfg.Networks); err != nil {
		return err
	}
	u.Push("detach network", func(ctx context.Context) error { return network.Detach(ctx, s.cfg.pod(), s.cfg.Networks) })
	files := map[string]string{}
	if addresses := s.res.Network.Addresses(); len(addresses) > 0 {
		files["hosts"] = s.cfg.hosts(hostFiles{}, addresses)
	}
	if resolv := resolvOf(s.res.Network.DNS); resolv != "" {
		files["resolv.conf"] = s.cfg.resolv(hostFiles{resolv: resolv})
	}
	if len(files) == 0 {
		return nil
	}
	return s.anchor.Do(func() error {
		for name, content := range files {
			// In place: containers have the file itself mounted.
			if err := os.WriteFile(program.AnchorEtc+"/"+name, []byte(content), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

// network takes back what the pod has on the host for its networks, while its
// namespace is still there to be silenced.
func (r *remover) network(ctx context.Context) error {
	return network.Detach(ctx, r.cfg.pod(), r.cfg.Networks)
}

// sweepNetworks takes back what is left of pods that have no state any more.
func sweepNetworks(ctx context.Context, stateDir string) error {
	return network.Sweep(ctx, stateDir, func(id string) bool {
		_, err := os.Lstat(filepath.Join(stateDir, id))
		return err == nil
	})
}

// Network returns the network that the pod has got, as New recorded it: also after
// Open, and whatever has happened to it since, which Status tells.
func (s *Sandbox) Network() network.Result { return s.res.Network.Clone() }

func (s *Sandbox) interfaceStats() ([]network.InterfaceStats, error) {
	if s.cfg.fromHost().Has(namespace.Net) {
		return nil, nil
	}
	return network.Stats(s.shared.Of(namespace.Net))
}

// networkStatus adds the network to a status, compared with what there is.
func (s *Sandbox) networkStatus(ctx context.Context, st *Status) error {
	st.Network = s.Network()
	err := network.Check(ctx, s.cfg.pod(), s.shared.Of(namespace.Net), s.cfg.Networks, s.res.Network)
	if errors.Is(err, network.ErrMismatch) {
		st.NetworkProblem = err.Error()
		return nil
	}
	return err
}
