package issuer

import (
	"context"
	"errors"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/web"
)

// ask is an authorization request that was understood (RFC 6749 section 4.1.1).
type ask struct {
	query     string // as it came
	client    document
	redirect  string
	state     string
	challenge string
	scope     []string
	jkt       string
	upstream  policy.Upstream
	actions   []offered // what this person may give
}

// offered is one thing that a person may let a client do, at the upstream that it is
// for: of one that joins others, those of the others.
type offered struct {
	policy.Action
	Upstream string
	Value    string // in the form: of all that are offered, this one
}

// lost is an error that no client may be sent back with: only the person is told.
type lost struct{ text string }

func (e *lost) Error() string { return e.text }

func (i *Issuer) people(mux *http.ServeMux) {
	mux.HandleFunc("GET /signin", i.signInPage)
	mux.HandleFunc("POST /signin", SameOrigin(i.signIn))
	mux.HandleFunc("POST /signout", SameOrigin(i.signOut))
	mux.HandleFunc("GET /oauth/authorize", i.authorize)
	mux.HandleFunc("POST /oauth/authorize", SameOrigin(i.consent))
	mux.HandleFunc("GET /console/oidc/start", i.oidcStart)
	mux.HandleFunc("GET /console/oidc/callback", i.oidcCallback)
	mux.HandleFunc("POST "+oidcLogout+"{provider}", i.oidcLogout)
	i.devices(mux)
	i.approvals(mux)
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Header().Set("Cache-Control", "private, no-cache") // the colours may have been changed in the console
		colours := ""
		if c, err := r.Cookie("lanyard-colours"); err == nil {
			colours = c.Value
		}
		w.Write(web.StyleIn(colours))
	})
}

// authorize is where a client sends a person (RFC 6749 section 3.1): to sign in, then to say yes or no.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	person, session, err := i.Person(r)
	if errors.Is(err, store.ErrNotFound) { // before anything is fetched or told for a stranger
		http.Redirect(w, r, "/signin?return="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	var a *ask
	if err == nil {
		a, err = i.ask(r.Context(), r.URL.RawQuery, person)
	}
	if err != nil {
		i.turnDown(w, r, person, a, err)
		return
	}
	mine, err := i.connected(r.Context(), a, person)
	if err != nil {
		i.turnDown(w, r, person, a, err)
		return
	}
	form, err := i.seal(a, session)
	if err != nil {
		i.turnDown(w, r, person, a, err)
		return
	}
	i.page(w, r, http.StatusOK, a, "consent", consentPage(a, person, mine, form))
}

// ask understands an authorization request. With an error that is not *lost it is
// known where to send the person back to.
func (i *Issuer) ask(ctx context.Context, query string, person identity.Owner) (*ask, error) {
	values, err := url.ParseQuery(query)
	if err != nil || len(query) > maxForm {
		return nil, &lost{"The address that the client sent you to is not well-formed."}
	}
	for name, v := range values {
		if len(v) > 1 {
			return nil, &lost{"The client gave " + clip(name) + " more than once."}
		}
	}
	a := &ask{query: query, redirect: values.Get("redirect_uri"), state: values.Get("state"), challenge: values.Get("code_challenge"),
		scope: strings.Fields(values.Get("scope")), jkt: values.Get("dpop_jkt")}
	if a.client, err = i.client(ctx, values.Get("client_id"), (*document).check); err != nil {
		return nil, &lost{"The client that sent you here cannot be made out: " + err.Error() + "."}
	}
	if a.redirect == "" && len(a.client.Redirects) == 1 {
		a.redirect = a.client.Redirects[0]
	}
	if !a.client.redirect(a.redirect) {
		return nil, &lost{a.client.Name + " wants you sent back to an address that is not one of its own, so nothing was sent there."}
	}
	switch {
	case values.Get("response_type") != "code":
		return a, refuse("unsupported_response_type", "Only response_type=code is supported.")
	case values.Get("response_mode") != "" && values.Get("response_mode") != "query":
		return a, refuse("invalid_request", "Only response_mode=query is supported.")
	case values.Get("code_challenge_method") != "S256" || len(a.challenge) != 43:
		return a, refuse("invalid_request", "PKCE is needed: code_challenge with code_challenge_method=S256 (RFC 7636).")
	case values.Get("prompt") == "none":
		return a, refuse("interaction_required", "The person has to be asked.")
	case a.jkt != "" && len(a.jkt) != 43:
		return a, refuse("invalid_request", "dpop_jkt is no thumbprint (RFC 9449 section 10).")
	}
	for _, s := range a.scope {
		if !slices.Contains(scopes, s) && s != "offline_access" {
			return a, refuse("invalid_scope", "scope may hold read, write, delete and admin, or be left out.")
		}
	}
	name, ok := i.upstreamOf(values.Get("resource"))
	u, known := i.View.Upstream(name)
	if !ok || !known {
		return a, refuse("invalid_target", "resource must be the URL of an upstream at the gateway, as in "+i.GatewayURL+"/<upstream>.")
	}
	a.upstream = *u
	joined, err := a.offer(i, *u, person)
	if err != nil {
		return a, err
	}
	if len(a.actions) > 0 { // the door is the person's to open
		for _, name := range joined {
			if m, ok := i.View.Upstream(name); ok && !m.Killed {
				if _, err := a.offer(i, *m, person); err != nil {
					return a, err
				}
			}
		}
	}
	useful := slices.ContainsFunc(a.actions, func(o offered) bool { return !o.Basic })
	switch {
	case u.Killed:
		return a, refuse("access_denied", u.Name+" is cut off: the cord was pulled on it.")
	case !useful:
		who := u.OwnerName
		if who == "" {
			who = "an operator"
		}
		return a, refuse("access_denied", "You may not connect a client to "+u.Name+". Ask "+who+", who can allow it.")
	}
	return a, nil
}

// offer adds what the person may give on an upstream, and returns those that it joins.
func (a *ask) offer(i *Issuer, u policy.Upstream, person identity.Owner) (joined []string, err error) {
	d, err := i.Registry.Describe(u)
	if err != nil {
		return nil, err
	}
	limit := u.Limit(person.ID)
	for _, action := range d.Actions {
		o := offered{action, u.Name, action.Name}
		if u.Name != a.upstream.Name {
			o.Value = u.Name + ": " + action.Name
		}
		if o.Class = policy.ClassOf(u, action); slices.Contains(limit, o.Class) {
			a.actions = append(a.actions, o)
		}
	}
	return d.Joined, nil
}

// connected returns the identity that this client of this person has already; the zero one if it is to be born.
func (i *Issuer) connected(ctx context.Context, a *ask, person identity.Owner) (mine identity.Identity, err error) {
	err = i.Registry.Store.Read(ctx, func(tx *store.Tx) (err error) {
		mine, err = registry.FindConnected(tx, a.of(person))
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return identity.Identity{}, nil
	case err != nil:
		return mine, err
	case mine.State == identity.Active, mine.State == identity.Expired:
		return mine, nil
	}
	return mine, refuse("access_denied", a.client.Name+" is connected for you as "+mine.ID.Name()+", which is "+string(mine.State)+". An operator has to bring it back first.")
}

// knows reports whether the person has connected the client before.
func (i *Issuer) knows(ctx context.Context, a *ask, person identity.Owner) bool {
	mine, err := i.connected(ctx, a, person)
	return err == nil && !mine.ID.IsZero()
}

func (a *ask) of(person identity.Owner) identity.Client {
	return identity.Client{ID: a.client.ID, Name: a.client.Name, Person: person.ID}
}

// back is the address that takes the person back to the client (RFC 6749 section 4.1.2, RFC 9207).
func (i *Issuer) back(a *ask, values url.Values) string {
	if a.state != "" {
		values.Set("state", a.state)
	}
	values.Set("iss", i.URL)
	join := "?"
	if strings.Contains(a.redirect, "?") {
		join = "&"
	}
	return a.redirect + join + values.Encode()
}

// turnDown ends a request with a no. The person reads why; the client, if it is
// known where it is, hears of it when the person goes back.
func (i *Issuer) turnDown(w http.ResponseWriter, r *http.Request, person identity.Owner, a *ask, err error) {
	n := notice{Title: "This client cannot be connected", Person: person.Name}
	var l *lost
	if errors.As(err, &l) {
		n.Text = l.text
		i.page(w, r, http.StatusBadRequest, nil, "notice", n)
		return
	}
	code, text, status := status(err)
	if n.Text = text; a != nil {
		back := i.back(a, url.Values{"error": {code}, "error_description": {text}})
		n.Back, n.Client = template.URL(back), a.client.Name // an address that checkRedirect has passed
		// A mistake of the client's own is nothing that people can do about. But anybody can be a client, and
		// send people where it likes by a mistake, unless it is one that this person knows (RFC 9700 section 4.11.2).
		if code != "access_denied" && code != "server_error" && i.knows(r.Context(), a, person) {
			http.Redirect(w, r, back, http.StatusSeeOther)
			return
		}
	}
	if code == "access_denied" {
		status = http.StatusForbidden
	}
	i.page(w, r, status, a, "notice", n)
}

// consent takes the person's answer.
func (i *Issuer) consent(w http.ResponseWriter, r *http.Request) {
	person, session, err := i.Person(r)
	if err != nil {
		i.turnDown(w, r, person, nil, &lost{"You are not signed in any more. Start again from the client."})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxAnswer)
	if err := r.ParseForm(); err != nil || r.URL.RawQuery != "" {
		i.turnDown(w, r, person, nil, &lost{"The form could not be read."})
		return
	}
	query, id, err := i.unseal(r.Context(), r.PostForm.Get("request"), session)
	if err != nil {
		i.turnDown(w, r, person, nil, &lost{"This form was not made for you, or is too old. Start again from the client."})
		return
	}
	a, err := i.ask(r.Context(), query, person)
	if err == nil {
		_, err = i.connected(r.Context(), a, person)
	}
	if err == nil && i.forms.Seen(id, i.Now()) {
		err = &lost{"This form was sent already. Start again from the client."}
	}
	if err != nil {
		i.turnDown(w, r, person, a, err)
		return
	}
	if r.PostForm.Get("decision") != "connect" {
		if err := i.say(r, ledger.Event{Type: "consent.refuse", Outcome: ledger.Refused, Actor: registry.Person(person.ID), Owner: string(person.ID), Upstream: a.upstream.Name,
			Detail: map[string]string{"client": a.client.ID}}); err != nil {
			i.turnDown(w, r, person, a, err)
			return
		}
		http.Redirect(w, r, i.back(a, url.Values{"error": {"access_denied"}, "error_description": {"The person said no."}}), http.StatusSeeOther)
		return
	}
	code, err := i.connect(r, a, person)
	if err != nil {
		i.turnDown(w, r, person, a, err)
		return
	}
	http.Redirect(w, r, i.back(a, url.Values{"code": {code}}), http.StatusSeeOther)
}

// connect makes what the person said yes to, and the code that the client takes for it.
func (i *Issuer) connect(r *http.Request, a *ask, person identity.Owner) (code string, err error) {
	until, err := registry.ParseEnd(r.PostForm.Get("for"))
	if err != nil || until.Zero() {
		return "", &lost{"Say for how long."}
	}
	actions, classes := a.chosen(r.PostForm)
	if len(classes) == 0 {
		return "", &lost{"You chose nothing that it may do. Go back and choose, or refuse."}
	}
	at, err := i.Registry.Do(r.Context(), registry.Actor{Name: registry.Person(person.ID), Source: r.RemoteAddr}, func(c *registry.Change) error {
		end := until.From(c.Now())
		var id identity.Identity
		for _, name := range slices.Sorted(maps.Keys(actions)) {
			if id, err = c.Connect(registry.Connection{Client: a.of(person), Upstream: name, Actions: actions[name], Until: end}); err != nil {
				return err
			}
		}
		if a.client.Host() == "" {
			if err := c.PutTicket(store.RegisteredClient, a.client.ID, c.Now().Add(usedClient), a.client); err != nil {
				return err
			}
		}
		code, err = c.NewCode(registry.Code{Identity: id.ID, Client: a.client.ID, Redirect: a.redirect, Challenge: a.challenge, Upstream: a.upstream.Name,
			Scope: a.granted(classes), JKT: a.jkt, Until: end})
		return err
	})
	var conflict *registry.Conflict
	var invalid *registry.Invalid
	switch {
	case errors.As(err, &conflict):
		return "", refuse("access_denied", conflict.Text+".")
	case errors.As(err, &invalid):
		return "", &lost{invalid.Error() + "."}
	case err != nil:
		return "", err
	}
	i.Settle(r.Context(), at)
	return code, nil
}

// chosen are the actions that the form says yes to, by upstream, and their classes. What
// is a step of the protocol comes with the rest.
func (a *ask) chosen(form url.Values) (actions map[string][]string, classes []policy.Class) {
	actions = map[string][]string{}
	for _, o := range a.actions {
		class := form.Get("class-" + string(o.Class))
		if !o.Basic && (class == "all" || class == "some" && slices.Contains(form["action"], o.Value)) {
			actions[o.Upstream] = append(actions[o.Upstream], o.Name)
			if !slices.Contains(classes, o.Class) {
				classes = append(classes, o.Class)
			}
		}
	}
	for _, o := range a.actions {
		if o.Basic && (actions[o.Upstream] != nil || o.Upstream == a.upstream.Name) {
			actions[o.Upstream] = append(actions[o.Upstream], o.Name)
		}
	}
	return actions, classes
}

// granted is the scope of the tokens: of what the client asked for, what the person chose.
func (a *ask) granted(classes []policy.Class) string {
	var kept, all []string
	for _, class := range classes {
		if all = append(all, string(class)); slices.Contains(a.scope, string(class)) {
			kept = append(kept, string(class))
		}
	}
	asked := slices.ContainsFunc(a.scope, func(s string) bool { return s != "offline_access" })
	switch {
	case !asked:
		return ""
	case len(kept) == 0:
		kept = all
	}
	if !slices.Contains(kept, "read") && slices.ContainsFunc(a.actions, func(o offered) bool { return o.Basic }) {
		kept = append(kept, "read") // or it could not open a session
	}
	return strings.Join(kept, " ")
}

// say records an event of a person's, durably.
func (i *Issuer) say(r *http.Request, e ledger.Event) (err error) {
	now := i.Now()
	if e.ID, err = ledger.NewID(i.Rand, now); err != nil {
		return err
	}
	e.Time, e.Source = now.UTC().Truncate(time.Microsecond), r.RemoteAddr
	return i.Record(context.WithoutCancel(r.Context()), []ledger.Event{e})
}
