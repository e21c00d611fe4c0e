package feed

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	errEnded = errors.New("it ended")
	errOrder = errors.New("changes are out of order")
)

// Follow keeps view as src says until ctx ends: a snapshot first, then every
// change, each acknowledged once the view enforces it. When the feed breaks it
// goes on from where it was; when it is compacted, or a change cannot be applied,
// from a new snapshot, so that what is in no snapshot any more is gone. Changes that
// are out of order or cannot be understood, or that this gateway was evicted, end
// the view at once. Whatever goes wrong is told to onErr and tried again, after
// 50 ms at first, 5 s at most.
func Follow(ctx context.Context, src Source, view *View, onErr func(error)) {
	f := follower{src: src, view: view}
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
		if errors.Is(err, ErrEvicted) || errors.Is(err, ErrVersion) || errors.Is(err, errLine) {
			f.at = Cursor{}
			view.Doubt(err)
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
	src   Source
	view  *View
	at    Cursor // enforced up to here; zero: nothing, begin with a snapshot
	acked Cursor

	applied int // since the last acknowledgement
}

// Buffered is a [Source] whose changes travel. Of those that are here already, the last is acknowledged for all.
type Buffered interface{ More() bool }

// together is how many changes are acknowledged at once, at most.
const together = 256

// run follows until the feed breaks.
func (f *follower) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.acked = Cursor{} // whoever it was said to may have forgotten
	if f.at == (Cursor{}) {
		f.view.Restart()
	} else if err := f.ack(ctx); err != nil {
		return err
	}
	for c, err := range f.src.Watch(ctx, f.at) {
		if err != nil {
			return err
		}
		if err := f.take(ctx, c); err != nil {
			return err
		}
	}
	return errEnded
}

// take applies one change. Inside a snapshot there is nothing to acknowledge yet.
func (f *follower) take(ctx context.Context, c Change) error {
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
	if b, ok := f.src.(Buffered); ok && b.More() && f.applied < together {
		f.applied++
		return nil
	}
	f.applied = 0
	return f.ack(ctx)
}

func (f *follower) ack(ctx context.Context) error {
	if f.acked == f.at {
		return nil
	}
	err := f.src.Ack(ctx, f.at)
	if err == nil {
		f.acked = f.at
	}
	return err
}
