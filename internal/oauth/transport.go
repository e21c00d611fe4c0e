package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/lanyard-dev/lanyard/internal/token"
)

// Transport puts the owner's token for one upstream on each request to it, and
// refuses requests to anything else. Where the upstream wants a token, another one or
// one for more, it refreshes or signs in with Flow and sends the request again, if its
// body can be had again. It asks for more only if that is more than was asked for
// before, so that an upstream that is never content does not ask the owner for ever.
type Transport struct {
	Client   *Client
	Upstream string // URL
	Flow     Flow   // nil: what the store holds is refreshed, and beyond that the error is ErrSignIn

	once sync.Once
	busy chan struct{} // one refresh or sign-in at a time
}

var _ http.RoundTripper = (*Transport)(nil)

// maxSignIns is how often one request may make its sender sign in: for a token, and for more.
const maxSignIns = 2

func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.roundTrip(req)
	if err != nil && req.Body != nil {
		req.Body.Close() // as the contract of http.RoundTripper asks; closing twice does no harm
	}
	return res, err
}

func (t *Transport) roundTrip(req *http.Request) (*http.Response, error) {
	at, err := url.Parse(t.Upstream)
	if err != nil || !covers(at, req.URL) {
		return nil, fmt.Errorf("a token for %s is not shown to %s://%s%s", t.Upstream, req.URL.Scheme, req.URL.Host, req.URL.Path)
	}
	tok, err := t.current(req.Context())
	if err != nil {
		return nil, err
	}
	fresh, nonce, left := false, true, maxSignIns
	for first := true; ; first = false {
		res, err := t.send(req, tok, first)
		if err != nil || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
			return res, err
		}
		ch := ReadChallenge(res.Header)
		needs := res.StatusCode == http.StatusUnauthorized && !fresh ||
			res.StatusCode == http.StatusForbidden && ch.Error == "insufficient_scope" && !within(tok.Scope, ch.Scope)
		switch {
		case res.StatusCode == http.StatusUnauthorized && ch.Error == token.UseNonce && tok.Type == "DPoP" && nonce:
			nonce = false
		case needs && left > 0:
			left--
			if tok, err = t.renew(req.Context(), tok, ch, res.StatusCode); err != nil {
				drop(res)
				return nil, fmt.Errorf("signing in to %s: %w", t.Upstream, err)
			}
			fresh = true
		default:
			return res, nil
		}
		drop(res)
	}
}

func drop(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	res.Body.Close()
}

// send sends req with tok, which may be none.
func (t *Transport) send(req *http.Request, tok Token, first bool) (*http.Response, error) {
	r := req.Clone(req.Context())
	if !first && req.GetBody != nil {
		var err error
		if r.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	r.Header.Del("Authorization")
	r.Header.Del("DPoP")
	if tok.Access != "" {
		r.Header.Set("Authorization", tok.Type+" "+tok.Access)
	}
	if tok.Type == "DPoP" {
		if err := t.Client.prove(r, tok.Key, tok.Access); err != nil {
			return nil, err
		}
	}
	base := t.Client.HTTP.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	res, err := base.RoundTrip(r)
	if err == nil {
		t.Client.nonces.Learn(r.URL, res.Header.Get("DPoP-Nonce"))
	}
	return res, err
}

// lock waits for its turn, as long as the request does: a person may take minutes.
func (t *Transport) lock(ctx context.Context) error {
	t.once.Do(func() { t.busy = make(chan struct{}, 1) })
	select {
	case t.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *Transport) unlock() { <-t.busy }

// current is the stored token, refreshed if it is not good any more; none if that needs a sign-in.
func (t *Transport) current(ctx context.Context) (Token, error) {
	tok, err := t.Client.Store.Token(ctx, t.Upstream)
	if err != nil || tok.Access == "" || tok.Good(t.Client.Now()) {
		return tok, err
	}
	if err := t.lock(ctx); err != nil {
		return Token{}, err
	}
	defer t.unlock()
	if tok, err = t.Client.Store.Token(ctx, t.Upstream); err != nil || tok.Good(t.Client.Now()) { // another request was faster
		return tok, err
	}
	tok, err = t.refresh(ctx, tok)
	if errors.Is(err, ErrSignIn) {
		return Token{}, nil // the upstream will say what it wants
	}
	return tok, err
}

// refresh renews old and keeps what came of it, even if the request is given up
// meanwhile. A refresh token that is spent is not shown again.
func (t *Transport) refresh(ctx context.Context, old Token) (Token, error) {
	ctx = context.WithoutCancel(ctx)
	tok, err := t.Client.Refresh(ctx, old)
	switch {
	case err == nil:
		return tok, t.Client.Store.PutToken(ctx, t.Upstream, tok)
	case errors.Is(err, ErrSignIn) && old.Refresh != "":
		old.Access, old.Refresh = "", ""
		err = errors.Join(err, t.Client.Store.PutToken(ctx, t.Upstream, old))
	}
	return Token{}, err
}

// renew gets a token to use instead of shown, which the upstream answered with ch. The
// upstream is looked at anew: its authorization server may be another by now.
func (t *Transport) renew(ctx context.Context, shown Token, ch Challenge, status int) (Token, error) {
	if err := t.lock(ctx); err != nil {
		return Token{}, err
	}
	defer t.unlock()
	c := t.Client
	old, err := c.Store.Token(ctx, t.Upstream)
	if err != nil {
		return Token{}, err
	}
	if old.Access != shown.Access && old.Good(c.Now()) && within(old.Scope, ch.Scope) { // another request was faster
		return old, nil
	}
	up, err := c.Discover(ctx, t.Upstream, ch)
	if err != nil {
		return Token{}, err
	}
	scope := up.Scope(ch)
	if old.Server.Issuer == up.Server.Issuer {
		if status == http.StatusUnauthorized && within(old.Scope, ch.Scope) && (old.Type == "DPoP" || !up.Bound) {
			tok, err := t.refresh(ctx, old)
			if !errors.Is(err, ErrSignIn) {
				return tok, err
			}
		}
		scope = union(old.Scope, scope) // what was granted before is not given up
	}
	if t.Flow == nil {
		return Token{}, ErrSignIn
	}
	tok, err := t.Flow.SignIn(ctx, c, up, scope)
	if err != nil {
		return Token{}, err
	}
	return tok, c.Store.PutToken(ctx, t.Upstream, tok)
}
