package issuer

import (
	"errors"
	"net/http"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// introspection is RFC 7662 section 2.2. Of a token that is not good it says nothing but that.
type introspection struct {
	Active     bool                `json:"active"`
	Issuer     string              `json:"iss,omitempty"`
	Subject    string              `json:"sub,omitempty"`
	Audience   string              `json:"aud,omitempty"`
	Act        *token.Act          `json:"act,omitempty"`
	Client     string              `json:"client_id,omitempty"`
	ID         string              `json:"jti,omitempty"`
	Scope      string              `json:"scope,omitempty"`
	Type       string              `json:"token_type,omitempty"`
	Issued     int64               `json:"iat,omitzero"`
	Expires    int64               `json:"exp,omitzero"`
	Owner      string              `json:"owner,omitempty"`
	Credential string              `json:"cred,omitempty"`
	Key        *token.Confirmation `json:"cnf,omitempty"`
	Details    []token.TaskDetail  `json:"authorization_details,omitempty"`
}

// introspect tells any identity, or an operator, whether a token is good at this moment.
func (i *Issuer) introspect(w http.ResponseWriter, r *http.Request) {
	now := i.Now()
	form, _, _, err := i.caller(w, r, now)
	if err == nil && form["token"] == "" {
		err = refuse("invalid_request", "token is missing.")
	}
	if err != nil {
		replyError(w, r, err)
		return
	}
	c, err := i.Ring.Verifier().Verify(form["token"], i.URL, "", now)
	if err != nil || i.View.Live() != nil || !i.good(c, now) {
		reply(w, http.StatusOK, introspection{})
		return
	}
	in := introspection{Active: true, Issuer: c.Issuer, Subject: c.Chain.Root().String(), Act: token.ActOf(c.Chain), Audience: c.Audience, Client: c.Client,
		ID: c.ID, Scope: c.Scope, Type: "Bearer", Issued: c.Issued.Unix(), Expires: c.Expires.Unix(),
		Owner: string(c.Owner), Credential: c.Credential, Details: token.DetailsOf(c.Task)}
	if c.Key != (token.Confirmation{}) {
		in.Key = &c.Key
	}
	if c.Key.JKT != "" {
		in.Type = "DPoP"
	}
	reply(w, http.StatusOK, in)
}

// revoke ends a token of the caller's own (RFC 7009 section 2). For one that is
// unknown, expired or not ours the answer is the same 200: it is as dead as asked for.
func (i *Issuer) revoke(w http.ResponseWriter, r *http.Request) {
	now := i.Now()
	form, c, actor, err := i.caller(w, r, now)
	if form["token"] != "" && i.publicClient(r, form) {
		err = i.revokePublic(r, form)
		if err == nil {
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusOK)
			return
		}
	}
	if err == nil && form["token"] == "" {
		err = refuse("invalid_request", "token is missing.")
	}
	if err != nil {
		replyError(w, r, err)
		return
	}
	claims, bad := i.Ring.Verifier().Verify(form["token"], i.URL, "", now)
	if bad == nil && c.subject != nil && claims.Actor() != c.subject.Identity.ID && claims.Client != c.subject.Identity.ID.String() {
		replyError(w, r, refuse("unauthorized_client", "The token is another client's."))
		return
	}
	if bad == nil && !i.View.TokenRevoked(claims.ID) {
		if err := i.RevokeToken(r.Context(), claims, actor); err != nil {
			replyError(w, r, err)
			return
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// publicClient reports whether a client that a person connected asks: it has nothing to authenticate with.
func (i *Issuer) publicClient(r *http.Request, form map[string]string) bool {
	return i.Registry != nil && r.Header.Get("Authorization") == "" && form["client_id"] != "" && form["client_secret"] == "" && form["client_assertion"] == "" &&
		(r.TLS == nil || len(r.TLS.PeerCertificates) == 0)
}

// revokePublic ends what such a client got, by its refresh token or by an access
// token of it: whoever holds either may end it.
func (i *Issuer) revokePublic(r *http.Request, form map[string]string) error {
	credential := ""
	var kept registry.Refresh
	if err := i.ticket(r.Context(), store.RefreshToken, form["token"], &kept); err == nil && kept.Client == form["client_id"] {
		credential = kept.Credential
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	} else if c, err := i.Ring.Verifier().Verify(form["token"], i.URL, "", i.Now()); err == nil && c.Client == form["client_id"] {
		if k, _ := i.View.CredentialByID(c.Actor(), c.Credential); k.Kind != identity.RefreshToken && k.Kind != identity.Vouched {
			return errClient // it can authenticate, so it has to
		}
		if i.View.TokenRevoked(c.ID) {
			return nil
		}
		return i.RevokeToken(r.Context(), c, c.Actor().String())
	}
	if credential == "" {
		return nil // it is as dead as asked for
	}
	at, err := i.Registry.Do(r.Context(), registry.Actor{Name: kept.Identity.String(), Source: r.RemoteAddr}, func(c *registry.Change) error {
		return c.RevokeCredential(credential, "The client ended it.")
	})
	if err == nil {
		i.Settle(r.Context(), at)
	}
	return err
}

// caller authenticates a client as the token endpoint does, or an operator, whose client is empty.
func (i *Issuer) caller(w http.ResponseWriter, r *http.Request, now time.Time) (form map[string]string, c client, actor string, err error) {
	if form, err = readForm(w, r); err != nil {
		return nil, client{}, "", err
	}
	if i.Admin != nil {
		if operator, ok := i.Admin(r); ok {
			return form, client{}, "operator:" + operator, nil
		}
	}
	if c, _, err = i.authenticate(r, form, now); err == nil {
		err = i.onceAssertion(r.Context(), c, now)
	}
	if c.subject != nil {
		actor = c.subject.Identity.ID.String()
	}
	return form, c, actor, err
}
