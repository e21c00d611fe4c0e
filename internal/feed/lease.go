package feed

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// The shortest and the longest lease, and the one of who does not say.
const (
	MinLease     = time.Second
	MaxLease     = 5 * time.Minute
	DefaultLease = 10 * time.Second
)

// ErrLapsed means that a gateway has not heard from its control plane for longer than it may go on without.
var ErrLapsed = errors.New("the lease has ended")

// drift is the part of a lease that is given up, so that clocks which do not run equally
// fast agree that it is over: 1/1000 is ten times what two quartzes differ by, and what two
// clocks that are being slewed at the kernel's limit in opposite directions do.
const drift = 1000

// Lease is for how long a view may be decided from without word from the control plane.
// A new one has ended. It ends by itself; nothing has to happen for that.
type Lease struct {
	clock Clock
	term  atomic.Pointer[term]
}

// term is one renewal.
type term struct{ from, until Instant }

// NewLease makes a Lease that has ended.
func NewLease(c Clock) *Lease { return &Lease{clock: c} }

// Now reads its clock: before the control plane is asked for a renewal.
func (l *Lease) Now() Instant { return l.clock() }

// Renew has it run for d from a moment on, if that is longer than it runs already. The
// moment is one before the control plane was asked: it may have answered any time after that.
func (l *Lease) Renew(from Instant, d time.Duration) error {
	if d > MaxLease {
		return fmt.Errorf("a lease of %s is longer than any (%s); is the gateway older than its control plane?", d, MaxLease)
	}
	if t := (&term{from, from.Add(d - d/drift)}); t.left(l.clock()) > l.Left() {
		l.term.Store(t)
	}
	return nil
}

// Left is how long it goes on; 0 or less when it has ended.
func (l *Lease) Left() time.Duration {
	t := l.term.Load()
	if t == nil {
		return 0
	}
	return t.left(l.clock())
}

func (t *term) left(now Instant) time.Duration {
	if now.before(t.from) {
		return 0
	}
	return -now.Since(t.until)
}
