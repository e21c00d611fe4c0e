package gateway

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Some bodies must be whole before anything is decided on them, or shown of them. Each has a
// bound, and all that are held at one time have one together, [Limits.Held]: what would go
// beyond it is refused, and can be sent again. It counts as it comes, so that nobody takes room by saying how much they will send.

// held is what all requests hold of bodies.
type held struct {
	most, now atomic.Int64
	spare     sync.Pool // of *[]byte, for replies
}

// holding is what one request holds, until it ends.
type holding struct {
	bytes atomic.Int64 // looks are several at once
	spare []*[]byte    // a reply's, and what is shown of it
}

// firstHeld is how much is held of a body before the first of it has come. Up to freeHeld nobody counts: a
// request that was carried out has its answer, however full it is here.
const (
	firstHeld = 1 << 10
	freeHeld  = 64 << 10
)

// counted is how much of n bytes counts.
func counted(n int64) int64 { return max(0, n-freeHeld) }

// take takes n bytes more into account; below 0 it gives them back.
func (h *held) take(n int64) error {
	if h.now.Add(n) > h.most.Load() && n > 0 {
		h.now.Add(-n)
		return unavailable("The gateway holds as much of large requests and replies as it may; send this again in a moment.")
	}
	return nil
}

// holds takes n bytes more into account for as long as r takes; below 0 it gives them back.
func (r *request) holds(n int64) error {
	if err := r.g.held.take(n); err != nil {
		return err
	}
	r.holding.bytes.Add(n)
	return nil
}

// keeps takes into account what somebody keeps of a reply, or makes of it, piece by piece.
func (r *request) keeps() func(int64) error { return beyondFree(r.holds) }

// beyondFree has holds take into account what is beyond freeHeld, of what comes piece by piece.
func beyondFree(holds func(int64) error) func(int64) error {
	var now int64
	return func(n int64) error {
		if d := counted(now+n) - counted(now); d != 0 {
			if err := holds(d); err != nil {
				return err
			}
		}
		now += n
		return nil
	}
}

// until takes into account, piece by piece, what is kept until ctx is done, or end is called.
func (h *held) until(ctx context.Context) (keep func(int64) error, end func()) {
	var mu sync.Mutex
	now, over, holds := int64(0), false, beyondFree(h.take)
	all := func() {
		mu.Lock()
		defer mu.Unlock()
		_ = holds(-now)
		now, over = 0, true
	}
	stop := context.AfterFunc(ctx, all)
	keep = func(n int64) error {
		mu.Lock()
		defer mu.Unlock()
		if over { // nobody wants it any more
			return nil
		}
		err := holds(n)
		if err == nil {
			now += n
		}
		return err
	}
	return keep, func() {
		stop()
		all()
	}
}

// letGo gives back all that r holds. Nobody has any of it any more.
func (r *request) letGo() {
	r.g.held.now.Add(-r.holding.bytes.Swap(0))
	for _, p := range r.holding.spare {
		r.g.held.spare.Put(p)
	}
	r.holding.spare = r.holding.spare[:0]
}

// errLarge is that a body has more than it may.
type errLarge int64

func (e errLarge) Error() string { return fmt.Sprintf("it has more than %d bytes", int64(e)) }

// whole reads all of a body, of at most n bytes, into b, which is taken into account as it grows.
func (r *request) whole(body io.Reader, n int64, b []byte) ([]byte, error) {
	b = b[:0]
	if err := r.holds(counted(int64(cap(b)))); err != nil {
		return nil, err
	}
	for {
		if len(b) == cap(b) {
			more := min(max(firstHeld, 2*int64(cap(b))), n+1)
			if err := r.holds(counted(more) - counted(int64(cap(b)))); err != nil {
				return nil, err
			}
			b = append(make([]byte, 0, more), b...)
		}
		got, err := body.Read(b[len(b):cap(b)])
		b = b[:len(b)+got]
		switch {
		case int64(len(b)) > n:
			return nil, errLarge(n)
		case err == io.EOF:
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}

// maxSpare is how large a buffer may be that is kept for the next reply.
const maxSpare = 1 << 20

// reply reads all of a reply as whole does, into memory that the next reply gets when r has ended.
func (r *request) reply(body io.Reader, n int64) ([]byte, error) {
	p, _ := r.g.held.spare.Get().(*[]byte)
	if p == nil {
		p = new([]byte)
	}
	b, err := r.whole(body, n, *p)
	if *p = b; cap(b) <= maxSpare {
		r.holding.spare = append(r.holding.spare, p)
	}
	return b, err
}

// room is memory for n bytes until r has ended, if there is some.
func (r *request) room(n int) []byte {
	if n > maxSpare {
		return nil
	}
	p, _ := r.g.held.spare.Get().(*[]byte)
	if p == nil {
		p = new([]byte)
	}
	if cap(*p) < n {
		*p = make([]byte, 0, n)
	}
	r.holding.spare = append(r.holding.spare, p)
	return (*p)[:0]
}
