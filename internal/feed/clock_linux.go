package feed

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// BootClock is the Clock of this machine. Go itself reads the one clock without a call of the kernel.
func BootClock() Instant {
	return Instant{read(unix.CLOCK_BOOTTIME), begunSteady + time.Since(begun)}
}

// When this process began.
var (
	begun       = time.Now()
	begunSteady = read(unix.CLOCK_MONOTONIC)
)

func read(clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil { // a kernel without the clock: it has no answer ever
		panic("reading a clock of the kernel: " + err.Error())
	}
	return time.Duration(t.Nano())
}

// BootID names this start of the machine: an Instant of another one is none of this one.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}
