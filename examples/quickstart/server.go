//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"net/http"
	"os/signal"
	"syscall"
	"time"
)

// server is what the server container runs: it serves the volume's files until
// it is told to stop, and answers in the shared memory.
func server(ctx context.Context, _ []string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	shared, err := openExchange()
	if err != nil {
		return err
	}
	go shared.answer()
	srv := &http.Server{Addr: ":80", Handler: http.FileServer(http.Dir(siteDir)), ReadHeaderTimeout: time.Second}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
