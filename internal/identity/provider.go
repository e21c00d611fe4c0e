package identity

import (
	"slices"
	"strings"
	"unicode"
)

// ProviderUse is what a provider is trusted for.
type ProviderUse string

// IDJAG lets people's clients act with the provider's word instead of the person's
// click (draft-ietf-oauth-identity-assertion-authz-grant).
const IDJAG ProviderUse = "id_jag"

// OnBehalf lets agents act on behalf of people by tokens that the provider gave to an
// application of the organisation (RFC 8693).
const OnBehalf ProviderUse = "on_behalf"

// Attest lets gateways join by tokens that the provider gave to the workloads that they are, as Kubernetes
// and clouds do.
const Attest ProviderUse = "attest"

// SignIn lets people sign in to Lanyard itself with the provider (OpenID Connect).
const SignIn ProviderUse = "sign_in"

// ProviderUses are all that there are.
var ProviderUses = []ProviderUse{IDJAG, OnBehalf, Attest, SignIn}

// Provider is an identity provider of people that the organisation trusts to say
// who somebody is. It speaks of people in its own words; the owner who is meant is
// found by [Provider.Owner].
type Provider struct {
	Name     string             `json:"name"`
	Issuer   string             `json:"issuer"`                   // exactly the iss of what it signs; no two providers have the same
	Uses     []ProviderUse      `json:"uses"`                     // what it is trusted for
	Claim    string             `json:"claim"`                    // who is meant: email, or the claim that holds an owner's name
	Domains  []string           `json:"domains,omitempty"`        // of email: those it answers for; none: any, if it says that the address is verified
	People   map[string]OwnerID `json:"people,omitempty"`         // sub → owner; one who is here is found by nothing else
	Scopes   []string           `json:"scopes,omitempty"`         // classes that clients get on its word, at most; default read
	Life     string             `json:"life"`                     // how long a client goes on without its word being heard anew, as in 30d
	Public   bool               `json:"public_clients,omitempty"` // clients without a credential of their own may show its word, too
	Audience []string           `json:"audience,omitempty"`       // of on_behalf: whom its tokens have to be for (aud, azp), in its own words
	Client   string             `json:"client_id,omitempty"`      // of sign_in: who Lanyard is there
	Label    string             `json:"label,omitempty"`          // of sign_in: what people call it
	Groups   string             `json:"groups,omitempty"`         // of sign_in: the claim that holds a person's groups; default groups
	Roles    map[string][]Role  `json:"roles,omitempty"`          // of sign_in: group → roles
	JWKS     []byte             `json:"jwks,omitempty"`           // its keys (RFC 7517), pinned; none: those it publishes
	Disabled bool               `json:"disabled,omitempty"`       // trusted for nothing, for now
	Set      string             `json:"set,omitempty"`
	Version  int64              `json:"version"` // grows with each change
}

// May reports whether p is trusted for that.
func (p Provider) May(use ProviderUse) bool { return !p.Disabled && slices.Contains(p.Uses, use) }

// Called is what people call it.
func (p Provider) Called() string {
	if p.Label == "" {
		return p.Name
	}
	return p.Label
}

// RolesOf are the roles that somebody has who is in those groups.
func (p Provider) RolesOf(groups []string) (list []Role) {
	for _, g := range groups {
		list = append(list, p.Roles[g]...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Limit is the classes that clients get on p's word, at most.
func (p Provider) Limit() []string {
	if len(p.Scopes) == 0 {
		return []string{"read"}
	}
	return p.Scopes
}

// Word is what a provider says of a person. Claim reads one more of its claims, "" if it is no text.
type Word struct {
	Subject  string // sub
	Email    string
	Verified bool // email_verified is there, and true
	Denied   bool // email_verified is there, and false
	Claim    func(name string) string
}

// Named is the name of the owner that p means, "" if it is missing, where it says a name and no email address.
func (p Provider) Named(w Word) (name string, named bool) {
	pinned, known := p.People[w.Subject]
	switch {
	case known:
		return string(pinned), true
	case p.Claim == "email":
		return "", false
	case p.Claim == "sub":
		return w.Subject, true
	}
	return w.Claim(p.Claim), true
}

// Owner finds the one of the owners that p means, or says, for the record, why there is none. Where p has it [Provider.Named], others
// need not be among them.
func (p Provider) Owner(w Word, owners []Owner) (found Owner, why string) {
	name, named := p.Named(w)
	is := func(o Owner) bool { return string(o.ID) == name }
	_, pinned := p.People[w.Subject]
	switch {
	case w.Subject == "":
		return found, "it does not say who (sub)"
	case pinned:
		why = "people has " + name + " for this sub, and there is no such owner"
	case !named:
		if why = p.email(w); why != "" {
			return found, why
		}
		is = func(o Owner) bool { return strings.EqualFold(o.Email, w.Email) } // in ASCII: see email
		why = "no owner has the email address " + w.Email
	case name == "":
		return found, "the claim " + p.Claim + " is missing or no text"
	default:
		why = "there is no owner " + name
	}
	n := 0
	for _, o := range owners {
		if is(o) {
			found = o
			n++
		}
	}
	switch {
	case n == 0:
		return Owner{}, why
	case n > 1:
		return Owner{}, "more than one owner has the email address " + w.Email
	case found.Team:
		return Owner{}, string(found.ID) + " is a team, not a person"
	case found.State != OwnerActive:
		return Owner{}, string(found.ID) + " has left"
	}
	return found, ""
}

// email says why the address counts for nothing, "" if it counts.
func (p Provider) email(w Word) string {
	_, domain, ok := strings.Cut(w.Email, "@")
	switch {
	case !ok || domain == "" || strings.Contains(domain, "@"):
		return "it gives no email address"
	case strings.ContainsFunc(w.Email, func(r rune) bool { return r > unicode.MaxASCII }): // some of which fold to letters of others
		return "the email address has characters that are not ASCII"
	case w.Denied, !w.Verified && len(p.Domains) == 0:
		return "it does not say that the email address is verified (email_verified)"
	case len(p.Domains) > 0 && !slices.ContainsFunc(p.Domains, func(d string) bool { return strings.EqualFold(d, domain) }):
		return "the email address is of a domain that the provider does not answer for"
	}
	return ""
}
