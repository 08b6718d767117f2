//go:build linux && (amd64 || arm64)

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// exchange is what two containers of the pod have in common beside the network:
// POSIX shared memory, in which one leaves a question and the other an answer,
// and a set of two System V semaphores by which they wake each other.
type exchange struct {
	memory     []byte
	semaphores uintptr
}

// Where the two numbers are in the memory, and the semaphores in the set.
const (
	question = iota
	answer
)

// What shm_open(3) makes of the name "/quickstart", and the key of the set.
// Both are the pod's own: the host and other pods have others of the same name.
const (
	memoryFile   = "/dev/shm/quickstart"
	semaphoreKey = 0x62617265
)

// openExchange opens both, and makes them if the other side has not done so.
func openExchange() (*exchange, error) {
	f, err := os.OpenFile(memoryFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := os.Getpagesize()
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	memory, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	const ipcCreat = 0o1000
	id, _, errno := syscall.Syscall(syscall.SYS_SEMGET, semaphoreKey, 2, ipcCreat|0o600)
	if errno != 0 {
		return nil, os.NewSyscallError("semget", errno)
	}
	return &exchange{memory, id}, nil
}

// ask is the checker's side: it leaves n and waits for the server to answer n*n.
func (e *exchange) ask(n uint64) error {
	e.put(question, n)
	if err := e.change(question, 1, time.Second); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Second); ; {
		if err := e.change(answer, -1, time.Until(deadline)); err != nil {
			return fmt.Errorf("wait for the server's answer: %w", err)
		}
		if e.get(answer) == n*n { // and not one to a question of before the server was killed
			return nil
		}
	}
}

// answer is the server's side.
func (e *exchange) answer() {
	for {
		err := e.change(question, -1, time.Hour)
		if errors.Is(err, syscall.EAGAIN) {
			continue
		}
		if err == nil {
			n := e.get(question)
			e.put(answer, n*n)
			err = e.change(answer, 1, time.Second)
		}
		if err != nil {
			exit(err)
		}
	}
}

func (e *exchange) put(i int, n uint64) { binary.NativeEndian.PutUint64(e.memory[8*i:], n) }
func (e *exchange) get(i int) uint64    { return binary.NativeEndian.Uint64(e.memory[8*i:]) }

// change adds by to a semaphore, or takes from it and waits until it can. When
// timeout has passed the error is EAGAIN.
func (e *exchange) change(semaphore uint16, by int16, timeout time.Duration) error {
	for deadline := time.Now().Add(timeout); ; {
		op := struct { // struct sembuf
			semaphore uint16
			by, flags int16
		}{semaphore: semaphore, by: by}
		limit := syscall.NsecToTimespec(int64(max(time.Until(deadline), 0)))
		_, _, errno := syscall.Syscall6(syscall.SYS_SEMTIMEDOP, e.semaphores,
			uintptr(unsafe.Pointer(&op)), 1, uintptr(unsafe.Pointer(&limit)), 0, 0)
		runtime.KeepAlive(&op)
		if errno == syscall.EINTR { // the Go runtime signals its threads
			continue
		}
		if errno != 0 {
			return os.NewSyscallError("semtimedop", errno)
		}
		return nil
	}
}
