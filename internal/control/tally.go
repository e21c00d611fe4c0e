package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// tally counts what identities did in the last day, from the ledger and by the hour: every node keeps its own, and after a start reads
// that day anew.
type tally struct {
	mu        sync.Mutex
	of        map[string]*day // by identity
	upstreams map[string]int  // how many requests failed since the last that did not
}

const (
	hoursKept  = 24
	oddRefused = 10 // so many requests refused within a day, and
	oddShare   = 4  // one in so many at least, is odd
	oddMost    = 10_000
	downAfter  = 3 // so many failures one after the other, and an upstream counts as down
)

// day is one identity's.
type day struct {
	owner   string
	hours   [hoursKept]hour
	tokens  []time.Time     // when they were given out; the newest
	running map[string]bool // requests that were put on record before they began, and have not ended
	behalf  map[string]bool // whom it acted for; the first of them
}

const (
	tokensKept = 1000
	behalfKept = 50
)

type hour struct {
	at                int64 // hours since 1970
	requests, refused int
}

// Today is what identities did in the last 24 hours.
type Today struct {
	Requests   int `json:"requests"`
	Refused    int `json:"refused"`
	Identities int `json:"identities" doc:"That asked for something"`
}

func (t *tally) add(e ledger.Event) {
	if e.Type != "request" && e.Type != "token.issue" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of, t.upstreams = map[string]*day{}, map[string]int{}
	}
	if e.Type == "token.issue" && e.Outcome != ledger.Allowed {
		return
	}
	if e.Type == "request" && e.Outcome != ledger.Pending {
		t.ended(e)
	}
	id, err := identity.ParseID(e.Actor)
	if err != nil || id.Kind() == identity.Person {
		return // a stranger
	}
	d := t.of[e.Actor]
	if d == nil {
		d = &day{running: map[string]bool{}, behalf: map[string]bool{}}
		t.of[e.Actor] = d
	}
	d.owner = e.Owner
	if len(e.Chain) > 1 && len(d.behalf) < behalfKept {
		d.behalf[e.Chain[1]] = true
	}
	switch {
	case e.Type == "token.issue":
		if d.tokens = append(d.tokens, e.Time); len(d.tokens) > tokensKept {
			d.tokens = d.tokens[len(d.tokens)-tokensKept:]
		}
	case e.Outcome == ledger.Pending:
		d.running[e.Request] = true
	default:
		delete(d.running, e.Request)
		d.hour(e)
	}
}

func (t *tally) ended(e ledger.Event) {
	if e.Upstream != "" && e.Outcome == ledger.Failed {
		t.upstreams[e.Upstream]++
	} else if e.Upstream != "" && e.Outcome == ledger.Allowed {
		delete(t.upstreams, e.Upstream)
	}
}

// hour counts a request that ended.
func (d *day) hour(e ledger.Event) {
	at := e.Time.Unix() / 3600
	h := &d.hours[((at%hoursKept)+hoursKept)%hoursKept]
	if h.at > at {
		return // of a day that is over
	}
	if h.at < at {
		*h = hour{at: at}
	}
	h.requests++
	if e.Outcome == ledger.Refused {
		h.refused++
	}
}

// tallied is when the hours begin that a sum at that moment is of.
func tallied(now time.Time) time.Time {
	return time.Unix((now.Unix()/3600-hoursKept+1)*3600, 0).UTC()
}

// sum is what of an identity's requests ended in the last day, and was refused.
func (d *day) sum(now time.Time) (requests, refused int) {
	since := now.Unix()/3600 - hoursKept
	for _, h := range d.hours {
		if h.at > since {
			requests, refused = requests+h.requests, refused+h.refused
		}
	}
	return requests, refused
}

// odd reports whether who was refused so often behaves oddly.
func odd(requests, refused int) bool { return refused >= oddRefused && refused*oddShare >= requests }

// odd are those that behave oddly, the first of them by name.
func (t *tally) odd(now time.Time) []identity.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []identity.ID{}
	for who, d := range t.of {
		if id, err := identity.ParseID(who); err == nil && odd(d.sum(now)) {
			list = append(list, id)
		}
	}
	slices.SortFunc(list, func(a, b identity.ID) int { return strings.Compare(a.String(), b.String()) })
	return list[:min(len(list), oddMost)]
}

// why says what is odd about an identity, "" if nothing is.
func (t *tally) why(id identity.ID, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.of[id.String()]
	if d == nil {
		return ""
	}
	requests, refused := d.sum(now)
	if !odd(requests, refused) {
		return ""
	}
	return fmt.Sprintf("%d of its %d requests in the last 24 hours were refused", refused, requests)
}

// today sums up, for these owners or, with nil, for all.
func (t *tally) today(now time.Time, only []identity.OwnerID) (sum Today) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for who, d := range t.of {
		requests, refused := d.sum(now)
		if requests == 0 {
			if len(d.running) == 0 && (len(d.tokens) == 0 || d.tokens[len(d.tokens)-1].Before(now.Add(-hoursKept*time.Hour))) {
				delete(t.of, who)
			}
			continue
		}
		if only != nil && !slices.Contains(only, identity.OwnerID(d.owner)) {
			continue
		}
		sum.Requests, sum.Refused, sum.Identities = sum.Requests+requests, sum.Refused+refused, sum.Identities+1
	}
	return sum
}

// around says what of an identity is under way, of tokens that live for ttl, and whom it acted for in the last day.
func (t *tally) around(id identity.ID, now time.Time, ttl time.Duration) (running, tokens int, behalf []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.of[id.String()]
	if d == nil {
		return 0, 0, nil
	}
	for _, at := range d.tokens {
		if now.Before(at.Add(ttl)) {
			tokens++
		}
	}
	return len(d.running), tokens, slices.Sorted(maps.Keys(d.behalf))
}

// down reports whether nothing came of the last requests to an upstream.
func (t *tally) down(upstream string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.upstreams[upstream] >= downAfter
}

// count keeps the tally until ctx ends.
func (p *Plane) count(ctx context.Context) {
	for ctx.Err() == nil {
		from, err := p.Store.Since(ctx, p.Now().Add(-hoursKept*time.Hour))
		if err == nil {
			for e, bad := range p.Store.Tail(ctx, from) {
				if err = bad; bad != nil {
					break
				}
				p.tally.add(e.Event)
			}
		}
		if err != nil && ctx.Err() == nil {
			p.Log.Warn("counting what identities do", "error", err)
		}
		p.tally.clear() // or what was counted would be again
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (t *tally) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of, t.upstreams = nil, nil
}
