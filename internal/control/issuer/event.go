package issuer

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// note records how a request for a token ended and returns once that is durable.
// A challenge for a nonce is a step of the protocol and not an ending.
func (i *Issuer) note(r *http.Request, q *issue, err error) error {
	if challenged(err) {
		return nil
	}
	id, bad := ledger.NewID(i.Rand, q.now)
	if bad != nil {
		return bad
	}
	e := ledger.Event{ID: id, Time: q.now.UTC().Truncate(time.Microsecond), Type: "token.issue"}
	e.Source, e.Outcome, e.Status = r.RemoteAddr, ledger.Allowed, http.StatusOK
	e.Upstream, e.Detail = q.upstream, map[string]string{}
	if s := q.client.subject; s != nil {
		e.Actor, e.Owner, e.Credential = s.Identity.ID.String(), string(s.Identity.Owner), q.client.credential.ID
		e.Chain = []string{e.Actor}
	} else {
		left, ok := i.strangers.Admit(q.now)
		if !ok {
			return nil // refused all the same; it is counted
		}
		if left > 0 {
			e.Detail["left_out"] = strconv.Itoa(left)
		}
		if q.claimed != "" {
			e.Detail["claimed"] = clip(q.claimed) // proven by nothing
		}
	}
	put := func(name, value string) {
		if value != "" {
			e.Detail[name] = clip(value)
		}
	}
	put("resource", q.form["resource"])
	if q.form["grant_type"] == token.GrantExchange {
		put("grant_type", "token-exchange")
		if err != nil && len(q.said) > 0 { // proven by nothing
			e.Detail["claimed_chain"] = clipTo(strings.Join(q.said, " "), 1024)
		}
		if len(q.tried) > 0 {
			e.Chain = q.tried
		}
	}
	for name, value := range q.told {
		put(name, value)
	}
	if err != nil {
		code, text, status := status(err)
		var told *refusal
		if errors.As(err, &told) && told.why != "" {
			text = told.why
		}
		e.Outcome, e.Status, e.Reason = ledger.Refused, status, text
		put("error", code)
		return i.Record(context.WithoutCancel(r.Context()), []ledger.Event{e})
	}
	e.Token, e.Chain = q.claims.ID, q.claims.Chain.Texts()
	put("scope", q.claims.Scope)
	put("jkt", q.claims.Key.JKT)
	put("x5t#S256", q.claims.Key.X5TS256)
	put("task", q.claims.Task)
	put("expires", q.claims.Expires.Format(time.RFC3339))
	if q.status != nil {
		return i.RecordStatus(context.WithoutCancel(r.Context()), e, *q.status)
	}
	return i.Record(context.WithoutCancel(r.Context()), []ledger.Event{e})
}

func clip(s string) string { return clipTo(s, 200) }

func clipTo(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return s
}
