package registry

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// providerLife is how long a client goes on without its provider's word being heard anew, when nothing is said.
const providerLife = "30d"

// PutProvider adds or changes a provider; one that is disabled stays so. What stood on
// its word ends when that was another's word: of another issuer or by other pinned keys.
func (c *Change) PutProvider(p identity.Provider) (Outcome, error) {
	if p.Claim == "" {
		p.Claim = "email"
	}
	if p.Life == "" {
		p.Life = providerLife
	}
	if err := c.checkProvider(p); err != nil {
		return Outcome{}, err
	}
	old, err := c.Provider(p.Name)
	created := errors.Is(err, store.ErrNotFound)
	if err != nil && !created {
		return Outcome{}, err
	}
	p.Disabled, p.Version = old.Disabled, old.Version
	out := compare(old, p, created)
	if !out.Changed() {
		return out, nil
	}
	p.Version++
	kind := "provider.change"
	if created {
		kind = "provider.add"
	}
	if err := errors.Join(c.Tx.PutProvider(p), c.EndSessions(store.Ended{Provider: p.Name}), c.record(kind, p.Name, "", "", out.detail())); err != nil {
		return out, err
	}
	if !created && (p.Issuer != old.Issuer || p.Client != old.Client) { // what was for one server is shown to no other
		if err := c.DeleteSecret(store.ProviderClient(p.Name)); err != nil {
			return out, err
		}
	}
	if !created && (!slices.Contains(p.Uses, identity.IDJAG) || p.Issuer != old.Issuer || string(p.JWKS) != string(old.JWKS)) {
		return out, c.unvouch(p.Name, "The identity provider "+p.Name+" is no longer trusted for it as it was.")
	}
	return out, nil
}

// PutProviderClient is PutProvider with the secret that Lanyard shows at the provider when people sign in; nil: the one it has stays, as long as issuer and client are the same.
func (c *Change) PutProviderClient(p identity.Provider, secret *string) (Outcome, error) {
	out, err := c.PutProvider(p)
	if err != nil || secret == nil {
		return out, err
	}
	if !slices.Contains(p.Uses, identity.SignIn) {
		return out, &Invalid{"provider " + p.Name, "client_secret", "it is of sign_in, which it is not trusted for"}
	}
	return out, errors.Join(c.PutSecret(store.ProviderClient(p.Name), []byte(*secret)), c.record("provider.client_secret", p.Name, "", "", nil))
}

// checkSignIn is the part about people who sign in.
func (c *Change) checkSignIn(p identity.Provider, bad func(field, text string)) error {
	if !slices.Contains(p.Uses, identity.SignIn) {
		if p.Client != "" || p.Groups != "" || len(p.Roles) > 0 || p.Label != "" {
			bad("client_id", "client_id, label, groups and roles are of sign_in, which it is not trusted for")
		}
		return nil
	}
	if p.Client == "" {
		bad("client_id", "sign_in needs the client that you registered there for Lanyard")
	}
	for group, roles := range p.Roles {
		if err := identity.CheckRoles(roles); group == "" || err != nil {
			bad("roles", fmt.Sprintf("of the group %q: %v", group, err))
		}
	}
	all, err := c.Providers()
	for _, o := range all {
		if o.Name != p.Name && slices.Contains(o.Uses, identity.SignIn) {
			bad("uses", "people sign in with "+o.Name+" already, and there is one place to sign in")
		}
	}
	return err
}

func (c *Change) checkProvider(p identity.Provider) error {
	var wrong []error
	bad := func(field, text string) { wrong = append(wrong, &Invalid{"provider " + p.Name, field, text}) }
	if !identity.ValidName(p.Name) {
		bad("", "a name is 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit")
	}
	u, err := url.Parse(p.Issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Contains(p.Issuer, "#") || len(p.Issuer) > 512,
		u.Scheme != "https" && !(u.Scheme == "http" && fetch.Loopback(u.Hostname())):
		bad("issuer", "it is to be https://host, with a path if it has one, exactly as the provider writes it in iss")
	default:
		if other, err := c.ProviderByIssuer(p.Issuer); err == nil && other.Name != p.Name {
			bad("issuer", "it is already the issuer of "+other.Name)
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	if len(p.Uses) == 0 {
		bad("uses", "say what it is trusted for: id_jag, on_behalf, attest, sign_in")
	}
	for _, use := range p.Uses {
		if !slices.Contains(identity.ProviderUses, use) {
			bad("uses", fmt.Sprintf("%q is nothing that a provider can be trusted for; there is id_jag, on_behalf, attest and sign_in", use))
		}
	}
	if uses := slices.Contains(p.Uses, identity.OnBehalf); uses && len(p.Audience) == 0 {
		bad("audience", "on_behalf needs those that its tokens are for, as they stand in aud; or a token for any application would do")
	} else if !uses && len(p.Audience) > 0 {
		bad("audience", "they are of on_behalf, which it is not trusted for")
	}
	if slices.Contains(p.Audience, "") {
		bad("audience", "one of them is empty")
	}
	if err := c.checkSignIn(p, bad); err != nil {
		return err
	}
	for _, d := range p.Domains {
		if d == "" || strings.ContainsAny(d, "@*/ ") {
			bad("domains", fmt.Sprintf("%q is no domain like example.com", d))
		}
	}
	if len(p.Domains) > 0 && p.Claim != "email" {
		bad("domains", "they are of email addresses, and the claim is "+p.Claim)
	}
	for sub, id := range p.People {
		if _, err := c.Owner(id); errors.Is(err, store.ErrNotFound) {
			bad("people", fmt.Sprintf("there is no owner %q", id))
		} else if err != nil {
			return err
		}
		if sub == "" || len(sub) > 256 {
			bad("people", "a sub is 1 to 256 characters")
		}
	}
	for _, s := range p.Scopes {
		if !slices.Contains(policy.Classes, policy.Class(s)) {
			bad("scopes", fmt.Sprintf("%q is no class; use read, write, delete or admin", s))
		}
	}
	if e, err := ParseEnd(p.Life); err != nil || e.life == 0 || e.life > c.r.maxExpiry() {
		bad("life", fmt.Sprintf("write 30d (or h, w, y), %s at most", c.r.maxExpiry()))
	}
	if p.JWKS != nil {
		if _, err := token.ParseProviderKeys(p.JWKS); err != nil {
			bad("jwks", err.Error())
		}
	}
	return errors.Join(wrong...)
}

// SwitchProvider disables a provider, which ends what stood on its word, or enables it again.
func (c *Change) SwitchProvider(name string, on bool, reason string) error {
	p, err := c.Provider(name)
	if err != nil {
		return missing(err, "provider", name)
	}
	if p.Disabled == !on {
		return nil // it is as asked for
	}
	kind := "provider.enable"
	if !on {
		kind = "provider.disable"
		err = errors.Join(c.unvouch(name, "The identity provider "+name+" is disabled."), c.EndSessions(store.Ended{Provider: name}))
	}
	p.Disabled = !on
	p.Version++
	return errors.Join(err, c.Tx.PutProvider(p), c.record(kind, name, "", reason, nil))
}

// disableProviders is the part that the cord on everything has in providers: or they
// could have others born at once. What stood on their word has died with the rest.
func (c *Change) disableProviders() (names []string, err error) {
	all, err := c.Providers()
	for _, p := range all {
		if !p.Disabled {
			p.Disabled = true
			p.Version++
			names, err = append(names, p.Name), errors.Join(err, c.Tx.PutProvider(p))
		}
	}
	return names, err
}

// RemoveProvider removes a provider, and ends what stood on its word.
func (c *Change) RemoveProvider(name string) error {
	if _, err := c.Provider(name); err != nil {
		return missing(err, "provider", name)
	}
	return errors.Join(c.unvouch(name, "The identity provider "+name+" is removed."), c.EndSessions(store.Ended{Provider: name}), c.DeleteSecret(store.ProviderClient(name)), c.DeleteProvider(name), c.record("provider.remove", name, "", "", nil))
}

// unvouch ends the credentials that stand on a provider's word, and so the tokens got with them.
func (c *Change) unvouch(provider, reason string) error {
	list, err := c.CredentialsOf(provider)
	for _, k := range list {
		err = errors.Join(err, c.RevokeCredential(k.ID, reason))
	}
	return err
}
