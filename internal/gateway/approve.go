package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// What policies ask people's yes for goes on only with an approval of that very request:
// by whom, of what, with which headers that matter and which body: byte for byte, or, where a
// connector knows what of it says something of the one try alone, all but that. Its
// hash is taken of what is held here and sent from here, so nothing that matters can be changed
// between the yes and the deed; and it is used up at the control plane in one transaction, so of all
// who try, at whatever gateway, one gets through.

const (
	maxPut    = 1 << 20  // bytes of a body that people can be asked about
	maxShown  = 16 << 10 // of those, that they are shown
	deskTime  = 10 * time.Second
	mostWait  = 60 * time.Second
	retryWait = 30 * time.Second // for who comes back for the answer, in a protocol that has a way to
)

// asked lets r pass if people have said yes to it, or refuses it with where they can. The
// decision is r's, and asks.
func (g *Gateway) asked(r *request) error {
	if g.Desk == nil {
		return &problem{status: http.StatusForbidden, kind: "approval-needed", detail: r.decision.Reason + " This gateway has nobody to ask."}
	}
	if r.uploads() {
		return &problem{status: http.StatusForbidden, kind: "approval-needed", detail: fmt.Sprintf("%s Nobody can be asked about an upload whose content comes later: send it in one request, of at most %d bytes.", r.decision.Reason, maxPut)}
	}
	q, err := g.puts(r)
	if err != nil {
		return err
	}
	r.waits = &q
	a, good := g.answered(q)
	if !good && a.State != feed.Waiting && a.State != feed.Denied {
		if a, err = g.ask(r); err != nil {
			return err
		}
		good = g.View.Good(a, q.Ask, g.Now()) == nil // the answer may be there before the view has it
	}
	if wait := r.wait; !good && wait > 0 && a.State == feed.Waiting {
		a, good = g.hold(r, q, a, wait)
	}
	if !good {
		return g.pending(r, a)
	}
	r.approval = a
	r.decision.Allow, r.decision.Ask = true, nil
	r.decision.Policies = append(slices.Clip(r.decision.Policies), a.ID)
	r.decision.Reason = "Approved by " + owners(a) + "."
	return nil
}

// answered finds what people said about q: an approval of it, or of all such, that is good; else how it stands.
func (g *Gateway) answered(q feed.Question) (a feed.Approval, good bool) {
	now := g.Now()
	for _, key := range []string{q.Hash, q.Keys.Task, q.Keys.Resource} {
		if b, ok := g.View.Approval(key); ok && now.Before(b.Expires) {
			if g.View.Good(b, q.Ask, now) == nil {
				return b, true
			}
			if key == q.Hash {
				a = b
			}
		}
	}
	return a, false
}

// ask puts the question to people, once however often it is asked.
func (g *Gateway) ask(r *request) (feed.Approval, error) {
	ctx, cancel := context.WithTimeout(r.in.Context(), deskTime)
	defer cancel()
	a, err := g.Desk.Ask(ctx, *r.waits)
	var no *feed.NotAsked
	if errors.As(err, &no) {
		return a, &problem{status: http.StatusForbidden, kind: "approval-needed", detail: r.decision.Reason + " " + no.Why}
	}
	if err != nil {
		g.Log.Warn("asking people", "request", r.id, "error", err)
		return a, unavailable("This needs approval, and people cannot be asked right now.")
	}
	return a, nil
}

// use takes the approval that r goes on with, when all that could refuse it before has not.
func (g *Gateway) use(r *request) error {
	if r.approval.State != feed.Approved {
		return nil
	}
	if err := g.still(r); err != nil { // nothing is used up for who was stopped while it waited
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.in.Context()), deskTime)
	defer cancel()
	err := g.Desk.Use(ctx, r.approval.ID, r.waits.Hash, r.id)
	if errors.Is(err, feed.ErrUsed) { // another was quicker: this one is asked about anew
		r.decision.Allow, r.decision.Policies = false, r.decision.Policies[:len(r.decision.Policies)-1]
		a, err := g.ask(r)
		if err != nil {
			return err
		}
		return g.pending(r, a)
	}
	if err != nil {
		g.Log.Warn("using an approval", "request", r.id, "approval", r.approval.ID, "error", err)
		return unavailable("Whether the approval is still good cannot be asked right now.")
	}
	return nil
}

// stands reports whether r, on its way with people's yes, may still be: what is asked now is what they agreed to.
func (g *Gateway) stands(r *request, d policy.Decision, u *policy.Upstream, now time.Time) bool {
	if d.Ask == nil || r.approval.ID == "" || !d.Ask.Within(r.approval.Of) {
		return false
	}
	if r.approval.State != feed.Standing {
		return true
	}
	if k := r.keys(g.whose(r, u)); r.approval.Key != k.Task && r.approval.Key != k.Resource {
		return false
	}
	a, ok := g.View.Approval(r.approval.Key)
	return ok && a.ID == r.approval.ID && g.View.Good(a, d.Ask, now) == nil
}

// hold waits for an answer, as long as the caller does and no longer than wait.
func (g *Gateway) hold(r *request, q feed.Question, a feed.Approval, wait time.Duration) (feed.Approval, bool) {
	select {
	case g.holds <- struct{}{}:
		defer func() { <-g.holds }()
	default: // too many wait already: this one hears at once that it has to come again
		return a, false
	}
	timeout := time.NewTimer(min(wait, mostWait))
	defer timeout.Stop()
	for seen := false; ; {
		more := g.View.ApprovalChange() // before the look, so that nothing falls between
		b, good := g.answered(q)
		seen = seen || b.ID == a.ID // the view may not have the question itself yet
		if good || seen && b.State != feed.Waiting {
			if b.ID == "" { // it ended
				b = a
			}
			return b, good
		}
		select {
		case <-more:
		case <-timeout.C:
			return a, false
		case <-r.in.Context().Done():
			return a, false
		case <-g.done:
			return a, false
		}
	}
}

// pending is the refusal of what waits for people, or was denied by them.
func (g *Gateway) pending(r *request, a feed.Approval) error {
	p := &problem{status: http.StatusForbidden, kind: "approval-needed", approval: &a, elicits: r.elicits}
	if a.State == feed.Denied {
		p.kind = "approval-denied"
		p.detail = fmt.Sprintf("It needs approval, and %s denied it; the same can be asked again after %s.", owners(a), a.Expires.UTC().Format("15:04 MST"))
		return p
	}
	if fresh := r.waits.Ask.Fresh(); fresh > 0 {
		p.oauth, p.maxAge = "insufficient_user_authentication", fresh
	}
	p.detail = fmt.Sprintf("%s %s can approve it at %s until %s; then send exactly the same request again.", r.waits.Why, a.Who, g.approveAt(a), a.Expires.UTC().Format("15:04 MST"))
	return p
}

func (g *Gateway) approveAt(a feed.Approval) string { return g.Issuer + "/approvals/" + a.ID }

func owners(a feed.Approval) string {
	names := make([]string, len(a.By))
	for i, by := range a.By {
		if names[i] = string(by); strings.HasPrefix(names[i], feed.OperatorPrefix) {
			names[i] = "an operator"
		}
	}
	return strings.Join(names, " and ")
}

// puts is what people are asked about r, whose body is held from here on.
func (g *Gateway) puts(r *request) (feed.Question, error) {
	if r.in.Header["Upgrade"] != nil {
		return feed.Question{}, &problem{status: http.StatusForbidden, kind: "approval-needed", detail: r.decision.Reason + " Nobody can be asked about a WebSocket, since what will go through it is not known."}
	}
	r.prefers()
	shown, exact, err := r.exactly()
	if err != nil {
		return feed.Question{}, err
	}
	q := feed.Question{Ask: r.decision.Ask, Chain: r.claims.Chain, Task: r.claims.Task, Upstream: r.name, Method: r.in.Method, Action: r.call.Action, Class: r.call.Class,
		Resource: r.call.Resource, Why: r.decision.Reason, Request: r.id, Gateway: g.Name, Source: r.source, Shown: shown}
	asks, err := json.Marshal(q.Ask)
	if err != nil {
		return q, err
	}
	whose := g.whose(r, r.backend.upstream)
	parts := append([]string{"request", whose, q.Task, q.Method, string(q.Class), q.Resource, shown.Target, shown.Type, string(exact), string(asks)}, shown.Headers...)
	for _, who := range r.recipients() { // whom it goes to, where it does not say so itself
		parts = append(parts, "to", who)
	}
	q.Hash, q.Keys = feed.Key(parts...), r.keys(whose)
	return q, nil
}

// whose is part of all that an approval can be for: the action on the upstream as it is, those behind
// it and who answers for each. What was agreed to for one owner is not for the next.
func (g *Gateway) whose(r *request, u *policy.Upstream) string {
	who := []string{r.name, u.URL, string(u.Owner), r.call.Action}
	for _, l := range r.claims.Chain {
		owner := identity.OwnerID("")
		if s, ok := g.View.Subject(l.ID); ok {
			owner = s.Identity.Owner
		}
		who = append(who, l.ID.String(), strconv.FormatUint(l.Generation, 10), string(owner))
	}
	return feed.Key(who...)
}

// keys are those under which an approval of more than r stands.
func (r *request) keys(whose string) (k feed.Keyed) {
	k.Resource = feed.Key("resource", whose, r.call.Resource)
	if r.claims.Task != "" {
		k.Task = feed.Key("task", whose, r.claims.Task)
	}
	return k
}

// exactly is what r asks for: what people are shown of it, and its body in the one form it has.
func (r *request) exactly() (*feed.Shown, []byte, error) {
	s := &feed.Shown{Target: r.target, Type: r.in.Header.Get("Content-Type")}
	for _, name := range slices.Sorted(maps.Keys(r.in.Header)) {
		if name != "Content-Type" && !indifferent[name] {
			for _, v := range r.in.Header[name] {
				s.Headers = append(s.Headers, name+": "+v)
			}
		}
	}
	exact, err := r.body()
	if err != nil {
		return nil, nil, err
	}
	text := exact
	if b := new(bytes.Buffer); json.Indent(b, exact, "", "  ") == nil {
		text = b.Bytes()
	}
	s.Size = len(exact)
	s.To = slices.Clone(r.recipients())
	for i, who := range s.To {
		if layer.Bare(who) == "" { // what a stranger calls an address is no sentence of ours
			s.To[i] = strconv.QuoteToASCII(who)
		}
	}
	if r.facts != nil {
		s.Origins = r.facts.Why
	}
	if len(exact) > 0 {
		sum := sha256.Sum256(exact)
		s.SHA256 = hex.EncodeToString(sum[:])
	}
	switch {
	case !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0:
		s.Binary = true
	case len(text) > maxShown:
		s.Cut, s.Body = true, strings.ToValidUTF8(string(text[:maxShown]), "")
	default:
		s.Body = string(text)
	}
	return s, exact, nil
}

// body is what r asks for beside its head, in the connector's own form if it has one. It is held whole.
func (r *request) body() ([]byte, error) {
	tooLarge := &problem{status: http.StatusRequestEntityTooLarge, kind: "too-large",
		detail: fmt.Sprintf("%s Nobody can be asked about a body of more than %d bytes, so it cannot be approved.", r.decision.Reason, maxPut)}
	if asker, ok := r.backend.connector.(connector.Asker); ok {
		b, err := asker.Exact(&r.ask)
		if len(b) > maxPut {
			return nil, tooLarge
		}
		return b, err
	}
	if r.ask.Body != nil || r.in.Body == nil || r.in.Body == http.NoBody {
		return r.ask.Body, nil
	}
	b, err := r.read(maxPut)
	var p *problem
	if errors.As(err, &p) && p.kind == "too-large" {
		return nil, tooLarge
	}
	r.ask.Body = b
	return b, err
}

// indifferent are the headers that another try of the same request may have otherwise.
// What a request means must not hang on them; any other header is part of what is approved.
var indifferent = map[string]bool{"Accept": true, "Accept-Encoding": true, "Accept-Language": true, "Authorization": true, "Cache-Control": true,
	"Connection": true, "Content-Length": true, "Date": true, "Dpop": true, "Expect": true, "Idempotency-Key": true, "Keep-Alive": true, "Last-Event-Id": true,
	"Mcp-Protocol-Version": true, "Mcp-Session-Id": true, "Pragma": true, "Te": true, "Traceparent": true, "Tracestate": true, "User-Agent": true, "X-Request-Id": true}

var waitPattern = regexp.MustCompile(`^wait=([0-9]{1,4})$`)

// prefers reads how long the caller waits for an answer (RFC 7240 section 4.3). It is said to us, and goes no further.
func (r *request) prefers() {
	values := r.in.Header["Prefer"]
	if len(values) != 1 {
		return
	}
	if m := waitPattern.FindStringSubmatch(strings.TrimSpace(values[0])); m != nil {
		n, _ := strconv.Atoi(m[1])
		r.wait = time.Duration(n) * time.Second
		delete(r.in.Header, "Prefer")
	}
}
