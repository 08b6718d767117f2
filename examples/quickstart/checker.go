//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// findings are what the checker finds in the pod, from inside.
type findings struct {
	Hostname  string   `json:"hostname"`
	Root      []string `json:"root"`      // what is in its root directory
	Processes []string `json:"processes"` // containers whose processes it sees
	First     string   `json:"first"`     // the page that stays
	Page      int      `json:"page"`      // the page that changes
	Rounds    int      `json:"rounds"`    // how often all of this was found since it started
	Exchanged int      `json:"exchanged"` // questions answered by the server
	Err       string   `json:"err,omitempty"`
}

// findingsFile is in the shared memory, too: the checker has no other place to
// write to.
const findingsFile = "/dev/shm/findings"

// lastWord is the exit status of a checker that was told to stop.
const lastWord = 42

// checker is what the checker container runs: it looks around again and again,
// until it is told to stop.
func checker(ctx context.Context, _ []string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	shared, err := openExchange()
	if err != nil {
		return err
	}
	var f findings
	for {
		next := f
		if err := next.look(ctx, shared); err != nil {
			f.Err = err.Error() // the server may be down: what was found before stays
		} else {
			f = next
			f.Rounds++
		}
		if err := f.write(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return exitCode(lastWord)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// look does one round.
func (f *findings) look(ctx context.Context, shared *exchange) (err error) {
	f.Err = ""
	if f.Hostname, err = os.Hostname(); err != nil {
		return err
	}
	if f.Root, err = names("/"); err != nil {
		return err
	}
	if f.Processes, err = processes(); err != nil {
		return err
	}
	if f.First, err = fetch(ctx, "localhost", "first"); err != nil {
		return err
	}
	page, err := fetch(ctx, "localhost", "page")
	if err != nil {
		return err
	}
	if f.Page, err = strconv.Atoi(page); err != nil {
		return err
	}
	if err := shared.ask(uint64(f.Exchanged) + 1); err != nil {
		return err
	}
	f.Exchanged++
	return nil
}

// write replaces findingsFile.
func (f *findings) write() error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := os.WriteFile(findingsFile+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(findingsFile+".new", findingsFile)
}

// client connects anew each time, by the pod's own /etc/hosts.
var client = &http.Client{
	Timeout: 5 * time.Second,
	Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       (&net.Dialer{Resolver: &net.Resolver{PreferGo: true}}).DialContext,
	},
}

// fetch returns a page of the server, whose host may have a port.
func fetch(ctx context.Context, host, page string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/"+page, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get %s: %s", page, resp.Status)
	}
	b, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(b)), err
}

// processes returns the names of the containers whose first processes are to be
// seen in /proc: their last arguments are "as-" and the name.
func processes() ([]string, error) {
	var seen []string
	pids, err := names("/proc")
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
		if name, ok := strings.CutPrefix(args[len(args)-1], "as-"); ok && "as-"+name != asFindings {
			seen = append(seen, name)
		}
	}
	slices.Sort(seen)
	return slices.Compact(seen), nil // the loader's sh forks
}

// names returns what is in a directory.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list, err
}

// findingsCommand is executed in the checker's container to ask for its findings.
func findingsCommand(context.Context, []string) error {
	b, err := os.ReadFile(findingsFile)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}
