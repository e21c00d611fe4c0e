package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errEnded = errors.New("it ended")
	errOrder = errors.New("changes are out of order")
)

// Follow keeps view as src says until ctx ends: from where the view is or, if it is
// empty, a snapshot first; then every change. When the feed breaks it goes on from where
// it was; when it is compacted, or a change cannot be applied, from a new snapshot, so
// that what is in no snapshot any more is gone. Changes that are out of order or cannot be
// understood, or that this gateway was evicted, end the view at once. Whatever goes wrong
// is told to onErr and tried again, after 50 ms at first, 5 s at most.
//
// Beside that it acknowledges what the view enforces, at once and then again and again,
// which renews the view's lease; anew after each break, since whoever it was said to may
// have forgotten. The two do not wait for each other: an acknowledgement
// that hangs keeps no change from being applied.
func Follow(ctx context.Context, src Source, view *View, onErr func(error)) {
	f := follower{src: src, view: view, at: view.Enforced(), applied: make(chan struct{}, 1)}
	var acks sync.WaitGroup
	defer acks.Wait()
	acks.Go(func() { f.acknowledge(ctx, onErr) })
	f.note()
	const least, most = 50 * time.Millisecond, 5 * time.Second
	wait := least
	for ctx.Err() == nil {
		before := f.at
		err := f.run(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrCompacted) { // said of a watch, or of an acknowledgement
			f.at = Cursor{}
		}
		if final(err) {
			f.at = Cursor{}
			f.doubt(err, onErr)
		}
		if f.at != before && f.at != (Cursor{}) {
			wait = least
		}
		onErr(fmt.Errorf("following the feed: %w", err))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, most)
	}
}

type follower struct {
	src     Source
	view    *View
	at      Cursor        // enforced up to here; zero: begin with a snapshot
	applied chan struct{} // there may be more to acknowledge
	anew    atomic.Bool   // what was acknowledged is acknowledged again

	mu  sync.Mutex
	cut context.CancelCauseFunc // ends what is followed; nil: that is a snapshot, or nothing
}

// final says that what a view knows is worth nothing any more.
func final(err error) bool {
	return errors.Is(err, ErrEvicted) || errors.Is(err, ErrVersion) || errors.Is(err, errLine)
}

// doubt ends the view, and what is left of its lease on disk.
func (f *follower) doubt(err error, onErr func(error)) {
	f.view.Doubt(err)
	if k := f.view.Keep; k != nil {
		if err := k.end(); err != nil {
			onErr(fmt.Errorf("ending the lease on disk: %w", err))
		}
	}
}

// follows says how to end what is followed.
func (f *follower) follows(cut context.CancelCauseFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = cut
}

// heard ends what is followed because of what was said to an acknowledgement. A snapshot is
// let come to its end: what was acknowledged is older than it.
func (f *follower) heard(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut != nil {
		f.cut(err)
	}
}

// run follows until the feed breaks.
func (f *follower) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer f.follows(nil)
	if f.at != (Cursor{}) {
		f.follows(cancel)
		if f.view.trouble.Load() != nil { // since it broke
			f.follows(nil)
			f.at = Cursor{}
		}
	}
	if f.at == (Cursor{}) {
		f.view.Restart()
	} else {
		f.anew.Store(true)
		f.note()
	}
	for c, err := range f.src.Watch(ctx, f.at) {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
		first := f.at == (Cursor{})
		if err := f.take(c); err != nil {
			return err
		}
		if first && f.at != (Cursor{}) {
			f.follows(cancel)
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return errEnded
}

// take applies one change. Inside a snapshot there is nothing to acknowledge yet.
func (f *follower) take(c Change) error {
	first := f.at == (Cursor{})
	if !first && (c.Synced || c.Cursor.Epoch != f.at.Epoch || c.Cursor.Seq <= f.at.Seq) {
		err := fmt.Errorf("%w: %v after %v", errOrder, c.Cursor, f.at)
		f.at = Cursor{}
		f.view.Doubt(err)
		return err
	}
	if err := f.view.Apply(c); err != nil {
		f.at = Cursor{}
		return err
	}
	if first && !c.Synced {
		return nil
	}
	if f.at = c.Cursor; f.at == (Cursor{}) {
		return fmt.Errorf("%w: a snapshot ended without a cursor", errOrder)
	}
	f.note()
	return nil
}

func (f *follower) note() {
	select {
	case f.applied <- struct{}{}:
	default:
	}
}

// acknowledge says what the view enforces whenever that is more, and at least three times
// in each lease. One is under way at a time, so that none overtakes another; what is applied
// meanwhile is in the next.
func (f *follower) acknowledge(ctx context.Context, onErr func(error)) {
	const least, most = 50 * time.Millisecond, 2 * time.Second
	retry, lease := least, DefaultLease
	again := time.NewTimer(0)
	defer again.Stop()
	var acked Cursor
	for {
		due := false
		select {
		case <-ctx.Done():
			return
		case <-f.applied:
		case <-again.C:
			due = true
		}
		at := f.view.Enforced()
		if anew := f.anew.Swap(false); at == (Cursor{}) || at == acked && !due && !anew {
			continue
		}
		granted, from, err := f.ack(ctx, at, min(max(lease/3, 500*time.Millisecond), 5*time.Second))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if final(err) {
				f.doubt(err, onErr)
			}
			if final(err) || errors.Is(err, ErrCompacted) {
				f.heard(err)
			}
			onErr(fmt.Errorf("acknowledging the feed: %w", err))
			again.Reset(retry)
			retry = min(2*retry, most)
		default:
			acked, retry = at, least
			if granted > 0 {
				lease = granted
				again.Reset(max(granted/3, least))
			} else { // what is to come is applied first
				again.Reset(10 * least)
			}
			if k := f.view.Keep; k != nil && f.view.Lease != nil {
				k.after(f.view, at, from, granted, onErr)
			}
		}
	}
}

// ack acknowledges once, and renews the lease from the moment before.
func (f *follower) ack(ctx context.Context, at Cursor, patience time.Duration) (granted time.Duration, from Instant, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if f.view.Lease != nil {
		from = f.view.Lease.Now()
	}
	if k := f.view.Keep; k != nil {
		if err := k.before(at); err != nil {
			return 0, from, err // what is on disk would take back what is said here
		}
	}
	granted, err = f.src.Ack(ctx, at)
	if err == nil && f.view.Lease != nil {
		err = f.view.Lease.Renew(from, granted)
	}
	return granted, from, err
}
