package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// Token exchange (RFC 8693) has one form here: the client, by its own proof, is who
// acts, and the subject token says for whom. The chain of what comes out is the client
// with those that started it, then the chain of the subject token. So an exchange adds
// links and takes none away; as each of them is asked on every request, and the end is
// the earliest of all ends, no row of exchanges comes to more than its first token was.

// behalf is for whom the client asks.
type behalf struct {
	chain identity.Chain // whole, the client first
	made  time.Time      // of a person's token: when the person signed in, or later
	ends  time.Time      // of all that was shown
	scope string         // of the token that was shown
	from  []string       // that token and those it came from, and the credentials they were obtained with
	task  string         // of the token that was shown
}

// limit narrows a scope to that of the token it comes from. Nothing means all that is granted.
func (b *behalf) limit(scope *string) error {
	if b == nil || b.scope == "" {
		return nil
	}
	if *scope == "" {
		*scope = b.scope
	}
	for s := range strings.FieldsSeq(*scope) {
		if !slices.Contains(strings.Fields(b.scope), s) {
			return refuse("invalid_scope", "The subject token is limited to the scope \""+b.scope+"\", and an exchange never widens it.")
		}
	}
	return nil
}

// is names the type of what comes out of an exchange.
func (b *behalf) is() string {
	if b == nil {
		return ""
	}
	return token.TypeAccess
}

// byExchange finds out who acts and for whom (RFC 8693 section 2.1).
func (i *Issuer) byExchange(r *http.Request, q *issue) (err error) {
	if q.client, q.claimed, err = i.authenticate(r, q.form, q.now); err != nil {
		return err
	}
	raw, kind := q.form["subject_token"], q.form["subject_token_type"]
	typ, from, said := token.ReadUnsafe(raw)
	q.said = said
	switch wanted := q.form["requested_token_type"]; {
	case raw == "" || kind == "":
		return refuse("invalid_request", "subject_token and subject_token_type are needed.")
	case wanted != "" && wanted != token.TypeAccess:
		return refuse("invalid_request", "requested_token_type can only be "+token.TypeAccess+".")
	case q.form["audience"] != "":
		return refuse("invalid_request", "Say what the token is for with resource, not audience.")
	case len(raw) > token.MaxToken:
		return refuse("invalid_request", "The subject token is too long.")
	}
	line, err := i.View.Line(q.client.subject.Identity.ID, q.now)
	if err != nil {
		return refuse("invalid_grant", err.Error()+".")
	}
	var b behalf
	switch {
	case from != i.URL:
		b, err = i.begun(r.Context(), q, raw, kind, line)
	case typ == "at+jwt":
		b, err = i.continued(raw, kind, line, q.now)
	default:
		b, err = i.introduced(raw, kind, line, q.now)
	}
	if err != nil {
		return err
	}
	q.tried, q.said = append(line[:len(line)-overlap(line, b.chain)].Texts(), b.chain.Texts()...), nil
	if b.chain, err = join(line, b.chain); err != nil {
		return err
	}
	if err := i.actor(q, &b); err != nil {
		return err
	}
	q.behalf = &b
	return nil
}

// begun is the beginning of a chain: a token from the identity provider of a person.
func (i *Issuer) begun(ctx context.Context, q *issue, raw, kind string, line identity.Chain) (b behalf, err error) {
	if i.userOf == nil {
		return b, refuse("invalid_request", "The subject token is not from this server, and no other's are taken.")
	}
	if kind != token.TypeID && kind != token.TypeJWT && kind != token.TypeAccess {
		return b, refuse("invalid_request", "A person's token is of the subject_token_type "+token.TypeID+", "+token.TypeJWT+" or "+token.TypeAccess+".")
	}
	who, b, err := i.userOf(ctx, q, raw, kind, line.Actor())
	if err != nil {
		return b, err
	}
	id, err := identity.PersonID(line.Actor().TrustDomain(), who)
	if err != nil {
		return b, refuse("invalid_grant", "The person has no name that can stand in a chain.")
	}
	o, ok := i.View.Owner(who)
	if !ok || o.State != identity.OwnerActive || o.Team {
		return b, refuse("invalid_grant", "Nobody acts for "+string(who)+": there is no such person, or the person has left.")
	}
	if !b.made.After(o.Stopped) {
		return b, refuse("invalid_grant", "The subject token was made before all that was done for "+string(who)+" was stopped; the person has to sign in again.")
	}
	b.chain = identity.Alone(id, o.Generation)
	return b, nil
}

// continued is a token of the client's own, for another resource: the same chain.
func (i *Issuer) continued(raw, kind string, line identity.Chain, now time.Time) (b behalf, err error) {
	if kind != token.TypeAccess {
		return b, refuse("invalid_request", "An access token of this server is of the subject_token_type "+token.TypeAccess+".")
	}
	c, err := i.Ring.Verifier().Verify(raw, i.URL, "", now)
	if err != nil {
		return b, asGrant(err)
	}
	if err := i.View.Check(c, now); err != nil {
		return b, refuse("invalid_grant", "The subject token is no longer good: "+err.Error()+".")
	}
	if overlap(line, c.Chain) != len(line) {
		return b, refuse("invalid_grant", "The subject token is "+c.Actor().Name()+"'s own. What another may act with is what the gateway gives to an agent that is called.")
	}
	return shown(c)
}

// introduced is what the gateway gave the client when it was called by another.
func (i *Issuer) introduced(raw, kind string, line identity.Chain, now time.Time) (b behalf, err error) {
	if kind != token.TypeJWT {
		return b, refuse("invalid_request", "What the gateway gives to an agent that is called is of the subject_token_type "+token.TypeJWT+".")
	}
	c, err := i.Ring.Verifier().Introduction(raw, i.URL, now)
	if err != nil {
		return b, asGrant(err)
	}
	if err := i.View.Check(c, now); err != nil {
		return b, refuse("invalid_grant", "The subject token is no longer good: "+err.Error()+".")
	}
	if c.MayAct != line.Actor() {
		return b, refuse("invalid_grant", "The subject token lets "+c.MayAct.Name()+" act (may_act), and nobody else.")
	}
	if overlap(line, c.Chain) == len(line) {
		return b, refuse("invalid_grant", line.Actor().Name()+" was called by itself, and acts for nobody else with that.")
	}
	return shown(c)
}

// shown is what a token of ours that is shown comes to. It rests on what that was obtained with, too.
func shown(c token.Claims) (behalf, error) {
	from := append([]string{c.ID}, c.From...)
	if !slices.Contains(from, c.Credential) {
		from = append(from, c.Credential)
	}
	if len(from) > token.MaxFrom {
		return behalf{}, refuse("invalid_grant", "The subject token comes from too many exchanges in a row; begin anew.")
	}
	return behalf{chain: c.Chain, ends: c.Expires, scope: c.Scope, from: from, task: c.Task}, nil
}

// actor judges actor_token, which can only say again who the client is.
func (i *Issuer) actor(q *issue, b *behalf) error {
	raw, kind := q.form["actor_token"], q.form["actor_token_type"]
	switch {
	case raw == "" && kind == "":
		return nil
	case raw == "" || kind != token.TypeAccess:
		return refuse("invalid_request", "An actor_token comes with the actor_token_type "+token.TypeAccess+"; it can be left out, for the client that authenticates is who acts.")
	}
	c, err := i.Ring.Verifier().Verify(raw, i.URL, "", q.now)
	if err != nil {
		return asGrant(err)
	}
	if c.Actor() != q.client.subject.Identity.ID {
		return refuse("invalid_grant", "The actor_token is "+c.Actor().Name()+"'s, and "+q.client.subject.Identity.ID.Name()+" asks: the client that authenticates is who acts.")
	}
	if err := i.View.Check(c, q.now); err != nil {
		return refuse("invalid_grant", "The actor_token is no longer good: "+err.Error()+".")
	}
	if err := b.narrow(c.Scope); err != nil {
		return err
	}
	if c.Expires.Before(b.ends) {
		b.ends = c.Expires
	}
	return nil // it is not what the result comes from: its client has proven who it is
}

// narrow has what comes out within the scope of the actor's token, too.
func (b *behalf) narrow(scope string) error {
	if scope == "" || b.scope == "" {
		b.scope += scope
		return nil
	}
	both := slices.DeleteFunc(strings.Fields(b.scope), func(s string) bool { return !slices.Contains(strings.Fields(scope), s) })
	if b.scope = strings.Join(both, " "); b.scope == "" {
		return refuse("invalid_scope", "The subject token and the actor_token have no scope in common.")
	}
	return nil
}

// asGrant is what is wrong with a token that is shown as a grant (RFC 8693 section 2.2.2).
func asGrant(err error) error {
	var e *token.Error
	if errors.As(err, &e) {
		return refuse("invalid_grant", "The "+e.Text+".")
	}
	return err
}

// overlap is how many links the end of line has in common with the beginning of chain.
func overlap(line, chain identity.Chain) int {
	for n := min(len(line), len(chain)); n > 0; n-- {
		if slices.Equal(line[len(line)-n:], chain[:n]) {
			return n
		}
	}
	return 0
}

// join puts the line of who acts before the chain it acts for. Where it is asked by one
// of those that started it, that one is there once.
func join(line, chain identity.Chain) (identity.Chain, error) {
	all := slices.Concat(line[:len(line)-overlap(line, chain)], chain)
	for n, l := range all {
		if slices.ContainsFunc(all[:n], func(o identity.Link) bool { return o.ID == l.ID }) {
			return nil, refuse("invalid_grant", l.ID.Name()+" is in the chain already: nobody acts for itself by way of another.")
		}
	}
	if len(all) > identity.MaxChain {
		return nil, refuse("invalid_grant", fmt.Sprintf("The chain would have %d links, and %d is the most.", len(all), identity.MaxChain))
	}
	return all, nil
}

// reach refuses a chain of which one could do nothing at all on the upstream: what may
// be done there is decided for each link on each request, but that it could be is to be known now.
func (i *Issuer) reach(_ *http.Request, q *issue) error {
	if q.behalf == nil || q.upstream == "" {
		return nil
	}
	u, ok := i.View.Upstream(q.upstream)
	if !ok {
		return refuse("invalid_target", fmt.Sprintf("There is no upstream %q any more.", q.upstream))
	}
	chain := q.behalf.chain
	for n := len(chain) - 1; n > 0; n-- { // from the end: what a child may can be what the next link may
		name := chain[n].ID.Name()
		switch person := chain[n].ID.Owner(); {
		case person != "" && len(u.Limit(person)) == 0:
			return refuse("invalid_target", fmt.Sprintf("Nothing may be done on %q on behalf of %s; an owner of that upstream can let it (consent).", q.upstream, name))
		case person == "" && !i.View.Holds(chain[n:], q.upstream, q.now):
			return refuse("invalid_target", fmt.Sprintf("%s, on whose behalf it is asked, holds no grant on %q that is still in force; an owner of that upstream can give one.", name, q.upstream))
		}
	}
	return nil
}

// held refuses a token for another's sake that whoever has it could use.
func (i *Issuer) held(_ *http.Request, q *issue) error {
	if q.behalf == nil || q.claims.Key != (token.Confirmation{}) || i.AllowBearer {
		return nil
	}
	return &token.Error{Code: token.InvalidProof, Text: "A token on behalf of another is always bound to a key of the client's: send a DPoP header (RFC 9449) " +
		"with htm=POST, htu=" + i.URL + "/oauth/token and the nonce of this response."}
}
