package feed_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/feed/feedtest"
)

// TestLease: it ends by the stricter of two clocks, and a clock that goes back ends it too.
func TestLease(t *testing.T) {
	const h, ten = time.Hour, 10 * time.Second
	for name, c := range map[string]struct {
		boot, steady time.Duration // that pass after the renewal
		left         bool
	}{
		"nothing passes":                    {0, 0, true},
		"almost all":                        {ten - 20*time.Millisecond, ten - 20*time.Millisecond, true},
		"all but what clocks may differ by": {ten - 10*time.Millisecond, ten - 10*time.Millisecond, false},
		"all":                               {ten, ten, false},
		"it was suspended":                  {ten, 0, false},
		"only the other counts":             {0, ten, false},
		"long ago":                          {100 * h, 100 * h, false},
		"back":                              {-time.Nanosecond, 0, false},
		"back, the other":                   {0, -h, false},
	} {
		now := feed.Instant{Boot: h, Steady: h}
		l := feed.NewLease(func() feed.Instant { return now })
		if l.Left() > 0 {
			t.Fatal("a new lease runs")
		}
		if err := l.Renew(now, ten); err != nil {
			t.Fatal(err)
		}
		now = feed.Instant{Boot: h + c.boot, Steady: h + c.steady}
		if l.Left() > 0 != c.left {
			t.Errorf("%s: %s left", name, l.Left())
		}
	}
}

func TestRenew(t *testing.T) {
	now := feed.Instant{Boot: time.Hour, Steady: time.Hour}
	l := feed.NewLease(func() feed.Instant { return now })
	for name, c := range map[string]struct {
		before, d, left time.Duration
		fails           bool
	}{
		"none": {0, 0, 0, false}, "negative": {0, -time.Second, 0, false}, "too long": {0, time.Hour, 0, true},
		"one that took long": {8 * time.Second, 10 * time.Second, 1990 * time.Millisecond, false}, "one that took too long": {11 * time.Second, 10 * time.Second, 0, false},
	} {
		now = now.Add(time.Hour)
		if err := l.Renew(now.Add(-c.before), c.d); err != nil != c.fails || max(0, l.Left()) != c.left {
			t.Errorf("%s: %s left, %v", name, l.Left(), err)
		}
	}
	now = now.Add(time.Hour)
	_ = l.Renew(now, 10*time.Second)
	_ = l.Renew(now, time.Second) // an answer that comes late takes nothing back
	if l.Left() < 9*time.Second {
		t.Errorf("%s left", l.Left())
	}
}

func TestBootClock(t *testing.T) {
	a := feed.BootClock()
	time.Sleep(time.Millisecond)
	if b := feed.BootClock(); b.Since(a) < time.Millisecond || b.Since(a) > time.Minute || a.Boot <= 0 || a.Steady <= 0 {
		t.Errorf("%+v, then %+v", a, b)
	}
}

// slow is a Source whose acknowledgements can hang, fail, or be told how long the lease is.
type slow struct {
	*feedtest.Memory
	lease atomic.Int64
	fails atomic.Bool
	acks  atomic.Int64
	mu    sync.Mutex // held: they hang
}

func (s *slow) Ack(ctx context.Context, at feed.Cursor) (time.Duration, error) {
	s.acks.Add(1)
	if s.fails.Load() {
		return 0, errCut
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.Memory.Ack(ctx, at); err != nil {
		return 0, err
	}
	return time.Duration(s.lease.Load()), nil
}

func following(t *testing.T, src feed.Source) (*feed.View, *atomic.Int64) {
	view, errs := feed.NewView(), &atomic.Int64{}
	view.Lease = feed.NewLease(feed.BootClock)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); feed.Follow(ctx, src, view, func(error) { errs.Add(1) }) }()
	t.Cleanup(func() { cancel(); <-done })
	return view, errs
}

// TestFollowRenews: the lease is renewed though nothing changes, and ends when the acknowledgements fail.
func TestFollowRenews(t *testing.T) {
	src := &slow{Memory: feedtest.NewMemory("e")}
	src.lease.Store(int64(300 * time.Millisecond))
	src.Put(agent("a"))
	view, errs := following(t, src)
	wait(t, "a lease", func() bool { return view.Live() == nil })
	n := src.acks.Load()
	wait(t, "renewals", func() bool { return src.acks.Load() >= n+5 })
	src.fails.Store(true)
	wait(t, "the end of the lease", func() bool { return errors.Is(view.Live(), feed.ErrLapsed) })
	if errs.Load() == 0 {
		t.Error("nobody was told why")
	}
	src.fails.Store(false)
	wait(t, "another lease", func() bool { return view.Live() == nil })
	src.lease.Store(0)
	wait(t, "the end of the lease", func() bool { return view.Live() != nil })
	src.lease.Store(int64(time.Hour)) // longer than any: no lease at all
	n = src.acks.Load()
	wait(t, "more acknowledgements", func() bool { return src.acks.Load() >= n+2 })
	if view.Live() == nil {
		t.Error("an hour was taken")
	}
}

// TestFollowHangs: an acknowledgement that hangs keeps no change from being applied.
func TestFollowHangs(t *testing.T) {
	src := &slow{Memory: feedtest.NewMemory("e")}
	src.lease.Store(int64(time.Minute))
	src.Put(agent("a"))
	view, _ := following(t, src)
	wait(t, "a lease", func() bool { return knows(view, "a") })
	src.mu.Lock()
	defer src.mu.Unlock()
	src.Put(agent("b"))
	src.Put(agent("c"))
	wait(t, "what came meanwhile", func() bool { return knows(view, "c") })
}
