package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

const (
	gather  = 20 * time.Millisecond // events wait so long for company: within 50 ms they are on their way
	batch   = 512                   // events of one call to Source.Record
	load    = 8 << 20               // bytes of more than one event: neither a record of the spool nor a request to the control plane may have many times that
	backoff = 100 * time.Millisecond
)

// weight is how large an event may be on its way, in bytes: JSON may write six for one.
func weight(e *ledger.Event) int {
	n := len(e.Action) + len(e.Upstream) + len(e.Resource) + len(e.Reason) + len(e.Source)
	for _, list := range [][]string{e.Chain, e.Policies} {
		for _, s := range list {
			n += len(s) + 3
		}
	}
	for name, v := range e.Detail {
		n += len(name) + len(v) + 6
	}
	return 6*n + 2048
}

// loaded is how many of the first events go together.
func loaded(events []ledger.Event) int {
	sum := 0
	for i := range events {
		if sum += weight(&events[i]); i > 0 && sum > load || i == batch {
			return i
		}
	}
	return len(events)
}

// recorder brings events to the ledger. It holds a bounded number of them; a
// request gets its place before it is looked at, so no request that was let
// through is ever without its event. With a spool it holds them on disk while the
// control plane does not take them, and sends them when it does.
type recorder struct {
	g       *Gateway
	held    atomic.Int64 // places taken: queued events and requests under way
	failing atomic.Bool  // the last write failed; the next one that succeeds clears it
	wake    chan struct{}
	spooled chan struct{} // there is something in the spool
	ended   chan struct{} // run has
	drained chan struct{} // drain has

	mu     sync.Mutex
	events []ledger.Event
}

func newRecorder(g *Gateway) *recorder {
	return &recorder{g: g, wake: make(chan struct{}, 1), spooled: make(chan struct{}, 1), ended: make(chan struct{}), drained: make(chan struct{})}
}

// reserve takes a place for the event of one request. False means the buffer is full.
func (q *recorder) reserve() bool {
	if q.held.Add(1) > int64(q.g.Limits.Events) {
		q.held.Add(-1)
		return false
	}
	return true
}

// queue takes the event of a request that has reserved a place.
func (q *recorder) queue(e ledger.Event) {
	q.mu.Lock()
	q.events = append(q.events, e)
	first := len(q.events) == 1
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// durable returns nil once the events are in the ledger, or in the spool when the control
// plane does not record them. While it is known to fail nobody waits for it. Of a gateway that was
// evicted it never will: what waits for that does not go on.
func (q *recorder) durable(events []ledger.Event) error {
	if q.g.Spool != nil && q.failing.Load() {
		return q.spool(events)
	}
	err := q.send(events)
	if err != nil && q.g.Spool != nil && !errors.Is(err, feed.ErrEvicted) {
		err = q.spool(events)
	}
	return err
}

// send returns nil once the events are in the ledger.
func (q *recorder) send(events []ledger.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), q.g.Limits.Record)
	defer cancel()
	err := q.g.Source.Record(ctx, events)
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	q.failing.Store(err != nil)
	if err != nil {
		q.g.metrics.recordFailed.Inc()
		return fmt.Errorf("recording %d events: %w", len(events), err)
	}
	return nil
}

func (q *recorder) spool(events []ledger.Event) error {
	err := q.g.Spool.put(events)
	select {
	case q.spooled <- struct{}{}:
	default:
	}
	return err
}

// run brings queued events to the ledger, in order, until the gateway closes
// and no place is taken any more.
func (q *recorder) run() {
	defer close(q.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	closing := q.g.done
	var deadline time.Time
	for {
		select {
		case <-q.wake:
			timer.Reset(gather)
		case <-closing:
			closing, deadline = nil, time.Now().Add(q.g.Limits.Drain)
			timer.Reset(0)
		case <-timer.C:
			err := q.flush()
			if err != nil {
				q.g.Log.Warn("ledger", "error", err, "held", q.held.Load())
				timer.Reset(backoff)
			}
			if closing == nil {
				if q.held.Load() == 0 || time.Now().After(deadline) {
					return
				}
				timer.Reset(backoff / 10)
			}
		}
	}
}

// flush makes all that is queued durable. What fails stays first in the queue.
// An event that arrives twice counts once: the ledger knows it by its id.
func (q *recorder) flush() error {
	q.mu.Lock()
	events := q.events
	q.events = nil
	q.mu.Unlock()
	for len(events) > 0 {
		n := loaded(events)
		record := q.durable
		if q.g.Spool != nil && !q.g.Spool.empty() {
			record = q.spool // behind what waits there, so that they are sent in order
		}
		err := record(events[:n])
		if errors.Is(err, feed.ErrEvicted) && q.g.Spool != nil { // it may be let in again
			err = q.spool(events[:n])
		}
		if err != nil && q.g.Spool != nil { // it takes nothing; the control plane may again
			err = q.send(events[:n])
		}
		if err != nil {
			q.mu.Lock()
			q.events = append(events, q.events...)
			q.mu.Unlock()
			return err
		}
		q.held.Add(-int64(n))
		events = events[n:]
	}
	return nil
}

// drain brings what is in the spool to the ledger, in order, until the gateway closes; then
// it goes on for as long as that succeeds at once.
func (q *recorder) drain() {
	defer close(q.drained)
	if q.g.Spool == nil {
		return
	}
	const most = 2 * time.Second
	wait, closing := backoff, q.g.done
	timer := time.NewTimer(0) // what a process before this one has left
	defer timer.Stop()
	for {
		select {
		case <-q.spooled:
		case <-timer.C:
		case <-closing:
			<-q.ended // nothing is added any more
			closing = nil
		}
		more, err := q.unspool()
		switch {
		case err != nil && closing == nil, !more && closing == nil:
			return
		case err != nil:
			q.g.Log.Warn("spool", "error", err, "bytes", q.g.Spool.held.Load())
			timer.Reset(wait)
			wait = min(2*wait, most)
		case more:
			wait = backoff
			timer.Reset(0)
		}
	}
}

// unspool brings one file to the ledger; more says that there may be another.
func (q *recorder) unspool() (more bool, err error) {
	n, events, damage := q.g.Spool.next()
	if n == 0 {
		return false, damage
	}
	for len(events) > 0 {
		k := loaded(events)
		refused, err := q.deliver(events[:k])
		if err != nil {
			return true, err
		}
		if damage == nil {
			damage = refused
		}
		events = events[k:]
	}
	if damage != nil {
		q.g.Log.Error("spool: events that were to be recorded cannot be read, or are not taken; the file is set aside", "error", damage)
	}
	return true, q.g.Spool.done(n, damage != nil)
}

// deliver is send, but that an event which the control plane refuses for good does not keep back those around it; refused
// says that there is one.
func (q *recorder) deliver(events []ledger.Event) (refused, err error) {
	switch err = q.send(events); {
	case !errors.Is(err, feed.ErrRefused):
		return nil, err
	case len(events) == 1:
		return err, nil
	}
	for _, part := range [][]ledger.Event{events[:len(events)/2], events[len(events)/2:]} {
		one, err := q.deliver(part)
		if err != nil {
			return nil, err
		}
		if refused == nil {
			refused = one
		}
	}
	return refused, nil
}

// wait returns when run has ended, with how many events did not become durable.
func (q *recorder) wait(ctx context.Context) error {
	for _, end := range []chan struct{}{q.ended, q.drained} {
		select {
		case <-end:
		case <-ctx.Done():
		}
	}
	if n := q.held.Load(); n > 0 {
		return fmt.Errorf("closing the gateway: %d events are not in the ledger", n)
	}
	return nil
}
