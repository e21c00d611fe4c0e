package ledger

import (
	"slices"
	"strings"
	"time"
)

// Query selects events. Empty fields select all.
type Query struct {
	Identity string // part of the actor's or a chain member's name, or of what an operator's change was done to
	Owner    string
	Of       []string // of one of these owners, or done by one; nil: whoever
	Upstream string
	Action   string // exact, or with a trailing * as a prefix
	Class    string
	Type     string  // exact, or a noun: "identity" is all identity.* events
	Outcome  Outcome // or Ended
	By       string  // "identity": only what identities did
	Task     string  // under this task, or about it
	Text     string  // anywhere in the leaf, in any case
	Since    time.Time
	Until    time.Time
}

// Match reports whether q selects e, whose leaf is given for the search in its text.
func (q Query) Match(e Event, leaf []byte) bool {
	switch {
	case q.Owner != "" && e.Owner != q.Owner,
		q.Upstream != "" && e.Upstream != q.Upstream,
		q.Class != "" && e.Class != q.Class,
		q.Outcome == Ended && e.Outcome == Pending,
		q.Outcome != "" && q.Outcome != Ended && e.Outcome != q.Outcome,
		q.By == "identity" && !byIdentity(e.Actor),
		q.Type != "" && e.Type != q.Type && !strings.HasPrefix(e.Type, q.Type+"."),
		q.Task != "" && e.Detail["task"] != q.Task,
		q.Action != "" && !matchName(q.Action, e.Action),
		!q.Since.IsZero() && e.Time.Before(q.Since),
		!q.Until.IsZero() && !e.Time.Before(q.Until),
		q.Text != "" && !strings.Contains(strings.ToLower(string(leaf)), strings.ToLower(q.Text)):
		return false
	}
	return (q.Of == nil || q.of(e)) && (q.Identity == "" || q.names(e))
}

// Ended selects every outcome but Pending.
const Ended Outcome = "ended"

func byIdentity(actor string) bool {
	return strings.HasPrefix(actor, "spiffe://") && !strings.Contains(actor, "/person/")
}

func (q Query) of(e Event) bool {
	by, person := strings.CutPrefix(e.Actor, "owner:")
	return e.Owner != "" && slices.Contains(q.Of, e.Owner) || person && slices.Contains(q.Of, by)
}

func (q Query) names(e Event) bool {
	is := func(s string) bool { return s == q.Identity || strings.HasSuffix(s, "/"+q.Identity) }
	return is(e.Actor) || slices.ContainsFunc(e.Chain, is) || (!strings.HasPrefix(e.Type, "request") && is(e.Resource))
}

func matchName(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}
