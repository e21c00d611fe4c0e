package gateway

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
)

// streams knows the requests that run, so that the cord can cut them. They are
// listed through their own links: joining and leaving costs a lock of one of
// many shards and no memory. A stop looks at every running request, which is a
// matter of microseconds a thousand.
type streams struct {
	turn   atomic.Uint32
	shards [32]shard
}

type shard struct {
	mu   sync.Mutex
	head *request
	n    int
	_    [64]byte // a cache line of its own
}

func (s *streams) add(r *request) {
	h := &s.shards[s.turn.Add(1)%uint32(len(s.shards))]
	h.mu.Lock()
	defer h.mu.Unlock()
	r.shard, r.prev, r.next = h, nil, h.head
	if h.head != nil {
		h.head.prev = r
	}
	h.head = r
	h.n++
}

func (s *streams) remove(r *request) {
	h := r.shard
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		h.head = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	r.shard, r.prev, r.next = nil, nil, nil
	h.n--
}

// each calls f for every running request. A request cannot leave, and be used
// for another, while its shard is locked.
func (s *streams) each(f func(*request)) {
	for i := range s.shards {
		h := &s.shards[i]
		h.mu.Lock()
		for r := h.head; r != nil; r = r.next {
			f(r)
		}
		h.mu.Unlock()
	}
}

// cut ends the running requests for which there is a why, and returns how many.
func (s *streams) cut(why func(*request) error) (n int) {
	s.each(func(r *request) {
		if r.cut.Load() {
			return
		}
		if err := why(r); err != nil {
			r.sever(err)
			n++
		}
	})
	return n
}

// sever ends r from outside: the upstream's side by its context, the caller's
// side by its deadlines, since a caller that does not read cannot be told.
func (r *request) sever(why error) {
	r.cut.Store(true)
	r.cancel(why)
	c := http.NewResponseController(r.w)
	_ = c.SetReadDeadline(time.Now()) // not every connection has deadlines; the context ends it then
	_ = c.SetWriteDeadline(time.Now().Add(r.g.Limits.Told))
}

// within sets by when the caller must have read, unless r was severed.
func (r *request) within(t time.Time) error {
	c := http.NewResponseController(r.w)
	err := c.SetWriteDeadline(t)
	if r.cut.Load() {
		err = c.SetWriteDeadline(time.Now().Add(r.g.Limits.Told))
	}
	return err
}

func (s *streams) running() (n int) {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		n += s.shards[i].n
		s.shards[i].mu.Unlock()
	}
	return n
}

// stop cuts what a change took the ground from. It is called after the view has
// applied the change, so the question is the one asked before forwarding.
func (g *Gateway) stop(s feed.Stop) {
	if s.Account != nil {
		g.drop(s.Account)
	}
	n := g.streams.cut(func(r *request) error {
		if !s.Touches(r.claims, r.name) {
			return nil
		}
		return g.still(r)
	})
	g.metrics.cut.Add(float64(n))
	if s.Task != "" {
		g.purses.later(func() { g.purses.settle(s.Task) }) // it asks the control plane, which waits for this
	}
}

// errClosing cuts what still runs when the gateway closes.
var errClosing = &problem{status: http.StatusServiceUnavailable, kind: "unavailable", detail: "The gateway is closing."}
