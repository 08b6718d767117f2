package network_test

import (
	"testing"

	"github.com/barepod/barepod/internal/testutil"
)

func TestMain(m *testing.M) { testutil.MainInOwnNet(m) }
