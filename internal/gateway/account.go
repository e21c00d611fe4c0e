package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/oauth"
)

// account is what an upstream is used with: its own credential, or the account that one owner
// has there, and what it offers to that account.
type account struct {
	owner identity.OwnerID // empty: the upstream's own credential
	gone  atomic.Bool      // it ended, or became another: nothing more is sent with it

	secret  atomic.Pointer[feed.Secret]
	asking  sync.Mutex
	failure error     // the last ask had no answer in time
	failed  time.Time // until then

	pins  pins
	fixed fixed
}

// accounts are those at one version of an upstream.
type accounts struct {
	own account
	mu  sync.Mutex
	of  map[identity.OwnerID]*account
}

// account is what r's upstream is used with: the account of the person it is done for, else of the
// actor's owner, who is asked for anew each time: an identity that was handed over goes with the
// account of its new owner.
func (g *Gateway) account(r *request) (*account, error) {
	b := r.backend
	if b.upstream.OAuth == nil {
		return &b.accounts.own, nil
	}
	owner := g.holder(r)
	if owner == "" {
		return nil, &problem{status: http.StatusForbidden, kind: "no-account", detail: b.upstream.Name + " is used with an account of its owner's, and nobody owns it."}
	}
	b.accounts.mu.Lock()
	defer b.accounts.mu.Unlock()
	a := b.accounts.of[owner]
	if a == nil {
		a = &account{owner: owner}
		if b.accounts.of == nil {
			b.accounts.of = map[identity.OwnerID]*account{}
		}
		b.accounts.of[owner] = a
	}
	return a, nil
}

// holder is the owner whose account serves r as things are now.
func (g *Gateway) holder(r *request) identity.OwnerID {
	if person := r.claims.Chain.Root().Owner(); person != "" {
		return r.backend.upstream.Holder(person)
	}
	actor, ok := g.View.Subject(r.claims.Actor())
	if !ok {
		return ""
	}
	return r.backend.upstream.Holder(actor.Identity.Owner)
}

// drop lets go of what is held of an account that became another, or ended.
func (g *Gateway) drop(of *feed.Account) {
	g.mu.RLock()
	b := g.backends[of.Upstream]
	g.mu.RUnlock()
	if b == nil {
		return
	}
	b.accounts.mu.Lock()
	defer b.accounts.mu.Unlock()
	if a := b.accounts.of[of.Owner]; a != nil {
		a.gone.Store(true)
		delete(b.accounts.of, of.Owner)
	}
}

var errEnded = errors.New("the account was connected anew, or ended, meanwhile")

// credential returns what a shows the upstream: from memory until it expires or the
// upstream changes, else from the control plane, one caller asking for all. What the
// upstream refused is not shown again.
func (b *backend) credential(g *Gateway, a *account, now time.Time, chain identity.Chain, refused feed.Secret) (*feed.Secret, error) {
	good := func(s *feed.Secret) bool {
		return s != nil && (s.Expires.IsZero() || now.Before(s.Expires)) && (refused.Value == "" || s.Value != refused.Value)
	}
	if s := a.secret.Load(); good(s) {
		return s, nil
	}
	a.asking.Lock()
	defer a.asking.Unlock()
	if s := a.secret.Load(); good(s) {
		return s, nil
	}
	if a.failure != nil && now.Before(a.failed) { // there was no answer while this caller waited
		return nil, a.failure
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.Limits.Record)
	defer cancel()
	s, err := g.Source.Credential(ctx, b.upstream.Name, chain, refused)
	if s.Header = textproto.CanonicalMIMEHeaderKey(s.Header); err == nil && (s.Header == "") != (s.Value == "") {
		err = fmt.Errorf("credential of %s is half a header", b.upstream.Name)
	}
	if err == nil && s.Owner != a.owner { // who asks is another's by now: the view is about to hear of it
		err = fmt.Errorf("credential of %s is of another owner's account", b.upstream.Name)
	}
	if err == nil && a.gone.Load() {
		err = errEnded
	}
	a.failure = nil
	if err != nil {
		if ctx.Err() != nil { // a quick no may be about this chain alone
			a.failure, a.failed = err, g.Now()
		}
		return nil, err
	}
	a.secret.Store(&s)
	return &s, nil
}

// obtain is credential for r, and the problem when there is none.
func (g *Gateway) obtain(r *request, refused feed.Secret) (*feed.Secret, error) {
	s, err := r.backend.credential(g, r.account, g.Now(), r.claims.Chain, refused)
	var no *feed.NoAccount
	switch {
	case errors.As(err, &no):
		return nil, &problem{status: http.StatusForbidden, kind: "no-account", detail: no.Text + "."}
	case err != nil:
		g.Log.Warn("upstream credential", "upstream", r.name, "request", r.id, "error", err)
		return nil, unavailable("The credential for " + r.name + " is not to be had right now.")
	}
	return s, nil
}

// mine reports whether the account that r goes with is still its actor's to use. At an upstream that has
// changed it is not: where it may be shown could be another place.
func (g *Gateway) mine(r *request) error {
	if r.backend.upstream.OAuth == nil {
		return nil
	}
	if u, _ := g.View.Upstream(r.name); u == r.backend.upstream && !r.account.gone.Load() && g.holder(r) == r.account.owner {
		return nil
	}
	return unavailable("The account at " + r.name + " that this request was to go with is no longer the one to use; send it again.")
}

// spent reports whether a reply says that a token is no longer good (RFC 6750 section 3.1). Servers
// that say no more than 401 mean that as well.
func spent(res *http.Response) bool {
	if res.StatusCode != http.StatusUnauthorized {
		return false
	}
	code := oauth.ReadChallenge(res.Header).Error
	return code == "" || code == "invalid_token"
}

// again sends a request to an upstream that said 401 once more with a new token, if its body
// is still to be had.
func (r *request) again(out *http.Request, res *http.Response) (*http.Response, error) {
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	res.Body.Close()
	secret, err := r.g.obtain(r, r.secret)
	if err != nil {
		return nil, r.refusedBy(err)
	}
	next := out.Clone(out.Context())
	if r.ask.Body != nil {
		next.Body = io.NopCloser(bytes.NewReader(r.ask.Body))
	} else if out.Body != nil && out.Body != http.NoBody {
		return nil, unavailable(r.name + " no longer took the token of the account there. It has been renewed: send the request again.")
	}
	if err := r.g.still(r); err != nil {
		return nil, err
	}
	if r.meter != nil { // it goes out again
		if err := r.meter.count(len(r.ask.Body)); err != nil {
			return nil, err
		}
	}
	setSecret(next.Header, *secret)
	r.secret = *secret // what follows goes with it
	if res, err = r.backend.transport.RoundTrip(next); err != nil || !spent(res) {
		return res, err
	}
	res.Body.Close()
	return nil, r.refusedBy(nil)
}

// refusedBy is what is said when the upstream does not take what it was shown.
func (r *request) refusedBy(err error) error {
	var p *problem
	if errors.As(err, &p) && p.kind == "no-account" {
		return p
	}
	return &problem{status: http.StatusBadGateway, kind: "upstream-refuses", detail: r.name + " does not take the account that this request went with (401), and another token for it did not help or is not to be had."}
}
