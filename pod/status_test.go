package pod_test

import (
	"encoding/json"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/barepod/barepod/pod"
	"github.com/barepod/barepod/sandbox"
)

func TestPhase(t *testing.T) {
	waiting := pod.ContainerState{Waiting: &pod.Waiting{Reason: pod.ReasonContainerCreating}}
	running := pod.ContainerState{Running: &pod.Running{PID: 1}}
	ended := func(code int, reason string) pod.ContainerState {
		return pod.ContainerState{Terminated: &pod.Terminated{ExitCode: code, Reason: reason}}
	}
	ok, failed := ended(0, pod.ReasonCompleted), ended(1, pod.ReasonError)
	oom, unknown := ended(137, pod.ReasonOOMKilled), ended(-1, pod.ReasonContainerStatusUnknown)
	// The kernel killed a process of the container, which went on regardless.
	survived := ended(0, pod.ReasonOOMKilled)
	type states = []pod.ContainerState
	tests := []struct {
		name   string
		states states
		want   pod.Phase
	}{
		{"new", states{waiting, waiting}, pod.PhasePending},
		{"one of two started", states{running, waiting}, pod.PhasePending},
		{"one of two ended, other never started", states{ok, waiting}, pod.PhasePending},
		{"one of two failed, other never started", states{waiting, failed}, pod.PhasePending},
		{"running", states{running, running}, pod.PhaseRunning},
		{"one ended", states{running, ok}, pod.PhaseRunning},
		{"one failed", states{failed, running}, pod.PhaseRunning},
		{"one unknown", states{unknown, running}, pod.PhaseRunning},
		{"succeeded", states{ok, ok}, pod.PhaseSucceeded},
		{"succeeded in spite of OOM", states{survived, ok}, pod.PhaseSucceeded},
		{"last failed", states{ok, failed}, pod.PhaseFailed},
		{"first failed", states{failed, ok}, pod.PhaseFailed},
		{"OOM", states{ok, oom}, pod.PhaseFailed},
		{"unknown", states{unknown, ok}, pod.PhaseFailed},
		{"single", states{ok}, pod.PhaseSucceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var list []pod.ContainerStatus
			for _, s := range tt.states {
				list = append(list, pod.ContainerStatus{State: s})
			}
			require.Equal(t, tt.want, pod.PhaseOf(list))
		})
	}
}

func TestContainerStatus(t *testing.T) {
	begin := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	end := begin.Add(time.Minute)
	exit := func(code int, sig syscall.Signal, oom bool) *sandbox.Exit {
		return &sandbox.Exit{Code: code, Signal: sig, OOMKilled: oom, StartedAt: begin, FinishedAt: end}
	}
	exited := func(pid int, e *sandbox.Exit) *sandbox.ProcessStatus {
		return &sandbox.ProcessStatus{Name: "c", State: sandbox.Exited, PID: pid, StartedAt: e.StartedAt, Exit: e}
	}
	ended := func(code int, sig syscall.Signal, reason string) pod.ContainerState {
		return pod.ContainerState{Terminated: &pod.Terminated{ExitCode: code, Signal: sig, Reason: reason, StartedAt: begin, FinishedAt: end}}
	}
	waiting := pod.ContainerState{Waiting: &pod.Waiting{Reason: "ContainerCreating"}}
	lost := pod.ContainerState{Terminated: &pod.Terminated{ExitCode: -1, Reason: "ContainerStatusUnknown", StartedAt: begin}}
	running := &sandbox.ProcessStatus{Name: "c", State: sandbox.Running, PID: 7, StartedAt: begin}
	starting := &sandbox.ProcessStatus{Name: "c", State: sandbox.Starting}
	unknown := &sandbox.ProcessStatus{Name: "c", State: sandbox.Unknown, PID: 7, StartedAt: begin}
	first := &pod.Run{PID: 5, StartedAt: begin, Exit: exit(3, 0, false)}

	tests := []struct {
		name         string
		process      *sandbox.ProcessStatus
		restarts     int
		last         *pod.Run
		want         pod.ContainerState
		wantRestarts int
	}{
		{name: "never started", want: waiting},
		{name: "being started", process: starting, want: waiting},
		{name: "running", process: running, want: pod.ContainerState{Running: &pod.Running{StartedAt: begin, PID: 7}}},
		{name: "completed", process: exited(7, exit(0, 0, false)), want: ended(0, 0, "Completed")},
		{name: "failed", process: exited(7, exit(3, 0, false)), want: ended(3, 0, "Error")},
		{name: "killed", process: exited(7, exit(137, 9, false)), want: ended(137, 9, "Error")},
		{name: "exit code 137 without signal", process: exited(7, exit(137, 0, false)), want: ended(137, 0, "Error")},
		{name: "out of memory", process: exited(7, exit(137, 9, true)), want: ended(137, 9, "OOMKilled")},
		{name: "a child out of memory", process: exited(7, exit(1, 0, true)), want: ended(1, 0, "OOMKilled")},
		{name: "unknown", process: unknown, want: lost},

		{name: "restart failed before", process: exited(5, exit(3, 0, false)), restarts: 1, last: first, want: ended(3, 0, "Error")},
		{name: "restart failed after", restarts: 1, last: first, want: ended(3, 0, "Error")},
		{name: "restart under way", process: starting, restarts: 1, last: first, want: ended(3, 0, "Error")},
		{name: "restarted", process: running, restarts: 1, last: first, want: pod.ContainerState{Running: &pod.Running{StartedAt: begin, PID: 7}}, wantRestarts: 1},
		{name: "restarted and ended", process: exited(7, exit(0, 0, false)), restarts: 2, last: first, want: ended(0, 0, "Completed"), wantRestarts: 2},
		{name: "restarted and lost", process: unknown, restarts: 1, last: first, want: lost, wantRestarts: 1},
		{name: "restart of a lost one failed", restarts: 4, last: &pod.Run{PID: 7, StartedAt: begin}, want: lost, wantRestarts: 3},
		{name: "lost one not replaced", process: unknown, restarts: 4, last: &pod.Run{PID: 7, StartedAt: begin}, want: lost, wantRestarts: 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := pod.ContainerStatus{Name: "c", State: tt.want, RestartCount: tt.wantRestarts}
			got := pod.StatusOf(tt.process, tt.restarts, tt.last)
			require.Equal(t, want, got)

			data, err := json.Marshal(got)
			require.NoError(t, err)
			var back pod.ContainerStatus
			require.NoError(t, json.Unmarshal(data, &back))
			require.Equal(t, want, back)
		})
	}
}

func TestError(t *testing.T) {
	err := &pod.Error{Op: "start", ID: "a1/web", Err: pod.ErrNotStarted}
	require.EqualError(t, err, "pod: start a1/web: container has not been started")
	require.ErrorIs(t, err, pod.ErrNotStarted)
	require.ErrorIs(t, err, os.ErrProcessDone)
	require.EqualError(t, &pod.Error{Op: "new", Err: os.ErrInvalid}, "pod: new: invalid argument")
}
