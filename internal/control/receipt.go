package control

import (
	"context"
	"errors"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// What a receipt promises stands on one rule: **a lease runs from a moment at which there
// was no change that the gateway had not acknowledged**. A change that was committed at T
// is unacknowledged from T on, so whoever does not acknowledge it has no lease after
// T + lease, whatever it says meanwhile, over which link, and under which name. It is not enough
// that a gateway is heard of: one whose changes are held up, and whose acknowledgements
// are not, would go on for ever.
//
// The moment is the control plane's, and the gateway counts from one before it asked, so
// no clock of one machine is compared with one of another.

const (
	// patience is how long a change waits for gateways to confirm it, when nothing else is said.
	patience = 2 * time.Second
	// longestWait is the most that can be said: then the longest lease has ended.
	longestWait = feed.MaxLease + time.Minute
	// gone is for how long a gateway that has stopped is still told of.
	gone = 24 * time.Hour
	// maxSights bounds what is remembered of the feed's head; what is older gives shorter leases.
	maxSights = 1024
)

// acks is what is known of each gateway.
type acks struct {
	mu    sync.Mutex
	of    map[string]*ack
	bell  chan struct{} // closed with the next ack
	sight []sight       // the feed's head at several moments, the oldest first
	epoch string        // of which feed
	begun feed.Instant
	nodes nodes // what concerns other control nodes on the same store
}

type ack struct {
	cursor feed.Cursor
	at     time.Time     // when it was received, for people; zero: not since this control plane began
	until  feed.Instant  // no lease that it has ends later
	limit  limit         // what a receipt has promised of it
	lease  time.Duration // of the store's row; 0: there is none
	row    ackRow
}

// evicted follows the name of a gateway that was evicted, while it may have a lease: another may have its name by then.
const evicted = " (evicted)"

// over says of an evicted gateway that it has stopped.
func over(name string, k *ack, now feed.Instant) bool {
	return strings.HasSuffix(name, evicted) && surely(k.until, now) <= 0
}

// limit: until it has acknowledged that change, it gets no lease that ends later.
type limit struct {
	seq   uint64
	until feed.Instant
}

// sight says that at a moment there was no change after seq.
type sight struct {
	at  feed.Instant
	seq uint64
}

// see adds a sight: the head was read after the moment. One that comes late is left out. What was seen of another feed, in
// whose place a backup was put, says nothing of this one.
func (a *acks) see(at feed.Instant, head feed.Cursor) {
	if a.epoch != head.Epoch {
		a.epoch, a.sight = head.Epoch, nil
	}
	n, seq := len(a.sight), head.Seq
	switch {
	case n > 0 && seq < a.sight[n-1].seq:
	case n > 0 && seq == a.sight[n-1].seq:
		if at.Since(a.sight[n-1].at) > 0 {
			a.sight[n-1].at = at
		}
	default:
		if n == maxSights {
			a.sight = append(a.sight[:0], a.sight[n/2:]...)
		}
		a.sight = append(a.sight, sight{at, seq})
	}
}

// current is the last moment known at which there was nothing after seq.
func (a *acks) current(seq uint64) (feed.Instant, bool) {
	i := sort.Search(len(a.sight), func(i int) bool { return a.sight[i].seq > seq })
	if i == 0 {
		return feed.Instant{}, false
	}
	return a.sight[i-1].at, true
}

// left is how long it is until a moment, by the clock that makes it shorter: for what is given.
func left(until, now feed.Instant) time.Duration {
	return -now.Since(until)
}

// surely is the same by the clock that makes it longer: for what is promised.
func surely(until, now feed.Instant) time.Duration { return until.Since(now) }

func later(a, b feed.Instant) feed.Instant {
	return feed.Instant{Boot: max(a.Boot, b.Boot), Steady: max(a.Steady, b.Steady)}
}

// recall knows again which gateways there were. What leases they have the control plane
// of before gave them, and so before now.
func (p *Plane) recall(ctx context.Context) error {
	p.acks.of, p.acks.begun, p.acks.nodes = map[string]*ack{}, p.Clock(), newNodes(p.Store.Shared())
	return p.meet(ctx)
}

// acknowledged takes the word of a gateway that it enforces all up to a cursor, and says
// for how long it may go on. One elsewhere is the one that joined then.
func (p *Plane) acknowledged(ctx context.Context, gateway string, joined time.Time, at feed.Cursor) (time.Duration, error) {
	if err := p.acquaint(ctx, gateway, joined); err != nil {
		return 0, err
	}
	now, wall := p.Clock(), p.Now()
	head, err := p.Store.Latest(ctx) // after the clock; not what is remembered of a database that others write, too
	if err != nil {
		return 0, err
	}
	a := &p.acks
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.of[gateway]
	if err := context.Cause(ctx); err != nil || k == nil || !k.row.joined.Equal(joined) { // it was evicted this moment
		return 0, err
	}
	a.nodes.heard(gateway, k, at)
	k.cursor, k.at, k.row.left, k.row.none = at, wall, false, false
	a.ring()
	a.see(now, head)
	if at.Epoch != head.Epoch {
		return 0, nil
	}
	from, ok := a.current(at.Seq)
	if !ok || left(k.row.since, from) > 0 || a.nodes.shared && left(k.row.right, now) <= 0 {
		return 0, nil
	}
	lease := p.Lease - now.Since(from)
	if at.Seq < k.limit.seq {
		lease = min(lease, left(k.limit.until, now))
	}
	if lease <= 0 {
		return 0, nil
	}
	k.until = later(k.until, now.Add(lease))
	return lease, nil
}

func (a *acks) ring() {
	if a.bell != nil {
		close(a.bell)
		a.bell = nil
	}
}

// acquaint keeps the name of a gateway before it gets a lease, so that the next control
// plane, and others on the same store, know whom they have to wait for.
func (p *Plane) acquaint(ctx context.Context, gateway string, joined time.Time) error {
	a, asked := &p.acks, p.Clock()
	a.mu.Lock()
	k := a.of[gateway]
	another := k != nil && !k.row.joined.IsZero() && !k.row.joined.Equal(joined)
	known := k != nil && k.row.joined.Equal(joined) && k.lease >= p.Lease && (!a.nodes.shared || left(k.row.right, asked) > 0)
	longest := p.Lease
	if k != nil { // it may have one that was given before this control plane began
		longest = max(longest, k.lease)
	}
	a.mu.Unlock()
	if known {
		return nil
	}
	if another { // the one that has the name now, or one that had it
		g, err := read(ctx, p, func(tx *store.Tx) (store.Gateway, error) { return tx.Gateway(gateway) })
		if errors.Is(err, store.ErrNotFound) || err == nil && (g.State != store.GatewayJoined || !g.Joined.Equal(joined)) {
			err = feed.ErrEvicted
		}
		if err != nil {
			return err
		}
	}
	if err := p.Store.NoteAcks(ctx, []store.Ack{{Gateway: gateway, At: p.Now(), Lease: longest}}, nil); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	now := p.Clock()
	if k = a.of[gateway]; k != nil && !k.row.joined.IsZero() && !k.row.joined.Equal(joined) { // what the one before it may have goes on under another name
		a.part(gateway, k, now)
		k = a.of[gateway]
	}
	if k == nil {
		k = &ack{until: now, row: ackRow{since: now, seen: now}}
		a.of[gateway] = k
	}
	a.nodes.put(k, asked, now)
	k.lease, k.row.joined = max(k.lease, p.Lease), joined
	return nil
}

// evict has receipts tell of a gateway that was evicted until its last lease has ended: nothing says that it has heard of it.
// What it still asks must have been ended before; then it gets no lease any more.
func (p *Plane) evict(ctx context.Context, gateway string) {
	ctx = context.WithoutCancel(ctx)
	if p.acks.nodes.shared {
		if err := p.meet(ctx); err != nil {
			p.Log.Warn("looking for the leases of a gateway that was evicted", "gateway", gateway, "error", err)
		}
	}
	k := p.acks.evict(gateway, p.Clock())
	if p.acks.nodes.shared {
		if err := p.meet(ctx); err != nil {
			p.Log.Warn("looking for who has the name of a gateway that was evicted", "gateway", gateway, "error", err)
		}
	}
	if k.lease == 0 {
		return
	}
	forget := []store.Ack{{Gateway: gateway, Turn: k.row.turn}}
	if p.acks.nodes.shared { // another node may let in who has its name now, on the row that is there
		forget = nil
	}
	if err := p.Store.NoteAcks(ctx, []store.Ack{{Gateway: gateway + evicted, Cursor: k.cursor, Lease: k.lease}}, forget); err != nil {
		p.Log.Warn("noting that a gateway was evicted", "gateway", gateway, "error", err)
	}
}

func (a *acks) evict(gateway string, now feed.Instant) (was ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.of[gateway]
	if k == nil {
		return was
	}
	a.part(gateway, k, now)
	return *k
}

// evictBut is evict at another node than the one that did it. Who joined then by the gateway's name may have been heard of before that: its word is
// not that of the one before, of which it is not known what it confirmed.
func (a *acks) evictBut(gateway string, joined time.Time, now feed.Instant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch k := a.of[gateway]; {
	case k == nil:
	case joined.IsZero() || !k.row.joined.Equal(joined):
		a.part(gateway, k, now)
	case a.of[gateway+evicted] == nil:
		a.part(gateway, &ack{until: now, lease: k.lease, row: k.row}, now)
		a.of[gateway] = k
	}
}

// part has what is known of a gateway go on under the name of one that was evicted. a is locked.
func (a *acks) part(gateway string, k *ack, now feed.Instant) {
	delete(a.of, gateway)
	if a.nodes.shared {
		k.until = later(k.until, now.Add(k.lease)) // whoever gave it one
		a.of[gateway] = &ack{lease: k.lease, until: k.until, row: ackRow{turn: k.row.turn, seen: k.row.seen, since: now, left: true}}
	}
	if before := a.of[gateway+evicted]; before != nil {
		k.until, k.lease = later(k.until, before.until), max(k.lease, before.lease)
		if before.cursor.Epoch != k.cursor.Epoch {
			k.cursor = feed.Cursor{}
		}
		k.cursor.Seq = min(k.cursor.Seq, before.cursor.Seq) // either may still run
	}
	k.row.left, k.row.none = false, false // of the name; here it is the one that may have a lease
	a.of[gateway+evicted] = k
	a.ring()
}

// noteAcks writes down how far gateways are, now and then, and forgets those that have stopped long ago.
func (p *Plane) noteAcks(ctx context.Context) {
	tick := time.NewTicker(right / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := p.noteAcksOnce(ctx); err != nil && ctx.Err() == nil {
			p.Log.Warn("noting how far gateways are", "error", err)
		}
	}
}

func (p *Plane) noteAcksOnce(ctx context.Context) error {
	asked := p.Clock()
	list := p.acks.noted(asked, p.Lease)
	err := p.Store.NoteAcks(ctx, list, nil)
	if err == nil {
		p.acks.mayGive(list, asked, p.Clock())
		err = p.meet(ctx)
	}
	if err == nil {
		err = p.Store.NoteAcks(ctx, nil, p.acks.forget(p.Clock()))
	}
	return err
}

// noted is what is to be kept of gateways that were heard of here.
func (a *acks) noted(now feed.Instant, lease time.Duration) (list []store.Ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, k := range a.of {
		if k.at.IsZero() || strings.HasSuffix(name, evicted) || a.nodes.shared && !k.row.here {
			continue
		}
		if !a.nodes.shared && lease < k.lease && now.Since(a.begun) > k.lease { // what was given before this one began has ended
			k.lease = lease
		}
		k.row.here = false
		list = append(list, store.Ack{Gateway: name, Cursor: k.cursor, At: k.at, Lease: k.lease})
	}
	return list
}

// forget drops gateways that have stopped long ago. One that comes again is a new one.
func (a *acks) forget(now feed.Instant) (list []store.Ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, k := range a.of {
		if a.longGone(k, now) || over(name, k, now) {
			delete(a.of, name)
			list = append(list, store.Ack{Gateway: name, Turn: k.row.turn})
		}
	}
	return list
}

// fill says of each gateway whether it enforces everything up to the receipt's cursor or,
// if not, when it has stopped, which is promised from here on. more closes with the next ack.
func (a *acks) fill(r *feed.Receipt, now feed.Instant, wall time.Time) (more <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.AsOf, r.Bound = wall.UTC(), time.Time{}
	r.Confirmed, r.Waiting = map[string]time.Time{}, map[string]time.Time{}
	for name, k := range a.of {
		if over(name, k, now) || k.row.none {
			continue
		}
		if k.cursor.Epoch == r.Cursor.Epoch && k.cursor.Seq >= r.Cursor.Seq {
			r.Confirmed[name] = k.at.UTC()
			continue
		}
		until := k.until
		switch {
		case a.nodes.shared && !strings.HasSuffix(name, evicted):
			until = sooner(k.row.stopped(k.lease), a.nodes.known(r.Cursor, now).Add(k.lease), now)
		case r.Cursor.Seq > k.limit.seq:
			k.limit = limit{r.Cursor.Seq, k.until}
		}
		stops := r.AsOf.Add(surely(until, now))
		if r.Waiting[name] = stops; stops.After(r.Bound) {
			r.Bound = stops
		}
	}
	if a.bell == nil {
		a.bell = make(chan struct{})
	}
	return a.bell
}

// receipt waits for every gateway to enforce what was committed at a cursor, or to have
// stopped: for as long as is said, or a little.
func (p *Plane) receipt(ctx context.Context, at feed.Cursor, wait time.Duration) feed.Receipt {
	r := feed.Receipt{Cursor: at, Committed: p.Now().UTC()}
	if wait == 0 {
		wait = patience
	}
	p.await(ctx, &r, wait, func() bool { return r.Settled() && len(r.Confirmed)+len(r.Waiting) > 0 })
	return r
}

// await fills in a receipt until enough is known.
func (p *Plane) await(ctx context.Context, r *feed.Receipt, wait time.Duration, enough func() bool) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	others := p.askNodes(ctx, r.Cursor, asked{})
	defer func() { others.stop() }()
	for {
		begun := p.Clock()
		more := p.acks.fill(r, begun, p.Now())
		looked := p.Clock().Since(begun)
		if !others.met {
			p.acks.unknown(r, p.Clock())
		}
		if enough() {
			return
		}
		stopped := make(<-chan time.Time)
		if until := r.Bound.Sub(r.AsOf); len(r.Waiting) > 0 && until > 0 {
			stopped = time.After(until)
		}
		select {
		case <-more: // of ten thousand gateways each may ring, and a look is at all of them: it takes a tenth of the time at most
			select {
			case <-time.After(min(10*looked, 100*time.Millisecond)):
			case <-ctx.Done():
				return
			}
		case <-stopped:
		case <-others.due():
			others = p.askNodes(ctx, r.Cursor, others)
		case <-timeout.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// receiptAsked is GET /v1/receipt.
type receiptAsked struct {
	Caller
	Epoch string `query:"epoch" required:"true" doc:"Of the receipt's cursor" maxLength:"64"`
	Seq   uint64 `query:"seq" required:"true"`
	Known int    `query:"known" doc:"Answer when more gateways than this have confirmed it, too" default:"-1"`
}

func (p *Plane) receiptRoutes(api door) {
	handle(api, "GET", "/receipt", "get-receipt", "cord", "Which gateways enforce a change now, and when the others have stopped; committed is not told again", func(ctx context.Context, in *receiptAsked) (feed.Receipt, error) {
		r := feed.Receipt{Cursor: feed.Cursor{Epoch: in.Epoch, Seq: in.Seq}}
		there := func(head feed.Cursor) bool { return r.Cursor.Epoch == head.Epoch && r.Cursor.Seq <= head.Seq }
		if !there(p.Store.Head()) { // another node's, of which this one may not have heard yet
			if head, err := p.Store.Latest(ctx); err != nil {
				return r, err
			} else if !there(head) {
				return r, refusal(404, "There is no such change.")
			}
		}
		p.await(ctx, &r, max(in.patience, time.Millisecond), func() bool {
			return in.patience == 0 || r.Settled() || in.Known >= 0 && len(r.Confirmed) > in.Known
		})
		return r, nil
	})
}
