package issuer

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// note records how a request for a token ended and returns once that is durable.
// A challenge for a nonce is a step of the protocol and not an ending.
func (i *Issuer) note(r *http.Request, q *issue, err error) error {
	if challenged(err) {
		return nil
	}
	e, bad := newEvent(i.Rand, q.now, "token.issue")
	if bad != nil {
		return bad
	}
	e.Source, e.Outcome, e.Status = r.RemoteAddr, ledger.Allowed, http.StatusOK
	e.Upstream, e.Detail = q.upstream, map[string]string{}
	if s := q.client.subject; s != nil {
		e.Actor, e.Owner, e.Credential = s.Identity.ID.String(), string(s.Identity.Owner), q.client.credential.ID
		e.Chain = []string{e.Actor}
	} else if q.claimed != "" {
		e.Detail["claimed"] = clip(q.claimed) // proven by nothing
	}
	put := func(name, value string) {
		if value != "" {
			e.Detail[name] = clip(value)
		}
	}
	put("resource", q.form["resource"])
	if err != nil {
		code, text, status := status(err)
		e.Outcome, e.Status, e.Reason = ledger.Refused, status, text
		put("error", code)
		return i.Record(r.Context(), []ledger.Event{e})
	}
	e.Token = q.claims.ID
	put("scope", q.claims.Scope)
	put("jkt", q.claims.Key.JKT)
	put("x5t#S256", q.claims.Key.X5TS256)
	put("expires", q.claims.Expires.Format(time.RFC3339))
	return i.Record(r.Context(), []ledger.Event{e})
}

// newEvent makes an event with its UUIDv7 (RFC 9562 section 5.7).
func newEvent(rand io.Reader, now time.Time, kind string) (ledger.Event, error) {
	var b [16]byte
	if _, err := io.ReadFull(rand, b[6:]); err != nil {
		return ledger.Event{}, fmt.Errorf("make event id: %w", err)
	}
	binary.BigEndian.PutUint32(b[0:], uint32(now.UnixMilli()>>16))
	binary.BigEndian.PutUint16(b[4:], uint16(now.UnixMilli()))
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	id := "evt_" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	return ledger.Event{ID: id, Time: now.UTC().Truncate(time.Microsecond), Type: kind}, nil
}

func clip(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}
