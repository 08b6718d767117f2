package testutil_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/internal/testutil"
)

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, asked := time.Now(), 0
		require.True(t, testutil.Await(func() bool { asked++; return asked == 3 }))
		require.Equal(t, 3, asked)
		require.Equal(t, 3*time.Millisecond, time.Since(begin), "the first answers are asked for soon")

		begin = time.Now()
		require.False(t, testutil.Await(func() bool { return false }))
		require.GreaterOrEqual(t, time.Since(begin), time.Minute)
	})
}
