package registry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Secret is an upstream's credential: the whole value of a header.
type Secret struct {
	Header string // default Authorization
	Value  string
}

func (Secret) String() string   { return "[secret]" }
func (Secret) GoString() string { return "[secret]" }

// PutUpstream adds or changes an upstream. With no secret, the one it has stays, as long as its URL leads to the same server.
func (c *Change) PutUpstream(u policy.Upstream, secret *Secret) (Outcome, error) {
	return c.PutUpstreamOAuth(u, secret, nil)
}

// PutUpstreamOAuth is PutUpstream for one that may want OAuth of its own. client is the secret of our client at
// its server; nil: the one it has stays, if the client is the same.
func (c *Change) PutUpstreamOAuth(u policy.Upstream, secret *Secret, client *string) (Outcome, error) {
	if u.Environment == "" {
		u.Environment = "production"
	}
	old, err := c.Upstream(u.Name)
	created := errors.Is(err, store.ErrNotFound)
	if err != nil && !created {
		return Outcome{}, err
	}
	u.Killed, u.Version, u.Header = old.Killed, old.Version, old.Header
	if u.OAuth != nil {
		u.Header = ""
	}
	if secret != nil {
		if u.Header = textproto.CanonicalMIMEHeaderKey(secret.Header); u.Header == "" {
			u.Header = "Authorization"
		}
	}
	if err := c.checkUpstream(&u, secret, client); err != nil {
		return Outcome{}, err
	}
	forget := secret == nil && !created && server(u.URL) != server(old.URL) // what was for one server is shown to no other
	if forget {
		u.Header = ""
	}
	out := compare(old, u, created)
	if forget {
		if _, err := c.Secret(store.UpstreamSecret(u.Name)); err == nil {
			out.Fields = append(out.Fields, Diff{"credential", "set", ""})
		} else if !errors.Is(err, store.ErrNotFound) {
			return out, err
		}
	}
	if secret != nil {
		kept, err := c.Secret(store.UpstreamSecret(u.Name))
		switch {
		case errors.Is(err, store.ErrNotFound):
			out.Fields = append(out.Fields, Diff{"credential", "", "set"})
		case err != nil:
			return out, err
		case string(kept) != secret.Value:
			out.Fields = append(out.Fields, Diff{"credential", "set", "changed"})
		default:
			secret = nil
		}
	}
	if client != nil {
		kept, err := c.Secret(store.UpstreamClient(u.Name))
		switch {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return out, err
		case err != nil:
			out.Fields = append(out.Fields, Diff{"client_secret", "", "set"})
		case string(kept) != *client:
			out.Fields = append(out.Fields, Diff{"client_secret", "set", "changed"})
		}
	}
	if !out.Changed() && u.OwnerName == old.OwnerName {
		return out, nil
	}
	u.Version++
	kind := "upstream.change"
	if created {
		kind = "upstream.add"
	}
	if secret != nil {
		if err := c.PutSecret(store.UpstreamSecret(u.Name), []byte(secret.Value)); err != nil {
			return out, err
		}
	}
	if forget {
		if err := c.DeleteSecret(store.UpstreamSecret(u.Name)); err != nil {
			return out, err
		}
	}
	if err := c.moveAccounts(old, u, client); err != nil {
		return out, err
	}
	c.rails, c.moved[u.Name] = true, true
	return out, errors.Join(c.Tx.PutUpstream(u), c.record(kind, u.Name, string(u.Owner), "", out.detail()))
}

// server is the part of an upstream's URL that says which server it is.
func server(at string) string {
	u, err := url.Parse(at)
	if err != nil {
		return at
	}
	return u.Scheme + "://" + u.Host
}

func (c *Change) checkUpstream(u *policy.Upstream, secret *Secret, client *string) error {
	var wrong []error
	bad := func(field, text string) { wrong = append(wrong, &Invalid{"upstream " + u.Name, field, text}) }
	if !identity.ValidName(u.Name) {
		bad("", "a name is 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit")
	}
	d, err := c.r.Describe(*u)
	if err != nil {
		bad("description", err.Error())
	}
	if len(d.Joined) > 0 {
		wrong = append(wrong, c.checkJoined(u, d.Joined, secret))
	} else if p, err := url.Parse(u.URL); err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Host == "" || p.User != nil || p.RawQuery != "" || p.Fragment != "" {
		bad("url", "it is to be http://host or https://host, with a path if need be, and nothing more")
	}
	u.URL = strings.TrimSuffix(u.URL, "/")
	if u.OwnerName = ""; u.Owner != "" {
		o, err := c.Owner(u.Owner)
		if errors.Is(err, store.ErrNotFound) {
			bad("owner", fmt.Sprintf("there is no owner %q", u.Owner))
		} else if err != nil {
			return err
		} else if o.State != identity.OwnerActive {
			bad("owner", fmt.Sprintf("%s has left; name another", u.Owner))
		}
		u.OwnerName = o.Name
	}
	for _, id := range u.Consent.Owners {
		if _, err := c.Owner(id); id != "*" && errors.Is(err, store.ErrNotFound) {
			bad("consent", fmt.Sprintf("there is no owner %q; name owners, or * for all", id))
		} else if id != "*" && err != nil {
			return err
		}
	}
	for _, class := range u.Consent.Classes {
		if !slices.Contains(policy.Classes, class) {
			bad("consent", fmt.Sprintf("%q is no class; use read, write, delete or admin", class))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.Counters)) {
		if !policy.ValidCounter(name) {
			bad("counters", fmt.Sprintf("%q is no name for one: 1 to 64 of a-z 0-9 . _ -, and neither calls nor bytes", name))
		} else if err == nil {
			if wrong := u.Counters[name].Check(d); wrong != nil {
				bad("counters."+name, wrong.Error())
			}
		}
	}
	if err == nil {
		if wrong := u.Provenance.Check(d); wrong != nil {
			bad("provenance", wrong.Error())
		}
	}
	if !identity.ValidName(u.Environment) {
		bad("environment", fmt.Sprintf("%q is no name: 1 to 64 of a-z 0-9 . _ -", u.Environment))
	}
	wrong = append(wrong, checkTold(u))
	if secret != nil && (!httpguts.ValidHeaderFieldName(u.Header) || !httpguts.ValidHeaderFieldValue(secret.Value) || secret.Value == "") {
		bad("credential", "the header's name or its value cannot be sent in HTTP")
	}
	c.checkOAuth(u, secret, client, bad)
	return errors.Join(wrong...)
}

// checkJoined refuses what cannot be for an upstream that only joins others.
func (c *Change) checkJoined(u *policy.Upstream, joined []string, secret *Secret) error {
	if u.URL != "" || secret != nil {
		return &Invalid{"upstream " + u.Name, "url", "one that joins others has no url and no credential of its own"}
	}
	for _, name := range joined {
		m, err := c.Upstream(name)
		if errors.Is(err, store.ErrNotFound) || err == nil && m.Family != "mcp" {
			return &Invalid{"upstream " + u.Name, "description", fmt.Sprintf("%.60q is no MCP upstream", name)}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// RemoveUpstream removes an upstream on which there are no grants, and its credential.
func (c *Change) RemoveUpstream(name string) error {
	u, err := c.Upstream(name)
	if err != nil {
		return missing(err, "upstream", name)
	}
	grants, err := c.GrantsOn(name)
	if err != nil {
		return err
	}
	if len(grants) > 0 {
		return &Conflict{fmt.Sprintf("upstream %s still has grants on it (%s); revoke them first", name, grants[0].ID)}
	}
	c.rails = true
	return errors.Join(c.forgetAll(name, name+" was removed."), c.DeleteSecret(store.UpstreamRegistration(name)), c.DeleteSecret(store.UpstreamClient(name)),
		c.DeleteSecret(store.UpstreamSecret(name)), c.DeleteUpstream(name), c.record("upstream.remove", name, string(u.Owner), "", nil))
}

// Endpoint is where an upstream is spoken to: below its URL, if there is one path for all.
func (r *Registry) Endpoint(u policy.Upstream) (string, error) {
	for _, f := range r.Families {
		if f.Name != u.Family {
			continue
		}
		conn, err := f.Open(u.Description)
		if e, ok := conn.(connector.Endpointer); ok && err == nil {
			return u.URL + e.Endpoint(), nil
		}
		return u.URL, err
	}
	return u.URL, nil
}

// described remembers what was read from descriptions, some of which are long.
type described struct {
	mu    sync.Mutex
	known map[[32]byte]policy.Described
}

// Describe says what can be done on an upstream.
func (r *Registry) Describe(u policy.Upstream) (policy.Described, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%q %q %v %q", u.Name, u.Family, u.Classes, u.Description))
	r.described.mu.Lock()
	d, ok := r.described.known[key]
	r.described.mu.Unlock()
	if ok {
		return d, nil
	}
	conn, err := connector.Open(r.Families, u.Family, u.Description)
	if err != nil {
		return d, err
	}
	if d, err = policy.Describe(policy.Upstream{Name: u.Name, Classes: u.Classes}, conn.Actions()); err != nil {
		return d, err
	}
	if j, ok := conn.(connector.Joiner); ok {
		d.Joined = j.Members()
	}
	r.described.mu.Lock()
	defer r.described.mu.Unlock()
	if r.described.known == nil || len(r.described.known) > 1000 {
		r.described.known = map[[32]byte]policy.Described{}
	}
	r.described.known[key] = d
	return d, nil
}
