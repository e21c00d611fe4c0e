package issuer

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/oauth"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// People sign in with the organisation's provider (OpenID Connect Core section 3.1): authorization code, with PKCE, state and nonce. What is
// between going and coming back is in a cookie of the browser that goes, sealed; nothing is kept here for a stranger.

const (
	oidcCallback = "/console/oidc/callback"
	oidcTime     = 10 * time.Second // for one question to the provider
)

// going is what the cookie holds.
type going struct {
	Provider string    `json:"p"`
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Return   string    `json:"r"`
	Began    time.Time `json:"t"`
	Anew     bool      `json:"a,omitempty"` // they are to prove who they are now, and not some time before
}

// SignInProvider is the provider that people sign in with; store.ErrNotFound if there is none.
func (i *Issuer) SignInProvider(ctx context.Context) (found identity.Provider, err error) {
	err = i.Registry.Store.Read(ctx, func(tx *store.Tx) error {
		all, err := tx.Providers()
		n := slices.IndexFunc(all, func(p identity.Provider) bool { return p.May(identity.SignIn) })
		if err == nil && n < 0 {
			err = store.ErrNotFound
		} else if err == nil {
			found = all[n]
		}
		return err
	})
	return found, err
}

// relying is Lanyard as a client of a provider, and that provider's metadata.
func (i *Issuer) relying(ctx context.Context, p identity.Provider) (c *oauth.Client, s oauth.Server, err error) {
	known := &oauth.Memory{}
	c = &oauth.Client{HTTP: fetch.Guarded(oidcTime, p.Issuer), Now: i.Now, Rand: i.Rand, Store: known, Redirect: i.URL + oidcCallback}
	if u, err := url.Parse(p.Issuer); err == nil {
		c.Loopback = fetch.Loopback(u.Hostname())
	}
	us := oauth.Registration{ID: p.Client}
	err = i.Registry.Store.Read(ctx, func(tx *store.Tx) error {
		secret, err := tx.Secret(store.ProviderClient(p.Name))
		if us.Secret = string(secret); errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if err == nil {
		err = known.PutRegistration(ctx, p.Issuer, us)
	}
	if err == nil {
		s, err = c.Server(ctx, p.Issuer)
	}
	if len(s.Challenges) == 0 { // many take it without saying so, and the nonce binds the code as well
		s.Challenges = []string{"S256"}
	}
	return c, s, err
}

func (i *Issuer) oidcCookie(w http.ResponseWriter, value string, life time.Duration) {
	i.setCookie(w, "-oidc", value, life)
}

// oidcStart sends a browser to the provider.
func (i *Issuer) oidcStart(w http.ResponseWriter, r *http.Request) {
	p, err := i.SignInProvider(r.Context())
	if err != nil {
		i.notIn(w, r, p, err)
		return
	}
	c, s, err := i.relying(r.Context(), p)
	if err != nil {
		i.notIn(w, r, p, err)
		return
	}
	defer c.HTTP.CloseIdleConnections()
	scope := []string{"openid", "email", "profile"}
	if slices.Contains(s.Scopes, "groups") {
		scope = append(scope, "groups")
	}
	s.Scopes = nil // nothing is done for them while they are away
	open, pending, err := c.Begin(r.Context(), oauth.Upstream{Server: s}, scope)
	if err != nil {
		i.notIn(w, r, p, err)
		return
	}
	u, err := url.Parse(open)
	g := going{Provider: p.Name, State: pending.State, Verifier: pending.Verifier, Return: returnTo(r.URL.Query().Get("return")), Began: i.Now()}
	if _, _, err := i.Visitor(r); err == nil { // who is signed in already is here to prove it anew
		g.Anew = true
	}
	if err == nil {
		g.Nonce, err = i.random()
	}
	var plain, sealed []byte
	if err == nil {
		plain, err = json.Marshal(g)
	}
	if err == nil {
		sealed, err = i.Registry.Store.Seal.Seal(plain, "oidc")
	}
	if err != nil {
		i.notIn(w, r, p, err)
		return
	}
	q := u.Query()
	q.Set("nonce", g.Nonce)
	if g.Anew {
		q.Set("prompt", "login")
		q.Set("max_age", "0")
	}
	u.RawQuery = q.Encode()
	i.oidcCookie(w, base64.RawURLEncoding.EncodeToString(sealed), formLife)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

// came is what the browser that comes back was sent away with.
func (i *Issuer) came(r *http.Request) (g going, err error) {
	errNone := errors.New("no sign-in was begun in this browser, or it took too long; begin it again")
	cookies := r.CookiesNamed(i.cookie() + "-oidc")
	if len(cookies) != 1 {
		return g, errNone
	}
	b, err := base64.RawURLEncoding.DecodeString(cookies[0].Value)
	if err == nil {
		b, err = i.Registry.Store.Unseal(r.Context(), b, "oidc")
	}
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	if age := i.Now().Sub(g.Began); err != nil || age < 0 || age >= formLife {
		return going{}, errNone
	}
	return g, nil
}

// oidcCallback takes the answer that the provider sends the browser back with.
func (i *Issuer) oidcCallback(w http.ResponseWriter, r *http.Request) {
	g, err := i.came(r)
	i.oidcCookie(w, "", -time.Second)
	var p identity.Provider
	if err == nil {
		p, err = i.SignInProvider(r.Context())
	}
	if err == nil && p.Name != g.Provider {
		err = store.ErrNotFound
	}
	var s store.Session
	if err == nil {
		s, err = i.oidcPerson(r, p, g)
	}
	var session string
	if err == nil {
		_, err = i.Registry.Do(r.Context(), registry.Actor{Source: r.RemoteAddr}, func(c *registry.Change) error {
			if now, err := c.Provider(p.Name); err != nil || now.Version != p.Version || now.Disabled {
				return errors.Join(err, errors.New("the provider was changed meanwhile; begin again"))
			}
			session, _, err = c.Begin(s, browser(r))
			return err
		})
	}
	if err != nil {
		i.notIn(w, r, p, err)
		return
	}
	i.SetCookie(w, session)
	if g.Return == "" {
		g.Return = "/console/"
	}
	http.Redirect(w, r, g.Return, http.StatusSeeOther)
}

// oidcPerson exchanges the code and finds out who it is, as a session that has not begun.
func (i *Issuer) oidcPerson(r *http.Request, p identity.Provider, g going) (s store.Session, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*oidcTime)
	defer cancel()
	answer, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(r.URL.RawQuery) > maxForm {
		return s, errors.New("the answer of the provider is not well-formed")
	}
	c, server, err := i.relying(ctx, p)
	if err != nil {
		return s, err
	}
	defer c.HTTP.CloseIdleConnections()
	us, err := c.Store.Registration(ctx, p.Issuer)
	if err != nil {
		return s, err
	}
	t, err := c.Finish(ctx, oauth.Pending{State: g.State, Verifier: g.Verifier, Redirect: c.Redirect, Began: g.Began, Server: server, As: us}, answer)
	if err != nil {
		return s, err
	}
	who, err := i.idToken(ctx, p, g, t.ID)
	if err != nil {
		return s, err
	}
	if g.Anew && who.SignedIn.IsZero() { // OpenID Connect Core 1.0, section 2: asked with max_age it has to
		return s, errors.New("the provider does not say when you proved to it who you are (auth_time), though that was asked; sign out here, and sign in again")
	}
	claim := p.Groups
	if claim == "" {
		claim = "groups"
	}
	w := identity.Word{Subject: who.Subject, Email: who.Email, Verified: who.Verified, Denied: who.Denied, Claim: who.Claim}
	groups, name := who.Claims(claim), who.Claim("name")
	if w.Email == "" || len(groups) == 0 && len(p.Roles) > 0 {
		if err := more(ctx, c, t, claim, &w, &groups, &name); err != nil {
			return s, err
		}
	}
	s = store.Session{Person: registry.Strange(p.Name, who.Subject), Provider: p.Name, Subject: who.Subject, SID: who.Claim("sid"), Method: store.ByOIDC, Roles: p.RolesOf(groups), Name: name, Email: w.Email, Began: who.SignedIn, Unproven: who.SignedIn.IsZero()}
	return s, i.Registry.Store.Read(ctx, func(tx *store.Tx) error {
		o, why, err := owner(tx, p, w)
		switch {
		case err != nil:
			return err
		case why == "":
			s.Person, s.Owner, s.Name, s.Email = registry.Person(o.ID), o.ID, o.Name, o.Email
			return nil
		case len(s.Roles) == 0, left(tx, p, w):
			return &stranger{p.Called(), why}
		}
		if s.Name == "" {
			s.Name = w.Email
		}
		if s.Name == "" {
			s.Name = who.Subject
		}
		return nil
	})
}

// stranger is somebody whom the provider knows and we do not.
type stranger struct{ provider, why string }

func (e *stranger) Error() string { return e.provider + " says who you are, and that is nobody here" }

// left reports whether who is meant was an owner and is none any more: no group makes up for that.
func left(tx *store.Tx, p identity.Provider, w identity.Word) bool {
	owners, err := tx.Owners()
	for n := range owners {
		owners[n].State = identity.OwnerActive
	}
	_, why := p.Owner(w, owners)
	return err != nil || why == ""
}

// idToken judges an ID token (OpenID Connect Core section 3.1.3.7): of that provider, for us alone, of this sign-in.
func (i *Issuer) idToken(ctx context.Context, p identity.Provider, g going, raw string) (who token.PersonToken, err error) {
	if raw == "" {
		return who, errors.New("the provider gave no ID token")
	}
	if who, err = token.ParsePersonToken(raw, token.TypeID); err != nil {
		return who, fmt.Errorf("the provider's ID token: %w", err)
	}
	if who.Issuer != p.Issuer {
		return who, errors.New("the ID token is of another provider")
	}
	keys, err := i.keysOf(ctx, p, who.Knows)
	if err != nil {
		return who, err
	}
	if !who.SignedBy(keys) {
		return who, errors.New("the signature of the ID token is wrong, or by a key that the provider does not publish")
	}
	if err := who.Judge([]string{p.Client}, identity.ID{}, i.Now()); err != nil {
		return who, err
	}
	if subtle.ConstantTimeCompare([]byte(who.Claim("nonce")), []byte(g.Nonce)) != 1 {
		return who, errors.New("the ID token is of another sign-in (nonce)")
	}
	return who, nil
}

// more asks the provider for what its ID token left out.
func more(ctx context.Context, c *oauth.Client, t oauth.Token, claim string, w *identity.Word, groups *[]string, name *string) error {
	info, err := c.Userinfo(ctx, t)
	if err != nil || info == nil {
		return err
	}
	text := func(name string) (s string) {
		if json.Unmarshal(info[name], &s) != nil {
			return ""
		}
		return s
	}
	if text("sub") != w.Subject {
		return errors.New("the provider's userinfo is of somebody else")
	}
	if w.Email == "" {
		w.Email = text("email")
		if v, ok := info["email_verified"]; ok {
			w.Verified = string(v) == "true" || string(v) == `"true"`
			w.Denied = !w.Verified
		}
	}
	if *name == "" {
		*name = text("name")
	}
	if first := w.Claim; first != nil {
		w.Claim = func(name string) string {
			if s := first(name); s != "" {
				return s
			}
			return text(name)
		}
	}
	if len(*groups) == 0 {
		var list []string
		if json.Unmarshal(info[claim], &list) == nil {
			*groups = list
		} else if one := text(claim); one != "" {
			*groups = []string{one}
		}
	}
	return nil
}

// notIn is the page of who could not be signed in. What only the network said is for the log.
func (i *Issuer) notIn(w http.ResponseWriter, r *http.Request, p identity.Provider, err error) {
	n := notice{Title: "You are not signed in", Client: "sign in", Back: template.URL("/signin")}
	code := http.StatusForbidden
	var unknown *stranger
	var said *oauth.Error
	switch {
	case errors.Is(err, store.ErrNotFound):
		n.Text, code = "There is no identity provider to sign in with.", http.StatusNotFound
	case errors.As(err, &unknown):
		n.Text = capital(err.Error()) + ". Ask the person who runs Lanyard."
	case errors.As(err, &said):
		n.Text = capital(p.Called()) + " said no: " + said.Error() + "."
	default:
		n.Text, code = "The sign-in did not work. Begin it again; if that does not help, the events of this server say why.", http.StatusBadGateway
	}
	if left, ok := i.strangers.Admit(i.Now()); ok && p.Name != "" {
		e := ledger.Event{Type: "owner.sign_in", Outcome: ledger.Refused, Actor: registry.Self.Name, Reason: clip(err.Error()), Detail: map[string]string{"provider": p.Name}}
		if unknown != nil {
			e.Reason += ": " + clip(unknown.why)
		}
		if left > 0 {
			e.Detail["left_out"] = strconv.Itoa(left)
		}
		if err := i.say(r, e); err != nil {
			i.trouble(w, r, identity.Owner{}, err)
			return
		}
	}
	i.page(w, r, code, nil, "notice", n)
}
