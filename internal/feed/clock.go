package feed

import "time"

// Instant is one reading of the two clocks of a machine that nobody sets: the one that
// counts the time it was suspended, and the one that does not. It means nothing on
// another machine, or after the next start of this one.
type Instant struct {
	Boot   time.Duration `json:"boot"`   // CLOCK_BOOTTIME
	Steady time.Duration `json:"steady"` // CLOCK_MONOTONIC
}

// Since is the time from b to i, by the clock that counted more.
func (i Instant) Since(b Instant) time.Duration {
	return max(i.Boot-b.Boot, i.Steady-b.Steady)
}

// Add is i after d.
func (i Instant) Add(d time.Duration) Instant {
	return Instant{i.Boot + d, i.Steady + d}
}

// before reports whether i cannot have come after b: a clock went back, so no span from b means anything.
func (i Instant) before(b Instant) bool { return i.Boot < b.Boot || i.Steady < b.Steady }

// Clock is what leases are measured with. A step of the wall clock does not touch it.
type Clock func() Instant
