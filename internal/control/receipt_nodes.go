package control

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// Of several control nodes on one store each hears some of the gateways. What a node promises of those that others
// hear needs no word from them:
//
//   - A gateway that has not acknowledged a change has no lease later than lease after its commit, whichever node gave it. So
//     from when a node knows of the change it knows that end, too.
//   - A node gives a gateway a lease only from moments after its row was in the store. So whoever looks there after a
//     commit finds everyone who may have a lease that the change is not in. A row that may have been away is taken for a new one, and so is that of
//     a gateway which joined by the name of another.
//   - A node gives leases on a row for as long as `right` after it put that, which has a new turn each time. So a row whose
//     turn has not changed for right and a lease is of a gateway that has stopped.
//
// That a gateway has confirmed a change the nodes tell each other, when one asks; if that is lost, it is asked again.

// right is for how long leases are given on a row that was put once.
const right = 2 * time.Minute

// asking is how often others are asked who has acknowledged a change, and telling for how long they tell of more.
const (
	asking  = time.Second
	telling = 3 * asking
)

// ackRow is what is known of a gateway's row in the store.
type ackRow struct {
	turn  string
	seen  feed.Instant // when it was first seen with that turn
	since feed.Instant // it was there by then: no lease runs from before
	right feed.Instant // until when this node gives leases on it
	here  bool         // the gateway was heard of at this node since it was last put
	left  bool         // who had the name was evicted
	none  bool         // and nobody has joined by it since: so nobody has a lease on this row

	joined time.Time // when the gateway did that was last heard of here; zero: nobody was, or it runs in this process
}

// stopped is by when a gateway has stopped if its row is not put again.
func (r ackRow) stopped(lease time.Duration) feed.Instant { return r.seen.Add(right + lease) }

func sooner(a, b, now feed.Instant) feed.Instant {
	if surely(a, now) < surely(b, now) {
		return a
	}
	return b
}

// nodes is what concerns the other control nodes on the store.
type nodes struct {
	shared bool
	epoch  string
	first  []sight         // when this node first knew that there was a change of that epoch, the oldest first
	until  feed.Instant    // somebody waits for acknowledgements
	news   map[string]bool // gateways to tell of
	tell   chan struct{}   // has a value when there are some
}

func newNodes(shared bool) nodes {
	return nodes{shared: shared, news: map[string]bool{}, tell: make(chan struct{}, 1)}
}

// known is a moment at which there was a change already: the first such one of this node, or a later one.
func (n *nodes) known(at feed.Cursor, now feed.Instant) feed.Instant {
	if at.Epoch != n.epoch {
		n.epoch, n.first = at.Epoch, nil
	}
	for _, s := range n.first {
		if s.seq >= at.Seq {
			return s.at
		}
	}
	if len(n.first) == maxSights {
		n.first = append(n.first[:0], n.first[maxSights/2:]...)
	}
	n.first = append(n.first, sight{now, at.Seq})
	return now
}

// heard has others told that a gateway got further, if one of them waits.
func (n *nodes) heard(name string, k *ack, at feed.Cursor) {
	k.row.here = true
	if n.shared && n.news != nil && at != k.cursor && n.until != (feed.Instant{}) {
		n.add(name)
	}
}

func (n *nodes) add(name string) {
	n.news[name] = true
	select {
	case n.tell <- struct{}{}:
	default:
	}
}

// end is by when a gateway has stopped, if nothing is heard of it.
func (a *acks) end(k *ack) feed.Instant {
	if a.nodes.shared {
		return k.row.stopped(k.lease)
	}
	return k.until
}

// longGone: it has stopped long ago, or is not there any more.
func (a *acks) longGone(k *ack, now feed.Instant) bool {
	return surely(a.end(k), now) < -gone || a.nodes.shared && k.row.left && surely(a.end(k), now) < 0
}

// put: the row was put after a moment, and was there by now. It may have been away before, if that was longer than this node's right: then
// no lease runs from there.
func (n *nodes) put(k *ack, asked, now feed.Instant) {
	if n.shared && left(k.row.right, asked) <= 0 {
		k.row.since = now
	}
	k.row.right = asked.Add(right)
}

// mayGive: these rows were put after a moment, and were there by now.
func (a *acks) mayGive(list []store.Ack, asked, now feed.Instant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, put := range list {
		if k := a.of[put.Gateway]; k != nil {
			a.nodes.put(k, asked, now)
		}
	}
}

// meet takes in which gateways there are by the store.
func (p *Plane) meet(ctx context.Context) error {
	var rows []store.Ack
	members := map[string]store.Gateway{}
	if err := p.Store.Read(ctx, func(tx *store.Tx) error {
		gateways, err := tx.Gateways()
		for _, g := range gateways {
			members[g.Name] = g
		}
		var err2 error
		rows, err2 = tx.Acks()
		return errors.Join(err, err2)
	}); err != nil {
		return err
	}
	now, a := p.Clock(), &p.acks
	a.mu.Lock()
	defer a.mu.Unlock()
	there := map[string]bool{}
	for _, r := range rows {
		there[r.Gateway] = true
		k := a.of[r.Gateway]
		if k == nil {
			k = &ack{until: now.Add(r.Lease), lease: r.Lease, row: ackRow{turn: r.Turn, seen: now, since: now}}
			a.of[r.Gateway] = k
			if g, ok := members[r.Gateway]; ok && (g.State != store.GatewayJoined || r.At.Before(g.Joined)) { // it is of one that was evicted, which nobody came to note
				if a.part(r.Gateway, k, now); a.of[r.Gateway] == nil {
					continue
				}
				k = a.of[r.Gateway]
			}
		}
		if k.row.turn != r.Turn || k.row.seen == (feed.Instant{}) {
			k.row.turn, k.row.seen = r.Turn, now
		}
		k.row.none = k.row.left && members[r.Gateway].State != store.GatewayJoined
		if a.nodes.shared {
			k.lease = max(k.lease, r.Lease)
			k.confirm(r.Cursor, r.At)
		}
	}
	for name, k := range a.of {
		if a.nodes.shared && !there[name] && surely(k.row.stopped(k.lease), now) < 0 { // another node has forgotten it
			delete(a.of, name)
		}
	}
	return nil
}

// confirm takes it from another node how far a gateway is.
func (k *ack) confirm(at feed.Cursor, when time.Time) (further bool) {
	if at.Epoch == "" || at.Epoch == k.cursor.Epoch && at.Seq <= k.cursor.Seq || at.Epoch != k.cursor.Epoch && !when.After(k.at) {
		return false
	}
	k.cursor, k.at = at, when
	return true
}

// here is the name under which what runs in this process acknowledges: each node has a gateway-1.
func (p *Plane) here(name string) string {
	if !p.acks.nodes.shared {
		return name
	}
	return name + " (" + p.Node + ")"
}

// leave forgets what ran in this process, which has stopped: others need not wait until they can tell.
func (p *Plane) leave(ctx context.Context) error {
	if !p.acks.nodes.shared {
		return nil
	}
	rows, err := read(ctx, p, func(tx *store.Tx) ([]store.Ack, error) { return tx.Acks() })
	rows = slices.DeleteFunc(rows, func(r store.Ack) bool {
		return !slices.ContainsFunc(p.Local, func(name string) bool { return r.Gateway == p.here(name) })
	})
	return errors.Join(err, p.Store.NoteAcks(ctx, nil, rows))
}

// word is what control nodes on one store tell each other.
type word struct {
	Waits   *feed.Cursor           `json:"waits,omitempty"` // who has acknowledged this?
	Acks    map[string]feed.Cursor `json:"acks,omitempty"`
	Evicted *evictedWord           `json:"evicted,omitempty"`
}

// evictedWord: that gateway is none any more, but who shows the certificate with that thumbprint, and joined then.
type evictedWord struct {
	Name   string    `json:"name"`
	But    string    `json:"but,omitempty"`
	Joined time.Time `json:"joined,omitzero"`
}

func (p *Plane) tellNodes(ctx context.Context, w word) {
	b, err := json.Marshal(w)
	if err == nil {
		err = p.Store.Tell(ctx, string(b))
	}
	if err != nil && ctx.Err() == nil {
		p.Log.Warn("telling the other control nodes", "error", err)
	}
}

// asked is what a node that waits has found out about the gateways of others.
type asked struct {
	again *time.Timer // nil: there are no others
	met   bool        // it has seen who there is, after the change
}

// askNodes asks other nodes who has acknowledged a change.
func (p *Plane) askNodes(ctx context.Context, at feed.Cursor, before asked) asked {
	if !p.acks.nodes.shared {
		return asked{met: true}
	}
	if !before.met {
		err := p.meet(ctx)
		if before.met = err == nil; err != nil && ctx.Err() == nil {
			p.Log.Warn("looking for the gateways of other control nodes", "error", err)
		}
	}
	p.tellNodes(ctx, word{Waits: &at})
	before.stop()
	return asked{time.NewTimer(asking), before.met}
}

func (k asked) stop() {
	if k.again != nil {
		k.again.Stop()
	}
}

// due gives when it is to be asked again.
func (k asked) due() <-chan time.Time {
	if k.again == nil {
		return nil
	}
	return k.again.C
}

// others stands in a receipt for gateways of which nothing could be found out.
const others = "others (the database does not say which)"

// unknown has a receipt wait for gateways that may be there.
func (a *acks) unknown(r *feed.Receipt, now feed.Instant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	stops := r.AsOf.Add(surely(a.nodes.known(r.Cursor, now).Add(feed.MaxLease), now))
	if r.Waiting[others] = stops; stops.After(r.Bound) {
		r.Bound = stops
	}
}

// told takes in a word of another node.
func (p *Plane) told(text string) {
	var w word
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		p.Log.Warn("a word of another control node cannot be read; are all of one version?", "error", err)
		return
	}
	if e := w.Evicted; e != nil {
		if p.fleet != nil {
			p.fleet.gone(e.Name, e.But)
		}
		p.acks.evictBut(e.Name, e.Joined, p.Clock())
	}
	a := &p.acks
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.Waits != nil {
		a.nodes.until = p.Clock().Add(telling)
		for name, k := range a.of {
			if k.cursor.Epoch == w.Waits.Epoch && k.cursor.Seq >= w.Waits.Seq {
				a.nodes.add(name)
			}
		}
	}
	for name, at := range w.Acks {
		if k := a.of[name]; k != nil && k.confirm(at, p.Now()) {
			a.ring()
		}
	}
}

// tellAcks tells other nodes what gateways confirm while they wait for that, until ctx ends.
func (p *Plane) tellAcks(ctx context.Context) {
	p.Store.OnTold(p.told)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.acks.nodes.tell:
		}
		select { // those that come at the same time are told at the same time
		case <-ctx.Done():
			return
		case <-time.After(3 * time.Millisecond):
		}
		for _, w := range p.acks.toTell(p.Clock()) {
			p.tellNodes(ctx, w)
		}
	}
}

// toTell is what is new of gateways, in words that are short enough.
func (a *acks) toTell(now feed.Instant) (list []word) {
	a.mu.Lock()
	defer a.mu.Unlock()
	size := store.LongestWord
	for name := range a.nodes.news {
		k := a.of[name]
		if k == nil || k.at.IsZero() {
			continue
		}
		if size += len(name) + 150; size > store.LongestWord {
			list, size = append(list, word{Acks: map[string]feed.Cursor{}}), len(name)+150
		}
		list[len(list)-1].Acks[name] = k.cursor
	}
	clear(a.nodes.news)
	if left(a.nodes.until, now) <= 0 {
		a.nodes.until = feed.Instant{}
	}
	return list
}
