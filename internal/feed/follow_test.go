package feed_test

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/feed/feedtest"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// flaky is a Source whose feed breaks now and then.
type flaky struct {
	*feedtest.Memory
	watches atomic.Int64
	cut     int64 // a watch ends with an error after this many changes; 0: never
	mangle  func(*feed.Change)
}

var errCut = errors.New("connection lost")

func (f *flaky) Watch(ctx context.Context, after feed.Cursor) iter.Seq2[feed.Change, error] {
	f.watches.Add(1)
	return func(yield func(feed.Change, error) bool) {
		n := int64(0)
		for c, err := range f.Memory.Watch(ctx, after) {
			if n++; f.cut > 0 && n > f.cut {
				yield(feed.Change{}, errCut)
				return
			}
			if f.mangle != nil && err == nil {
				f.mangle(&c)
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

func agent(name string) feed.Change {
	return feed.Change{Identity: &identity.Identity{ID: identity.MustID("spiffe://lanyard.local/agent/" + name), Owner: "maya", State: identity.Active, Expires: time.Now().Add(time.Hour)}}
}

// followed runs Follow until the test ends and returns the view and the errors.
func followed(t *testing.T, src feed.Source) (*feed.View, <-chan error) {
	view, errs := feed.NewView(), make(chan error, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed.Follow(ctx, src, view, func(err error) { errs <- err })
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Error("Follow outlives its context")
		}
	})
	return view, errs
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what + " did not come to be")
		}
	}
}

func knows(v *feed.View, name string) bool {
	_, ok := v.Subject(agent(name).Identity.ID)
	return ok && v.Live() == nil
}

// TestFollowFlaky: a feed that breaks after every few changes loses none, and none is acknowledged unapplied.
func TestFollowFlaky(t *testing.T) {
	src := &flaky{Memory: feedtest.NewMemory("e1"), cut: 4}
	src.Put(agent("a0"))
	view, errs := followed(t, src)
	wait(t, "a first snapshot", func() bool { return knows(view, "a0") })
	var end feed.Cursor
	for _, n := range []string{"a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"} {
		end = src.Put(agent(n))
	}
	wait(t, "the acknowledgement of all", func() bool { return src.Acked() == end })
	if !knows(view, "a9") || !knows(view, "a1") {
		t.Error("acknowledged and not known")
	}
	if err := <-errs; !errors.Is(err, errCut) {
		t.Errorf("told %v", err)
	}
}

// TestFollowRestored: after a restore of the control plane what it does not know any more is gone.
func TestFollowRestored(t *testing.T) {
	src := feedtest.NewMemory("e1")
	src.Put(agent("old"))
	gone := agent("gone")
	src.Put(gone)
	view, _ := followed(t, src)
	wait(t, "the snapshot", func() bool { return knows(view, "gone") })
	src.Restored("e2", feedtest.Key(gone))
	wait(t, "the new history", func() bool { return !knows(view, "gone") })
	if !knows(view, "old") {
		t.Error("what is in the new snapshot is not known")
	}
	end := src.Put(agent("new"))
	wait(t, "what came after", func() bool { return knows(view, "new") })
	wait(t, "the acknowledgement", func() bool { return src.Acked() == end })
}

// TestFollowFailsClosed: a change that makes no sense ends the view until a snapshot is whole again.
func TestFollowFailsClosed(t *testing.T) {
	for name, mangle := range map[string]func(*feed.Change){
		"nothing":      func(c *feed.Change) { c.Identity = nil },
		"out of order": func(c *feed.Change) { c.Cursor.Seq-- },
		"other epoch":  func(c *feed.Change) { c.Cursor.Epoch = "e0" },
	} {
		t.Run(name, func(t *testing.T) {
			var spoil atomic.Bool
			src := &flaky{Memory: feedtest.NewMemory("e1"), mangle: func(c *feed.Change) {
				if c.Identity != nil && spoil.Swap(false) {
					mangle(c)
				}
			}}
			src.Put(agent("a"))
			view, errs := followed(t, src)
			wait(t, "the snapshot", func() bool { return knows(view, "a") })
			spoil.Store(true)
			src.Put(agent("b"))
			<-errs
			wait(t, "a new snapshot", func() bool { return knows(view, "b") })
			if src.watches.Load() != 2 {
				t.Errorf("%d watches, want 2", src.watches.Load())
			}
		})
	}
}

// forgetful is a Source that was restored while nobody watched: it knows no cursor of before.
type forgetful struct {
	*feedtest.Memory
	fail atomic.Bool
}

func (f *forgetful) Ack(ctx context.Context, at feed.Cursor) (time.Duration, error) {
	if f.fail.Load() {
		return 0, errCut
	}
	if at.Epoch == "e1" && f.Memory.Acked().Epoch == "e2" {
		return 0, feed.ErrCompacted
	}
	return f.Memory.Ack(ctx, at)
}

// TestFollowForgotten: a follower whose acknowledgement is of another history begins anew, instead of saying it for ever.
func TestFollowForgotten(t *testing.T) {
	src := &forgetful{Memory: feedtest.NewMemory("e1")}
	src.Put(agent("a"))
	view, _ := followed(t, src)
	wait(t, "a snapshot", func() bool { return knows(view, "a") })
	src.fail.Store(true)
	src.Put(agent("b"))
	wait(t, "what is not acknowledged", func() bool { return knows(view, "b") })
	src.Restored("e2")
	if _, err := src.Memory.Ack(t.Context(), feed.Cursor{Epoch: "e2"}); err != nil {
		t.Fatal(err)
	}
	src.fail.Store(false)
	end := src.Put(agent("c"))
	wait(t, "the new history", func() bool { return knows(view, "c") && src.Acked() == end })
}

// deaf is a Source whose watch says nothing more, and whose acknowledgements are refused.
type deaf struct {
	*feedtest.Memory
	refuse atomic.Pointer[error]
}

func (d *deaf) Ack(ctx context.Context, at feed.Cursor) (time.Duration, error) {
	if err := d.refuse.Load(); err != nil {
		return 0, *err
	}
	return d.Memory.Ack(ctx, at)
}

// TestFollowEvicted: that a gateway was evicted ends its view also when only an acknowledgement is told so; what is
// refused no more is followed from a snapshot.
func TestFollowEvicted(t *testing.T) {
	src := &deaf{Memory: feedtest.NewMemory("e1")}
	src.Put(agent("a"))
	view, _ := followed(t, src)
	wait(t, "the snapshot", func() bool { return view.Live() == nil })
	err := error(feed.ErrEvicted)
	src.refuse.Store(&err)
	src.Put(agent("b"))
	wait(t, "the end", func() bool { return errors.Is(view.Live(), feed.ErrEvicted) })
	src.refuse.Store(nil)
	wait(t, "another beginning", func() bool { return view.Live() == nil && knows(view, "b") })
}

// TestFollowAtOnce: of an order that cannot be the view is over in the same moment, and not when the next snapshot comes.
func TestFollowAtOnce(t *testing.T) {
	var spoil atomic.Bool
	src := &flaky{Memory: feedtest.NewMemory("e1"), mangle: func(c *feed.Change) {
		if spoil.Load() && !c.Synced {
			c.Cursor.Seq--
		}
		c.Synced = c.Synced && !spoil.Load() // and no snapshot comes to its end
	}}
	src.Put(agent("a"))
	view, errs := followed(t, src)
	wait(t, "the snapshot", func() bool { return knows(view, "a") })
	stopped := make(chan feed.Stop, 10)
	view.OnStop(func(s feed.Stop) { stopped <- s })
	spoil.Store(true)
	src.Put(agent("b"))
	<-errs
	if s := <-stopped; view.Live() == nil || !s.Everything {
		t.Errorf("the view is live, and what stopped is %+v", s)
	}
}

func TestClosed(t *testing.T) {
	view, errs := followed(t, feed.Closed{})
	if <-errs == nil || view.Live() == nil {
		t.Error("a view of no control plane is live")
	}
}
