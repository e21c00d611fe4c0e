package history

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// Finding is something that must not have happened.
type Finding struct {
	Rule string // which one is broken
	At   int64  // when, if it has a time
	Text string
}

func (f Finding) String() string { return f.Rule + ": " + f.Text }

// The rules.
const (
	RuleWhole   = "whole"   // a history that is cut off, or shows nothing, proves nothing
	RuleLost    = "lost"    // what was acknowledged is there
	RuleGhost   = "ghost"   // what was refused is not
	RuleState   = "state"   // who may and who may not is what was acknowledged last
	RuleLate    = "late"    // nothing is served that was revoked, after its bound
	RuleUnnamed = "unnamed" // a receipt names every gateway that serves
	RuleBound   = "bound"   // a receipt names no moment later than the lease
	RuleLease   = "lease"   // a gateway that nobody hears serves nothing after its lease
	RuleEvent   = "event"   // what was let pass is on record, once
	RuleLedger  = "ledger"  // the ledger verifies
	RuleHeal    = "heal"    // everything works again by itself
	RuleStall   = "stall"   // what has nothing to do with a fault goes on
)

// Others stands in a receipt for gateways that the database could not say: whoever is not named is among them.
const Others = "others"

// history is one that is looked at.
type history struct {
	terms    Terms
	requests map[string]Line   // by ID
	got      map[string]int64  // by ID
	by       map[string][]Line // the requests of each gateway that its upstream received, by Ended, which is when
	served   map[string][]Line // the steady subject's that were answered with 200, of each gateway, by Began
	ops      map[string][]Line // off and on, of each subject, by Began
	of       map[Kind][]Line
	found    []Finding
}

func (h *history) add(rule string, at int64, format string, args ...any) {
	h.found = append(h.found, Finding{rule, at, fmt.Sprintf(format, args...)})
}

// Check says what is wrong with a history; nothing means that every promise was kept.
func Check(lines []Line) []Finding {
	h := &history{requests: map[string]Line{}, got: map[string]int64{}, by: map[string][]Line{}, served: map[string][]Line{}, ops: map[string][]Line{}, of: map[Kind][]Line{}}
	if len(lines) < 2 || lines[0].Kind != Rules || lines[0].Rules == nil || lines[len(lines)-1].Kind != End {
		h.add(RuleWhole, 0, "it does not begin with its rules and end with its end")
		return h.found
	}
	h.terms = *lines[0].Rules
	h.sort(lines[1 : len(lines)-1])
	h.made()
	h.states()
	h.late()
	h.receipts()
	h.leases()
	h.events()
	h.ledgers()
	h.heals()
	h.stalls()
	h.whole()
	sort.SliceStable(h.found, func(i, k int) bool { return h.found[i].At < h.found[k].At })
	return h.found
}

func (h *history) sort(lines []Line) {
	for _, l := range lines {
		switch l.Kind {
		case Request:
			if _, twice := h.requests[l.ID]; twice || l.ID == "" {
				h.add(RuleWhole, l.Began, "the request %q is there twice", l.ID)
			}
			h.requests[l.ID] = l
			if l.What == h.terms.Steady && l.Status == 200 {
				h.served[l.Who] = append(h.served[l.Who], l)
			}
		case Got:
			if _, twice := h.got[l.ID]; !twice {
				h.got[l.ID] = l.Ended
			}
		case Off, On:
			h.ops[l.What] = append(h.ops[l.What], l)
		}
		h.of[l.Kind] = append(h.of[l.Kind], l)
	}
	for id, at := range h.got {
		r, ok := h.requests[id]
		if !ok {
			h.add(RuleWhole, at, "the upstream received %q, which nobody sent", id)
			continue
		}
		r.Ended = at
		h.by[r.Who] = append(h.by[r.Who], r)
	}
	for _, list := range h.by {
		slices.SortFunc(list, func(a, b Line) int { return int(a.Ended - b.Ended) })
	}
	for _, lists := range []map[string][]Line{h.served, h.ops} {
		for _, list := range lists {
			slices.SortStableFunc(list, func(a, b Line) int { return int(a.Began - b.Began) })
		}
	}
}

// whole: what shows nothing is no proof.
func (h *history) whole() {
	for _, g := range h.terms.Gateways {
		if len(h.served[g]) == 0 {
			h.add(RuleWhole, 0, "nothing was served through %s", g)
		}
	}
	count := map[Kind]int{}
	for kind, list := range h.of {
		for _, l := range list {
			if l.Result == OK {
				count[kind]++
			}
		}
	}
	for _, kind := range []Kind{Off, On, Make, Ledger} {
		if count[kind] == 0 {
			h.add(RuleWhole, 0, "no operation of kind %q was acknowledged", kind)
		}
	}
	refused := 0
	for _, r := range h.of[Request] {
		if r.Status == 403 || r.Status == 401 {
			refused++
		}
	}
	if refused == 0 {
		h.add(RuleWhole, 0, "nothing was ever refused")
	}
	if len(h.of[Fault]) == 0 {
		h.add(RuleWhole, 0, "nothing was broken")
	}
}

// made: what was acknowledged is there, and what was said to be not there is not.
func (h *history) made() {
	there := map[string]bool{}
	for _, l := range h.of[Made] {
		there[l.What] = true
	}
	for _, l := range h.of[Make] {
		switch {
		case l.Result == OK && !there[l.What]:
			h.add(RuleLost, l.Ended, "%s was acknowledged by %s and is gone", l.What, l.Who)
		case l.Result == Refused && there[l.What]:
			h.add(RuleGhost, l.Ended, "%s said that %s was not made, and it is there", l.Who, l.What)
		}
	}
}

// states: each subject is as it was left.
func (h *history) states() {
	may := map[string]bool{}
	for _, l := range h.of[May] {
		may[l.What] = true
	}
	for subject, ops := range h.ops {
		could := map[bool]bool{true: true}
		var last Line
		for _, op := range ops {
			switch op.Result {
			case OK:
				could, last = map[bool]bool{op.Kind == On: true}, op
			case Unknown:
				could[op.Kind == On] = true
			}
		}
		if !could[may[subject]] {
			h.add(RuleState, last.Ended, "%s may in the end: %v; the last that was acknowledged was %q by %s", subject, may[subject], last.Kind, last.Who)
		}
	}
}

// bounds is by when each gateway serves a subject no more; "" is any that is not named.
func (h *history) bounds(off Line) map[string]int64 {
	latest := off.Ended + int64(h.terms.Lease)
	m := map[string]int64{"": latest}
	if off.Told != nil {
		for _, g := range off.Told.Confirmed {
			m[g] = off.Ended
		}
		for g, more := range off.Told.Waiting { // also of one by whose name another has confirmed
			m[g] = min(off.Ended+max(more, 0), latest)
		}
	}
	return m
}

// late: after its bound a gateway serves nothing of who was switched off, until somebody begins to switch it on again.
func (h *history) late() {
	type window struct {
		off   Line
		bound map[string]int64
		until int64
	}
	windows := map[string][]window{}
	for subject, ops := range h.ops {
		for i, op := range ops {
			if op.Kind != Off || op.Result != OK {
				continue
			}
			w := window{op, h.bounds(op), 1<<63 - 1}
			for _, next := range ops[i+1:] {
				if next.Kind == On && next.Result != Refused {
					w.until = next.Began
					break
				}
			}
			windows[subject] = append(windows[subject], w)
		}
	}
	for g, list := range h.by {
		for _, r := range list {
			for _, w := range windows[r.What] {
				bound, named := w.bound[g]
				if !named {
					bound = w.bound[""]
				}
				if r.Ended < w.until && (r.Began > bound || r.Ended > bound+int64(h.terms.Flight)) {
					h.add(RuleLate, r.Ended, "%s was switched off by %s, which %s enforces by its receipt %s after the answer; it served %s, which was sent %s and received %s after that",
						r.What, w.off.Who, g, span(bound-w.off.Ended), r.ID, span(r.Began-bound), span(r.Ended-bound))
				}
			}
		}
	}
}

func span(d int64) time.Duration { return time.Duration(d).Round(time.Microsecond) }

// receipts: they name whoever serves, and no moment that is too late.
func (h *history) receipts() {
	for _, off := range h.of[Off] {
		if off.Result != OK || off.Told == nil {
			continue
		}
		others := false
		for g, more := range off.Told.Waiting {
			if strings.HasPrefix(g, Others) {
				others = true
			} else if time.Duration(more) > h.terms.Lease {
				h.add(RuleBound, off.Ended, "the receipt for %s has %s stop after %s, which is longer than its lease", off.What, g, span(more))
			}
		}
		for _, g := range h.terms.Gateways {
			_, waits := off.Told.Waiting[g]
			if waits || others || slices.Contains(off.Told.Confirmed, g) || h.evicted(g, off) {
				continue
			}
			list := h.by[g]
			i := sort.Search(len(list), func(i int) bool { return list[i].Ended > off.Ended })
			if i > 0 && list[0].Ended < off.Began && i < len(list) && list[i].Ended < off.Ended+int64(h.terms.Lease) {
				h.add(RuleUnnamed, off.Ended, "%s served before and after %s was switched off by %s, and the receipt does not name it", g, off.What, off.Who)
			}
		}
	}
}

// evicted reports whether a gateway was evicted about when a subject was switched off, and had not joined anew for sure.
func (h *history) evicted(g string, off Line) bool {
	return slices.ContainsFunc(h.of[Fault], func(f Line) bool {
		return slices.Contains(f.Broken.Evicted, g) && off.Ended > f.Began-int64(h.terms.Lease) && off.Began < f.Ended+10*int64(h.terms.Lease)
	})
}

// leases: whom nobody hears serves nothing after its lease.
func (h *history) leases() {
	for _, f := range h.of[Fault] {
		if f.Broken == nil {
			continue
		}
		for _, g := range f.Broken.Cuts {
			end, before := f.Began+int64(h.terms.Lease), false
			for _, r := range h.by[g] {
				before = before || r.Ended < f.Began
				if r.Ended < f.Ended && (r.Began > end || r.Ended > end+int64(h.terms.Flight)) {
					h.add(RuleLease, r.Ended, "%s, cut off by %q, served %s %s after its lease had ended", g, f.What, r.ID, span(r.Ended-end))
				}
			}
			if !before || f.Ended < end {
				h.add(RuleWhole, f.Began, "%q shows nothing: %s served nothing before, or was not cut off for its lease", f.What, g)
			}
		}
	}
}

// events: each request that was let pass is on record, once.
func (h *history) events() {
	times := map[string]int{}
	for _, e := range h.of[Event] {
		times[e.ID]++
	}
	for id, at := range h.got {
		if times[id] != 1 {
			h.add(RuleEvent, at, "%s was let pass by %s, and has %d events", id, h.requests[id].Who, times[id])
		}
	}
}

func (h *history) ledgers() {
	for _, l := range h.of[Ledger] {
		if l.Result != OK {
			h.add(RuleLedger, l.Ended, "%s: %s", l.Who, l.Text)
		}
	}
}

// heals: after each fault, each gateway serves and each node acknowledges.
func (h *history) heals() {
	for _, f := range h.of[Fault] {
		until := f.Ended + int64(h.terms.Heal)
		for _, g := range h.terms.Gateways {
			if !slices.ContainsFunc(h.served[g], func(r Line) bool { return r.Began >= f.Ended && r.Began <= until }) {
				h.add(RuleHeal, f.Ended, "%s serves nothing in the %s after %q", g, h.terms.Heal, f.What)
			}
		}
		for _, n := range h.terms.Nodes {
			if !slices.ContainsFunc(h.of[Make], func(l Line) bool {
				return l.Who == n && l.Result == OK && l.Began >= f.Ended && l.Began <= until
			}) {
				h.add(RuleHeal, f.Ended, "%s acknowledges nothing in the %s after %q", n, h.terms.Heal, f.What)
			}
		}
	}
}

// stalls: a gateway that a fault does not touch serves all the while.
func (h *history) stalls() {
	for _, f := range h.of[Fault] {
		for _, g := range h.terms.Gateways {
			if f.Broken == nil || slices.Contains(f.Broken.Touches, g) || slices.Contains(f.Broken.Cuts, g) {
				continue
			}
			last := f.Began
			for _, r := range append(slices.Clone(h.served[g]), Line{Began: f.Ended}) {
				if r.Began < f.Began || r.Began > f.Ended {
					continue
				}
				if gap := r.Began - last; gap > int64(h.terms.Gap) {
					h.add(RuleStall, last, "%s served nothing for %s during %q, which is not to touch it", g, span(gap), f.What)
				}
				last = r.Began
			}
		}
	}
}
