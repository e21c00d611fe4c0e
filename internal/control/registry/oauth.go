package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/oauth"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// reserved are parameters of a sign-in page's address that are Lanyard's to set.
var reserved = map[string]bool{"response_type": true, "response_mode": true, "client_id": true, "redirect_uri": true, "state": true, "scope": true, "resource": true,
	"code_challenge": true, "code_challenge_method": true, "nonce": true, "request": true, "request_uri": true, "dpop_jkt": true, "client_secret": true}

// checkOAuth refuses what an upstream with OAuth of its own cannot be.
func (c *Change) checkOAuth(u *policy.Upstream, secret *Secret, client *string, bad func(field, text string)) {
	o := u.OAuth
	if o == nil {
		if client != nil {
			bad("oauth", "a client's secret is of an upstream that wants OAuth of its own")
		}
		return
	}
	if secret != nil {
		bad("credential", "one that is signed in to has no credential of its own (--oauth=false ends that it is)")
	}
	if o.Account != policy.Own && o.Account != policy.Shared {
		bad("oauth", fmt.Sprintf("an account is %s or %s", policy.Own, policy.Shared))
	}
	if o.Account == policy.Shared && u.Owner == "" {
		bad("oauth", "a shared account is its owner's; name the owner")
	}
	switch d, _ := c.r.Describe(*u); {
	case len(d.Joined) > 0:
		bad("oauth", "one that joins others is not signed in to; each of the others may be")
	case u.Family != "mcp" && o.Issuer == "":
		bad("oauth", "name the issuer to sign in at; only an MCP server says that itself")
	case o.Issuer == "" && (o.Client != "" || client != nil):
		bad("oauth", "a client_id is of one authorization server: name its issuer")
	case o.Client == "" && client != nil:
		bad("oauth", "a client's secret needs its client_id")
	}
	need := func(ok bool, text string) {
		if !ok {
			bad("oauth", text)
		}
	}
	need(o.Issuer == "" || address(o.Issuer, u.URL), "its issuer is to be an https URL as the server itself writes it, without a query (http on this machine, for an upstream on this machine)")
	need(printing(o.Client, 2048) && (client == nil || *client != "" && printing(*client, 4096)), "client_id and its secret are of printable ASCII")
	for _, s := range o.Scopes {
		need(s != "" && printing(s, 512) && !strings.ContainsAny(s, ` "\`), fmt.Sprintf("%.60q is no scope; give each on its own", s))
	}
	for name, value := range o.Parameters {
		need(name != "" && len(name)+len(value) <= 1024 && !reserved[name], fmt.Sprintf("the parameter %.60q is not to be set here", name))
	}
}

// address reports whether issuer can be one, for an upstream at that URL.
func address(issuer, upstream string) bool {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.ContainsAny(issuer, "#?") {
		return false
	}
	at, err := url.Parse(upstream)
	return u.Scheme == "https" || u.Scheme == "http" && fetch.Loopback(u.Hostname()) && err == nil && fetch.Loopback(at.Hostname())
}

func printing(s string, most int) bool {
	return len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// moveAccounts sees to what depends on where an upstream is signed in to, before it becomes u.
func (c *Change) moveAccounts(old, u policy.Upstream, secret *string) error {
	if u.OAuth == nil && old.OAuth == nil {
		return nil
	}
	var err error
	if old.OAuth != nil && old.Place() != u.Place() {
		err = errors.Join(c.forgetAll(u.Name, u.Name+" is signed in to elsewhere, or otherwise, from now on."), c.DeleteSecret(store.UpstreamRegistration(u.Name)))
	}
	switch {
	case secret != nil:
		err = errors.Join(err, c.PutSecret(store.UpstreamClient(u.Name), []byte(*secret)))
	case u.OAuth == nil || old.OAuth == nil || u.OAuth.Client != old.OAuth.Client || u.OAuth.Issuer != old.OAuth.Issuer:
		err = errors.Join(err, c.DeleteSecret(store.UpstreamClient(u.Name)))
	}
	if u.OAuth != nil { // a credential is one or the other
		err = errors.Join(err, c.DeleteSecret(store.UpstreamSecret(u.Name)))
	}
	return err
}

// Registered keeps how we registered ourselves at an upstream's authorization server; the zero value forgets it.
func (c *Change) Registered(u policy.Upstream, issuer string, r oauth.Registration) error {
	now, err := c.Upstream(u.Name)
	if err != nil {
		return missing(err, "upstream", u.Name)
	}
	if now.Place() != u.Place() {
		return &Conflict{u.Name + " has changed meanwhile; begin again"}
	}
	known, err := Registrations(c.Tx, u.Name)
	if err != nil {
		return err
	}
	if len(known) >= 8 { // an upstream that names another server each time
		clear(known)
	}
	delete(known, issuer)
	if r.ID != "" {
		known[issuer] = r
	}
	b, err := json.Marshal(known)
	return errors.Join(err, c.PutSecret(store.UpstreamRegistration(u.Name), b),
		c.record("upstream.register", u.Name, string(u.Owner), "", map[string]string{"server": issuer, "client": r.ID}))
}

// Registrations are how we registered ourselves at the authorization servers of an upstream, by issuer.
func Registrations(tx *store.Tx, upstream string) (map[string]oauth.Registration, error) {
	known := map[string]oauth.Registration{}
	b, err := tx.Secret(store.UpstreamRegistration(upstream))
	if errors.Is(err, store.ErrNotFound) {
		return known, nil
	}
	if err == nil && json.Unmarshal(b, &known) != nil {
		err = fmt.Errorf("the registration of %s in the store is damaged", upstream)
	}
	return known, err
}
