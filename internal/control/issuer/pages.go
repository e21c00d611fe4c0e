package issuer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

const (
	maxAnswer = 1 << 20          // bytes of a consent form that is sent back
	formLife  = 10 * time.Minute // of a consent form
)

// SameOrigin refuses what another site has a browser send, and what comes with a session and does not say from which page: every browser says so.
func SameOrigin(next http.HandlerFunc) http.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	return func(w http.ResponseWriter, r *http.Request) {
		unsaid := r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" && slices.ContainsFunc(sessionCookies[:], func(name string) bool { return len(r.CookiesNamed(name)) > 0 })
		if err := protection.Check(r); err != nil || unsaid {
			http.Error(w, "This came from another site, or from no page at all, so it was not done.", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

// cookie is the name of the session cookie: with TLS no other host can set it, and no page without (RFC 6265bis section 4.1.3). Below a path
// the browser shows it there alone, and not to what else there is at the host: __Host- would have it shown to all.
func (i *Issuer) cookie() string {
	switch tls := strings.HasPrefix(i.URL, "https:"); {
	case tls && i.path() == "":
		return sessionCookies[1]
	case tls:
		return sessionCookies[2]
	}
	return sessionCookies[0]
}

// sessionCookies are the names that the session's cookie has: without TLS, with it, and with it below a path.
var sessionCookies = [...]string{"lanyard", "__Host-lanyard", "__Secure-lanyard"}

// setCookie has the browser keep a cookie of ours: the session's, or with a suffix one that something is begun with.
func (i *Issuer) setCookie(w http.ResponseWriter, suffix, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: i.cookie() + suffix, Value: value, Path: i.path() + "/", MaxAge: int(life / time.Second), HttpOnly: true,
		Secure: strings.HasPrefix(i.URL, "https:"), SameSite: http.SameSiteLaxMode})
}

// Page writes one of the pages of package web.
func (i *Issuer) Page(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	i.page(w, r, status, nil, name, data)
}

// Person says which owner is signed in, and by which session; store.ErrNotFound when none is.
func (i *Issuer) Person(r *http.Request) (identity.Owner, string, error) {
	v, session, err := i.Visitor(r)
	if err == nil && v.Owner == "" {
		err = store.ErrNotFound
	}
	return v.As, session, err
}

// Cookie is what a browser shows for its session; "" when it shows none.
func (i *Issuer) Cookie(r *http.Request) string {
	cookies := r.CookiesNamed(i.cookie())
	if len(cookies) != 1 {
		return ""
	}
	return cookies[0].Value
}

// Visitor says who is signed in at a browser, owner or not; store.ErrNotFound when nobody is.
func (i *Issuer) Visitor(r *http.Request) (v registry.Visitor, session string, err error) {
	if session = i.Cookie(r); session == "" {
		return v, "", store.ErrNotFound
	}
	err = i.Registry.Store.Read(r.Context(), func(tx *store.Tx) (err error) { v, err = registry.Visit(tx, session); return err })
	if err == nil && v.Method == store.ByDevice { // a program's is no browser's
		err = store.ErrNotFound
	}
	return v, session, err
}

// SetCookie has the browser show a session from now on; none when it is "".
func (i *Issuer) SetCookie(w http.ResponseWriter, session string) {
	if session == "" {
		i.setCookie(w, "", "", -time.Second)
		return
	}
	i.setCookie(w, "", session, 8*time.Hour)
}

// SetCeremony has the browser keep what it shows with a passkey, for so long.
func (i *Issuer) SetCeremony(w http.ResponseWriter, sealed string, life time.Duration) {
	i.setCookie(w, "-passkey", sealed, life)
}

// Ceremony is what the browser kept.
func (i *Issuer) Ceremony(r *http.Request) string {
	cookies := r.CookiesNamed(i.cookie() + "-passkey")
	if len(cookies) != 1 {
		return ""
	}
	return cookies[0].Value
}

func browser(r *http.Request) registry.Browser {
	return registry.Browser{Address: r.RemoteAddr, Name: r.UserAgent()}
}

// page writes a page. A form on it may lead back to the client of a.
func (i *Issuer) page(w http.ResponseWriter, r *http.Request, status int, a *ask, name string, data any) {
	var b bytes.Buffer
	if err := i.pages.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	leads := "'self'"
	if a != nil {
		if u, err := url.Parse(a.redirect); err == nil {
			if leads += " " + u.Scheme + ":"; u.Scheme == "http" || u.Scheme == "https" {
				leads += "//" + u.Host
			}
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; font-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action "+leads)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(b.Bytes())
	}
}

// notice is a page that says one thing.
type notice struct {
	Title, Text string
	Person      string // who is signed in
	Client      string
	Back        template.URL // where to go on, if anywhere
}

type signInForm struct {
	Return, Wrong string
	Code          string // from the link that the administrator was given
	Provider      string // that people can sign in with, as they call it
}

func (i *Issuer) signInPage(w http.ResponseWriter, r *http.Request) {
	form := signInForm{Return: returnTo(r.URL.Query().Get("return")), Code: clip(r.URL.Query().Get("code"))}
	if p, err := i.SignInProvider(r.Context()); err == nil {
		form.Provider = p.Called()
	} else if !errors.Is(err, store.ErrNotFound) {
		i.trouble(w, r, identity.Owner{}, err)
		return
	}
	i.page(w, r, http.StatusOK, nil, "signin", form)
}

// path is that of the control plane's URL, mostly "". The handlers know nothing of it; what a browser keeps, and the links of pages, do.
func (i *Issuer) path() string {
	u, err := url.Parse(i.URL)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Path, "/")
}

// returnTo is where to go after signing in: back to the authorization endpoint, the accounts, the console, or what waits for an answer, and nowhere else.
func returnTo(s string) string {
	if approvalPath.MatchString(s) {
		return s
	}
	end := strings.IndexAny(s+"?", "?#")
	path, err := url.PathUnescape(s[:end]) // as browsers read it: %2e is a dot to them
	odd := strings.ContainsFunc(s+path, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) || strings.Contains(path, "//") || strings.Contains(path, "..")
	if err != nil || odd || len(s) > maxForm {
		return ""
	}
	if s[:end] == "/accounts" || strings.HasPrefix(s, "/accounts/") || strings.HasPrefix(s, "/console/") || strings.HasPrefix(s, "/oauth/authorize?") {
		return s
	}
	return ""
}

func (i *Issuer) signIn(w http.ResponseWriter, r *http.Request) {
	form, err := readForm(w, r)
	if err != nil {
		i.page(w, r, http.StatusBadRequest, nil, "notice", notice{Title: "You are not signed in", Text: "The form could not be read. Go back and try again."})
		return
	}
	var session string
	var person store.Session
	if err = i.ticket(r.Context(), store.SignInCode, registry.SignInText(form["code"]), new(identity.OwnerID)); errors.Is(err, store.ErrNotFound) {
		err = registry.ErrSignIn // who guesses does not hold up those who write
	} else if err == nil {
		_, err = i.Registry.Do(r.Context(), registry.Actor{Name: registry.Self.Name, Source: r.RemoteAddr}, func(c *registry.Change) (err error) {
			session, person, err = c.SignIn(form["code"], browser(r))
			return err
		})
	}
	var conflict *registry.Conflict
	switch {
	case errors.Is(err, registry.ErrSignIn), errors.As(err, &conflict):
		text := err.Error()
		if left, ok := i.strangers.Admit(i.Now()); ok {
			e := ledger.Event{Type: "owner.sign_in", Outcome: ledger.Refused, Actor: registry.Self.Name, Reason: text}
			if left > 0 {
				e.Detail = map[string]string{"left_out": strconv.Itoa(left)}
			}
			if err := i.say(r, e); err != nil { // no record, and so no answer
				_, text, status := status(err)
				i.page(w, r, status, nil, "notice", notice{Title: "You are not signed in", Text: text})
				return
			}
		}
		i.page(w, r, http.StatusForbidden, nil, "signin", signInForm{Return: returnTo(form["return"]), Wrong: strings.ToUpper(text[:1]) + text[1:] + "."})
		return
	case err != nil:
		_, text, status := status(err)
		i.page(w, r, status, nil, "notice", notice{Title: "You are not signed in", Text: text})
		return
	}
	i.SetCookie(w, session)
	if to := returnTo(form["return"]); to != "" {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	if person.Owner == "" { // there is nothing on the pages for who owns nothing
		http.Redirect(w, r, "/console/", http.StatusSeeOther)
		return
	}
	i.page(w, r, http.StatusOK, nil, "welcome", person.Name)
}

func (i *Issuer) signOut(w http.ResponseWriter, r *http.Request) {
	if session := i.Cookie(r); session != "" {
		_, err := i.Registry.Do(r.Context(), registry.Actor{Source: r.RemoteAddr}, func(c *registry.Change) error { return c.SignOut(session, false) })
		if err != nil {
			_, text, status := status(err)
			i.page(w, r, status, nil, "notice", notice{Title: "You are still signed in", Text: text})
			return
		}
	}
	i.SetCookie(w, "")
	i.page(w, r, http.StatusOK, nil, "notice", notice{Title: "You are signed out", Text: "You can close this page."})
}

// sealed is what a consent form carries, so that nothing is kept before there is a
// yes. It opens only in the session it was made for.
type sealed struct {
	Query string    `json:"query"`
	ID    string    `json:"id"`
	At    time.Time `json:"at"`
}

func (i *Issuer) seal(a *ask, session string) (string, error) {
	id, err := i.random()
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(sealed{a.query, id, i.Now()})
	if err != nil {
		return "", err
	}
	b, err := i.Registry.Store.Seal.Seal(plain, "consent/"+session)
	return base64.RawURLEncoding.EncodeToString(b), err
}

func (i *Issuer) unseal(ctx context.Context, form, session string) (query, id string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(form)
	if err != nil {
		return "", "", err
	}
	plain, err := i.Registry.Store.Unseal(ctx, b, "consent/"+session)
	if err != nil {
		return "", "", err
	}
	var s sealed
	if err := json.Unmarshal(plain, &s); err != nil {
		return "", "", err
	}
	if age := i.Now().Sub(s.At); age < 0 || age >= formLife {
		return "", "", errors.New("the form is too old")
	}
	return s.Query, s.ID, nil
}

// consent is what the consent page shows.
type consent struct {
	Client, Host, Returns string // Host: who answers for the client's name, "" for nobody
	Local                 bool   // it returns to a program on the person's own machine
	Person                string
	Upstream, Owner       string
	Name                  string // of the identity, when there is one
	Until                 string // its end
	Classes               []consentClass
	Ends                  []string
	Form                  string
}

type consentClass struct {
	Class, Means string
	Asked        bool // by the client
	Chosen       bool
	Actions      []offered
}

var classMeaning = map[policy.Class]string{
	policy.Read: "See things", policy.Write: "Add and change things", policy.Delete: "Delete things, or do what cannot be undone", policy.Admin: "Change who may do what",
}

func consentPage(a *ask, person identity.Owner, mine identity.Identity, form string) consent {
	c := consent{Client: a.client.Name, Host: a.client.Host(), Person: person.Name, Upstream: a.upstream.Name, Owner: a.upstream.OwnerName, Form: form,
		Ends: []string{"1d", "7d", "30d", "90d"}}
	if u, err := url.Parse(a.redirect); err == nil {
		c.Local = fetch.Loopback(u.Hostname()) || u.Scheme != "http" && u.Scheme != "https"
		if c.Returns = u.Host; c.Local && u.Scheme != "http" && u.Scheme != "https" {
			c.Returns = u.Scheme + "://"
		}
	}
	if !mine.ID.IsZero() {
		c.Name, c.Until = mine.ID.Name(), mine.Expires.Format("2 January 2006")
	}
	for _, class := range policy.Classes {
		row := consentClass{Class: string(class), Means: classMeaning[class], Asked: slices.Contains(a.scope, string(class)), Chosen: class == policy.Read}
		row.Chosen = row.Chosen || row.Asked && class == policy.Write
		for _, action := range a.actions {
			if action.Class == class && !action.Basic {
				row.Actions = append(row.Actions, action)
			}
		}
		if len(row.Actions) > 0 {
			c.Classes = append(c.Classes, row)
		}
	}
	return c
}
