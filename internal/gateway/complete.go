package gateway

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// maxCompleted is how large what a request names may be: a mail with 25 MB of attachments, as base64, within JSON.
const maxCompleted = 48 << 20

// complete has a request say all that it would do, where more than its name decides: what it sends by name, and whom an answer goes to,
// is asked for now, and that is what is decided on and what people are shown. Where the upstream can be told, it is what goes out,
// whatever becomes of it meanwhile; else see goes. It reports whether anything was added. d is what was decided without it.
func (g *Gateway) complete(r *request, d policy.Decision) (bool, error) {
	c, ok := r.backend.connector.(connector.Completer)
	if !ok || !c.Names(r.call) {
		return false, nil
	}
	if d.Ask == nil && !(d.Allow && (len(d.Layers) > 0 || r.facts != nil)) && !g.weighs(r) && !(d.Allow && g.counted(r)) {
		return false, nil
	}
	secret, err := g.obtain(r, feed.Secret{})
	if err != nil {
		return false, err
	}
	r.secret = *secret
	if u, _ := g.View.Upstream(r.name); u != r.backend.upstream { // the secret may be for another place than this goes to
		return false, movedOn(r)
	}
	body, more, err := c.Complete(&r.ask, r.call, r.lookFor)
	if err != nil {
		return false, unsaid(r, d, err)
	}
	if more != nil {
		if r.added = more; r.call.Arguments == nil {
			r.call.Arguments = map[string]any{}
		}
		maps.Copy(r.call.Arguments, more)
		return true, nil
	}
	if err := r.holds(int64(len(body))); err != nil {
		return false, err
	}
	r.ask.Body = body
	r.in.Body, r.in.ContentLength, r.in.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	if r.call, err = r.backend.recognise(&r.ask); err != nil {
		return false, &problem{status: http.StatusForbidden, kind: "unrecognised", cause: err, detail: "What " + r.name + " has under that name cannot be read: " + err.Error() + "."}
	}
	return true, nil
}

// addressed are the arguments that say whom a call goes to.
var addressed = []string{"recipients", "recipient_domains"}

// blind refuses a call that goes to whom nobody can say, where some policy asks for that: it would find nobody, whoever it is.
func (g *Gateway) blind(r *request) error {
	if s, ok := r.backend.connector.(connector.Speaker); ok && s.Implies(r.call) && g.weighs(r) {
		return &problem{status: http.StatusForbidden, kind: "denied", detail: "A policy asks whom this goes to, which it does not say, and which may become another before it goes; send the mail itself, with all that it says."}
	}
	return nil
}

// weighs reports whether whom r goes to matters to whatever decides on it, and whether it might be allowed at all.
func (g *Gateway) weighs(r *request) bool {
	ask := r.own(r.call, r.backend.upstream, r.start)
	ask.Call.Arguments = nil
	found := false
	for _, l := range r.claims.Chain {
		s, ok := g.View.Subject(l.ID)
		if !ok {
			return false
		}
		set, err := s.Set()
		if err != nil || !set.May(ask) {
			return false
		}
		found = found || set.Weighs(ask, addressed...)
	}
	if t, ok := g.View.Task(r.claims.Task); ok {
		set, err := t.Set()
		if err != nil || !set.May(ask) {
			return false
		}
		found = found || set.Weighs(ask, addressed...)
	}
	return found
}

// counted reports whether the task of r counts something of it.
func (g *Gateway) counted(r *request) bool {
	t, ok := g.View.Task(r.claims.Task)
	return ok && slices.ContainsFunc(t.Counts, func(n policy.Count) bool { return n.Of(r.call) })
}

// goes asks again, right before r goes on, whom it goes to where the upstream cannot be told: people may have thought for a while.
func (g *Gateway) goes(r *request) error {
	if r.added == nil {
		return nil
	}
	_, more, err := r.backend.connector.(connector.Completer).Complete(&r.ask, r.call, r.lookFor)
	if err != nil {
		return unsaid(r, r.decision, err)
	}
	if !reflect.DeepEqual(more, r.added) {
		return &problem{status: http.StatusForbidden, kind: "denied", detail: "Whom it goes to was changed in the midst of this; send it again."}
	}
	return nil
}

// recipients are those that r goes to, where it does not say so itself.
func (r *request) recipients() []string {
	list, _ := r.added["recipients"].([]string)
	return list
}

func (r *request) lookFor(target string) (string, []byte, error) {
	return r.lookAt(target, maxCompleted)
}

// movedOn is the refusal for what the upstream changed under.
func movedOn(r *request) error {
	return unavailable(r.name + " was changed in the midst of this; send it again.")
}

// unsaid is the refusal of what does not say what it would do, when nobody else says it.
func unsaid(r *request, d policy.Decision, err error) error {
	var p *problem
	switch r.decision.Policies = d.Policies; {
	case len(d.Layers) > 0, errors.As(err, &p):
		return layered(r, err)
	case errors.Is(err, layer.ErrHidden):
		return &problem{status: http.StatusNotFound, kind: "hidden", detail: "There is no such thing on " + r.name + "."}
	}
	return &problem{status: http.StatusForbidden, kind: "unrecognised", detail: "What it sends, and to whom, is not known: " + err.Error() + "."}
}
