package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/broker"
	"github.com/lanyard-dev/lanyard/internal/control/issuer"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/oauth"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// accounts is the door at which owners connect their accounts at upstreams that want OAuth of their own.
func (p *Plane) accounts(mux *http.ServeMux) {
	mux.HandleFunc("GET /accounts", p.accountsPage)
	mux.HandleFunc("GET /accounts/{name}", p.accountPage)
	mux.HandleFunc("POST /accounts/{name}", issuer.SameOrigin(p.accountForm))
	mux.HandleFunc("GET "+broker.Callback+"{name}", p.callback)
	mux.HandleFunc("GET "+broker.Document+"{name}", func(w http.ResponseWriter, r *http.Request) {
		if !identity.ValidName(r.PathValue("name")) { // whether there is one of it, is nobody's business
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		_ = json.NewEncoder(w).Encode(p.broker.ClientDocument(r.PathValue("name"))) // the reader may be gone
	})
}

// accountRow is an upstream as the person sees it who may connect an account there.
type accountRow struct {
	Upstream, Owner, Host string
	Shared                bool
	Connected             bool
	Lapsed                string
	Since, Scope, Server  string
	Until                 string // it cannot be renewed beyond that
	Killed                bool
}

type accountsPage struct {
	Person string
	Rows   []accountRow
}

type accountPage struct {
	Person string
	accountRow
}

// leaving is the page from which a person goes to the sign-in page of an upstream's server.
type leaving struct{ Person, Upstream, Host, Open string }

type note struct{ Title, Text, Person, Client, Back string }

// rows are the upstreams at which o may connect an account, or has one.
func rows(tx *store.Tx, o identity.OwnerID) (list []accountRow, err error) {
	all, err := tx.Upstreams()
	if err != nil {
		return nil, err
	}
	for _, u := range all {
		may, err := registry.MayConnect(tx, u, o)
		if err != nil {
			return nil, err
		}
		a, err := registry.FindAccount(tx, u, o)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if has := err == nil; may || has {
			list = append(list, row(u, a, has))
		}
	}
	return list, nil
}

func row(u policy.Upstream, a registry.Account, has bool) accountRow {
	r := accountRow{Upstream: u.Name, Owner: u.OwnerName, Shared: u.OAuth.Account == policy.Shared, Killed: u.Killed}
	if at, err := url.Parse(u.URL); err == nil {
		r.Host = at.Host
	}
	if has {
		r.Connected, r.Lapsed, r.Since, r.Scope = a.Lapsed == "", a.Lapsed, a.Since.Format("2 January 2006 15:04 UTC"), strings.Join(a.Scope, " ")
		r.Server = a.Token.Server.Issuer
		if a.Lapsed == "" && a.Token.Refresh == "" && !a.Token.Expires.IsZero() {
			r.Until = a.Token.Expires.UTC().Format("2 January 2006 15:04 UTC")
		}
	}
	return r
}

// signedIn returns who is signed in, and sends to the sign-in page who is not.
func (p *Plane) signedIn(w http.ResponseWriter, r *http.Request) (o identity.Owner, session string, ok bool) {
	o, session, err := p.issuer.Person(r)
	switch {
	case errors.Is(err, store.ErrNotFound) && strings.HasPrefix(r.URL.Path, broker.Callback), errors.Is(err, store.ErrNotFound) && r.Method != http.MethodGet:
		p.tell(w, r, http.StatusForbidden, note{Title: "You are not signed in", Text: "Sign in, and then begin again: nothing was connected.", Client: "your accounts", Back: "/accounts"})
	case errors.Is(err, store.ErrNotFound):
		http.Redirect(w, r, "/signin?return="+url.QueryEscape(r.URL.EscapedPath()), http.StatusSeeOther)
	case err != nil:
		p.unable(w, r, o, err)
	default:
		return o, session, true
	}
	return o, "", false
}

func (p *Plane) tell(w http.ResponseWriter, r *http.Request, status int, n note) {
	p.issuer.Page(w, r, status, "notice", n)
}

// unable tells a person that something did not work, and the log what.
func (p *Plane) unable(w http.ResponseWriter, r *http.Request, o identity.Owner, err error) {
	p.Log.Error("accounts", "path", r.URL.Path, "error", err)
	p.tell(w, r, http.StatusServiceUnavailable, note{Title: "It did not work", Text: "Try again in a moment. The log of lanyard serve says why.", Person: o.Name})
}

func (p *Plane) accountsPage(w http.ResponseWriter, r *http.Request) {
	o, _, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	list, err := read(r.Context(), p, func(tx *store.Tx) ([]accountRow, error) { return rows(tx, o.ID) })
	if err != nil {
		p.unable(w, r, o, err)
		return
	}
	p.issuer.Page(w, r, http.StatusOK, "accounts", accountsPage{o.Name, list})
}

func (p *Plane) accountPage(w http.ResponseWriter, r *http.Request) {
	if o, _, ok := p.signedIn(w, r); ok {
		p.showAccount(w, r, o)
	}
}

func (p *Plane) showAccount(w http.ResponseWriter, r *http.Request, o identity.Owner) {
	list, err := read(r.Context(), p, func(tx *store.Tx) ([]accountRow, error) { return rows(tx, o.ID) })
	if err != nil {
		p.unable(w, r, o, err)
		return
	}
	for _, one := range list {
		if one.Upstream == r.PathValue("name") {
			p.issuer.Page(w, r, http.StatusOK, "account", accountPage{o.Name, one})
			return
		}
	}
	p.noneHere(w, r, o)
}

func (p *Plane) noneHere(w http.ResponseWriter, r *http.Request, o identity.Owner) {
	p.tell(w, r, http.StatusNotFound, note{Title: "There is nothing to connect here", Person: o.Name, Client: "your accounts", Back: "/accounts",
		Text: "No upstream of this name wants an account of yours: none of your agents has a grant on one, or it wants no account, or its owner's serves all."})
}

// accountForm connects or disconnects.
func (p *Plane) accountForm(w http.ResponseWriter, r *http.Request) {
	o, session, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	name, by := r.PathValue("name"), registry.Actor{Name: registry.Person(o.ID), Source: r.RemoteAddr}
	if err := r.ParseForm(); err != nil || r.URL.RawQuery != "" {
		p.tell(w, r, http.StatusBadRequest, note{Title: "The form could not be read", Text: "Go back and try again.", Person: o.Name})
		return
	}
	if r.PostForm.Get("do") == "disconnect" {
		at, err := p.registry.Do(r.Context(), by, func(c *registry.Change) error { return c.Disconnect(name, o.ID) })
		if err == nil {
			p.receipt(r.Context(), at, 0)
			http.Redirect(w, r, "/accounts/"+url.PathEscape(name), http.StatusSeeOther)
			return
		}
		p.notConnected(w, r, o, name, err)
		return
	}
	open, server, err := p.broker.Begin(r.Context(), name, o.ID, session, by)
	if err != nil {
		p.notConnected(w, r, o, name, err)
		return
	}
	host := server
	if u, err := url.Parse(open); err == nil {
		host = u.Host
	}
	// A link, not a redirect: the person sees where it goes, and a form must not lead there (form-action).
	p.issuer.Page(w, r, http.StatusOK, "leaving", leaving{o.Name, name, host, open})
}

// callback takes the answer that an upstream's authorization server sends the browser back with.
func (p *Plane) callback(w http.ResponseWriter, r *http.Request) {
	o, session, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	answer, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(r.URL.RawQuery) > 16<<10 {
		p.notConnected(w, r, o, "", registry.ErrNoSignIn)
		return
	}
	name := r.PathValue("name")
	err = p.broker.Finish(r.Context(), name, o.ID, session, answer, registry.Actor{Name: registry.Person(o.ID), Source: r.RemoteAddr})
	if err != nil {
		p.notConnected(w, r, o, name, err)
		return
	}
	p.receipt(r.Context(), p.Store.Head(), 0)
	http.Redirect(w, r, "/accounts/"+url.PathEscape(name), http.StatusSeeOther) // so that a reload asks for nothing again
}

// notConnected says why there is no account. What strangers said is quoted; what only the network said is for the log.
func (p *Plane) notConnected(w http.ResponseWriter, r *http.Request, o identity.Owner, upstream string, err error) {
	n := note{Title: "Your account is not connected", Person: o.Name, Client: "your accounts", Back: "/accounts"}
	status := http.StatusBadGateway
	var refusal *oauth.Error
	var conflict *registry.Conflict
	switch {
	case errors.Is(err, store.ErrNotFound):
		p.noneHere(w, r, o)
		return
	case errors.Is(err, registry.ErrNoSignIn), errors.Is(err, broker.ErrChanged), errors.As(err, &conflict):
		status, n.Text = http.StatusForbidden, "Nothing was done: "+err.Error()+"."
	case errors.As(err, &refusal):
		n.Text = "The authorization server of " + upstream + " said no: " + refusal.Error() + "."
	default:
		n.Text = "The sign-in at " + upstream + " did not work. Try again; if that does not help, the log of lanyard serve says why."
	}
	p.Log.Warn("connecting an account at an upstream", "upstream", upstream, "owner", string(o.ID), "error", err)
	p.tell(w, r, status, n)
}

func (p *Plane) accountRoutes(api door) {
	const tag = "upstreams"
	handle(api, "GET", "/upstreams/{name}/accounts", "list-accounts", tag, "Who has connected an account at an upstream", func(ctx context.Context, in *byName) (Page[AccountView], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[AccountView], error) {
			u, err := tx.Upstream(in.Name)
			if err != nil {
				return Page[AccountView]{}, missing(err, "upstream", in.Name)
			}
			owners, err := tx.Accounts(u.Name)
			var list []AccountView
			for _, o := range owners {
				a, e := registry.FindAccount(tx, u, o)
				if errors.Is(e, store.ErrNotFound) {
					continue
				}
				owner, e2 := tx.Owner(o)
				if err = errors.Join(err, e, e2); err == nil {
					list = append(list, AccountView{Owner: o, OwnerName: owner.Name, Since: a.Since.UTC(), Renewed: a.Renewed.UTC(), Scopes: slices.Clone(a.Scope), Server: a.Token.Server.Issuer, Lapsed: a.Lapsed})
				}
			}
			return page(list), err
		})
	})
	handle(api, "DELETE", "/upstreams/{name}/accounts/{part}", "disconnect-account", tag, "Forget an owner's account at an upstream", func(ctx context.Context, in *identityPart) (Changed, error) {
		return p.change(ctx, in.Caller, func(c *registry.Change) error {
			return c.Disconnect(in.Name, identity.OwnerID(in.Part))
		})
	})
}
