package control

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// snapshotTime bounds how long a gateway may take to read all there is, and a second more for each snapshotRate bytes: so long a
// state of the store is held for it.
const (
	snapshotTime = 2 * time.Minute
	snapshotRate = 1 << 20
)

// snapshots is how many gateways read all there is at one time; others wait, so that some that are slow leave the store to those who ask for less.
const snapshots = 3

// ahead is how many batches of changes wait for a gateway that reads slowly, beside what the network holds.
const ahead = 2

// watch sends what changes to a gateway, one line each, until it goes, is evicted, or takes nothing in for too long.
func (f *fleet) watch(w http.ResponseWriter, r *http.Request) {
	ctx, g, run, err := f.enter(r, true)
	defer f.leave(run)
	var after feed.Cursor
	if err == nil {
		after, err = cursor(r)
	}
	if err != nil {
		f.fail(w, r, err)
		return
	}
	out := &follower{w: w, rc: http.NewResponseController(w), slow: f.slow}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close")
	trust, changed := f.ca.Trust()
	err = out.send(feed.Line{Version: feed.Version, Trust: trust}, true)
	batches, stop := f.changes(ctx, after)
	defer stop()
	alive := time.NewTicker(f.alive)
	defer alive.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case b := <-batches:
			if b.fault != nil { // it says why, and that is all
				_ = out.send(feed.Line{Fault: b.fault}, true)
				return
			}
			if after == (feed.Cursor{}) {
				after = b.changes[0].Cursor
				out.until = time.Now().Add(snapshotTime)
			}
			if b.changes[len(b.changes)-1].Synced {
				out.until = time.Time{}
			}
			err = out.pass(b.changes, len(batches) == 0)
		case <-changed:
			trust, changed = f.ca.Trust()
			err = out.send(feed.Line{Trust: trust}, true)
		case <-alive.C:
			f.p.Store.TouchGateway(g.Name, f.p.Now())
			if _, err = f.member(ctx, run.papers); err == nil {
				err = out.send(feed.Line{Alive: true}, true)
			}
		}
	}
	if !out.broken {
		told, _ := f.fault(err)
		_ = out.send(feed.Line{Fault: told}, true) // it may be gone
	} else if r.Context().Err() == nil {
		f.p.Log.Warn("a gateway does not take in the feed, and is cut off; it can go on from where it is", "gateway", g.Name, "error", err)
	}
}

func cursor(r *http.Request) (c feed.Cursor, err error) {
	q := r.URL.Query()
	if c.Epoch = q.Get("epoch"); c.Epoch == "" && q.Get("seq") == "" {
		return c, nil
	}
	if c.Seq, err = strconv.ParseUint(q.Get("seq"), 10, 64); err != nil || c.Epoch == "" {
		return c, fmt.Errorf("%w: it is no cursor", feed.ErrCompacted)
	}
	return c, nil
}

// batch is some changes, or why there are no more.
type batch struct {
	changes []feed.Encoded
	fault   *feed.Fault
}

// changes has the changes after a cursor come through a channel that holds a bounded number; the last may be a fault.
func (f *fleet) changes(ctx context.Context, after feed.Cursor) (<-chan batch, func()) {
	ctx, cancel := context.WithCancel(ctx)
	batches, done := make(chan batch, ahead), make(chan struct{})
	put := func(b batch) bool {
		select {
		case batches <- b:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		defer close(done)
		over := func() {}
		if after == (feed.Cursor{}) {
			select {
			case f.whole <- struct{}{}:
			case <-ctx.Done():
				return
			}
			over = sync.OnceFunc(func() { <-f.whole })
		}
		defer func() { over() }()
		for changes, err := range f.p.Store.Lines(ctx, after) {
			if err != nil {
				told, _ := f.fault(err)
				put(batch{fault: told})
				return
			}
			if !put(batch{changes: changes}) {
				return
			}
			if changes[len(changes)-1].Synced {
				over()
			}
		}
	}()
	return batches, func() { cancel(); <-done }
}

// follower is the other end of a watch.
type follower struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	slow   time.Duration
	until  time.Time // a snapshot has to be over by then, and by what it has taken in so far; zero: there is none
	taken  int64     // of the snapshot, in bytes
	buffer []byte
	broken bool // nothing more can be sent
}

// send sends a line; what is not flushed goes with the next that is.
func (o *follower) send(l feed.Line, flush bool) (err error) {
	if o.buffer, err = l.Append(o.buffer); err != nil {
		return err
	}
	return o.write(flush)
}

// pass sends changes on.
func (o *follower) pass(changes []feed.Encoded, flush bool) error {
	for i := range changes {
		o.buffer = changes[i].Append(o.buffer)
		if err := o.write(flush && i == len(changes)-1); err != nil {
			return err
		}
	}
	return nil
}

func (o *follower) write(flush bool) (err error) {
	if !flush && len(o.buffer) < 64<<10 {
		return nil
	}
	deadline := time.Now().Add(o.slow)
	if !o.until.IsZero() {
		if by := o.until.Add(time.Duration(o.taken/snapshotRate) * time.Second); by.Before(deadline) {
			deadline = by
		}
		o.taken += int64(len(o.buffer))
	}
	_ = o.rc.SetWriteDeadline(deadline)
	if _, err = o.w.Write(o.buffer); err == nil {
		err = o.rc.Flush()
	}
	o.buffer, o.broken = o.buffer[:0], err != nil
	return err
}
