//go:build !linux

package feed

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// BootClock is the Clock of this machine. CLOCK_MONOTONIC counts the time of sleep on
// macOS; where it does not, only Linux is safe against suspending.
func BootClock() Instant {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic("reading a clock of the kernel: " + err.Error())
	}
	return Instant{time.Duration(t.Nano()), time.Duration(t.Nano())}
}

// BootID is known on Linux alone; elsewhere a gateway begins without a lease.
func BootID() (string, error) { return "", errors.New("the kernel does not name its starts") }
