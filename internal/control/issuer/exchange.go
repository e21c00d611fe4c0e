package issuer

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// given is what a code or a refresh token stands for: what a person allowed; or what a
// provider's word does. It is looked up first and used up last, when all else is right, so that the answer to
// use_dpop_nonce may carry the same code.
type given struct {
	client, upstream, scope, jkt string
	anyKey                       bool // the first key shown is the one it will be bound to
	refresh                      string
	provider                     string // on whose word
	use                          func(*registry.Change) (identity.Credential, string, error)
}

func (g *given) next() string {
	if g == nil {
		return ""
	}
	return g.refresh
}

// born reports whether who will act is known only when it is used up.
func (g *given) born() bool { return g != nil && g.provider != "" }

// narrow keeps a scope within what was allowed (RFC 6749 section 6).
func (g *given) narrow(scope *string) error {
	switch {
	case g == nil || g.scope == "":
		return nil
	case *scope == "":
		*scope = g.scope
	}
	for s := range strings.FieldsSeq(*scope) {
		if !slices.Contains(strings.Fields(g.scope), s) {
			return refuse("invalid_scope", "What is allowed is the scope \""+g.scope+"\"; ask again for more.")
		}
	}
	return nil
}

// bound refuses another key than what was given is bound to.
func (g *given) bound(jkt string) error {
	if g == nil || g.jkt == jkt || g.anyKey && g.jkt == "" {
		return nil
	}
	if g.provider != "" {
		return refuse(token.InvalidGrant, "The assertion is bound to a key (cnf): send a DPoP proof made with that key.")
	}
	return &token.Error{Code: token.InvalidProof, Text: "What the client shows is bound to a key: send a DPoP proof made with that key, or none if there was none before."}
}

// errGrant is the same for a code or refresh token that is unknown, over, another client's, or was used.
func errGrant(what string) error {
	return refuse("invalid_grant", "The "+what+" is not good: it is unknown, over, was used before or is another client's. The person has to connect the client again.")
}

func (i *Issuer) public(r *http.Request, q *issue) error {
	if len(r.Header.Values("Authorization")) > 0 || q.form["client_secret"] != "" || q.form["client_assertion"] != "" {
		return refuse("invalid_client", "A client that a person connects is a public one: send client_id and no secret.")
	}
	if q.claimed = q.form["client_id"]; q.claimed == "" {
		return refuse("invalid_request", "client_id is missing.")
	}
	return nil
}

// byCode finds what an authorization code stands for (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
func (i *Issuer) byCode(r *http.Request, q *issue) error {
	if err := i.public(r, q); err != nil {
		return err
	}
	text := q.form["code"]
	if text == "" || q.form["code_verifier"] == "" || q.form["redirect_uri"] == "" {
		return refuse("invalid_request", "code, code_verifier and redirect_uri are needed.")
	}
	var code registry.Code
	if err := i.ticket(r.Context(), store.AuthorizationCode, text, &code); err != nil {
		return notFound(err, "code")
	}
	if code.Client != q.claimed || code.Redirect != q.form["redirect_uri"] || !code.Verify(q.form["code_verifier"]) {
		return errGrant("code")
	}
	q.given = &given{client: code.Client, upstream: code.Upstream, scope: code.Scope, jkt: code.JKT, anyKey: true}
	if code.Credential != "" { // shown a second time, by who knows the verifier too: neither keeps what was got for it
		q.given.use = func(c *registry.Change) (identity.Credential, string, error) { return c.Redeem(text, "") }
		if _, _, err := i.apply(r, q.given); err != nil {
			return err
		}
		return errGrant("code")
	}
	q.given.use = func(c *registry.Change) (identity.Credential, string, error) {
		return c.Redeem(text, q.claims.Key.JKT)
	}
	return i.acting(q, code.Identity, identity.Credential{Expires: code.Until})
}

// byRefresh finds what a refresh token stands for (RFC 6749 section 6).
func (i *Issuer) byRefresh(r *http.Request, q *issue) error {
	if err := i.public(r, q); err != nil {
		return err
	}
	text := q.form["refresh_token"]
	if text == "" {
		return refuse("invalid_request", "refresh_token is missing.")
	}
	var kept registry.Refresh
	if err := i.ticket(r.Context(), store.RefreshToken, text, &kept); err != nil {
		return notFound(err, "refresh token")
	}
	if kept.Client != q.claimed {
		return errGrant("refresh token")
	}
	rotate := func(c *registry.Change) (identity.Credential, string, error) {
		next, err := c.Rotate(text)
		if err != nil || next == "" {
			return identity.Credential{}, "", err
		}
		k, err := c.Credential(kept.Credential)
		return k, next, err
	}
	if kept.Used {
		if _, _, err := i.apply(r, &given{use: rotate}); err != nil {
			return err
		}
		return errGrant("refresh token")
	}
	q.given = &given{client: kept.Client, upstream: kept.Upstream, scope: kept.Scope, jkt: kept.JKT, use: rotate}
	k, ok := i.View.CredentialByID(kept.Identity, kept.Credential)
	if !ok {
		return errGrant("refresh token")
	}
	return i.acting(q, kept.Identity, k)
}

func notFound(err error, what string) error {
	if errors.Is(err, store.ErrNotFound) {
		return errGrant(what)
	}
	return err
}

func (i *Issuer) ticket(ctx context.Context, kind store.TicketKind, text string, v any) error {
	return i.Registry.Store.Read(ctx, func(tx *store.Tx) error { _, err := tx.Ticket(kind, text, v); return err })
}

// acting makes the identity the one that asks. A credential without an id is still to be made.
func (i *Issuer) acting(q *issue, id identity.ID, k identity.Credential) error {
	s, ok := i.View.Subject(id)
	if !ok {
		return errGrant("code")
	}
	q.client = client{subject: s, credential: k}
	if err := s.Identity.Usable(q.now); err != nil {
		return refuse("invalid_grant", err.Error()+"; its owner "+string(s.Identity.Owner)+" can say why.")
	}
	if k.ID == "" {
		return nil
	}
	if err := k.Usable(q.now); err != nil {
		return refuse("invalid_grant", "The "+err.Error()+". The person has to connect the client again.")
	}
	return nil
}

// exchange uses up what was given, durably, for what comes next.
func (i *Issuer) exchange(r *http.Request, q *issue) error {
	if q.given == nil {
		return nil
	}
	k, next, err := i.apply(r, q.given)
	var conflict *registry.Conflict
	var untrusted *registry.Untrusted
	switch {
	case errors.As(err, &untrusted):
		return distrust(untrusted.Text)
	case errors.As(err, &conflict):
		return refuse("invalid_grant", conflict.Text+".")
	case errors.Is(err, store.ErrNotFound), err == nil && k.ID == "": // somebody was quicker
		return errGrant("code or refresh token")
	case err != nil:
		return err
	}
	if q.given.born() && q.client.subject != nil {
		i.Touch(q.client.credential.ID, q.now)
	}
	q.client.credential, q.given.refresh = k, next
	if q.given.born() {
		s, ok := i.View.Subject(k.Identity)
		if !ok || s.Identity.Usable(q.now) != nil {
			return refuse("temporarily_unavailable", "The server is catching up; get a new assertion and try again.")
		}
		q.client.subject = s
	}
	return nil
}

// apply commits a change and waits until gateways know of it.
func (i *Issuer) apply(r *http.Request, g *given) (k identity.Credential, next string, err error) {
	by := registry.Self.Name
	if g.provider != "" {
		by = "provider:" + g.provider
	}
	at, err := i.Registry.Do(r.Context(), registry.Actor{Name: by, Source: r.RemoteAddr}, func(c *registry.Change) (err error) {
		k, next, err = g.use(c)
		return err
	})
	if err == nil {
		i.Settle(r.Context(), at)
	}
	return k, next, err
}
