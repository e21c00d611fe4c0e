package identity

import (
	"slices"
	"strings"
	"testing"
)

// TestProviderOwner: who is meant is one living person, found in the one way that the entry says.
func TestProviderOwner(t *testing.T) {
	owners := []Owner{{ID: "maya", Email: "maya@acme.example", State: OwnerActive}, {ID: "ben", Email: "ben@acme.example", State: OwnerActive}, {ID: "ben2", Email: "BEN@acme.example", State: OwnerActive},
		{ID: "kim", Email: "kim@acme.example", State: OwnerGone}, {ID: "desk", Email: "desk@acme.example", State: OwnerActive, Team: true}}
	claims := map[string]string{"preferred_username": "maya"}
	said := func(sub, email string, verified bool) Word {
		return Word{Subject: sub, Email: email, Verified: verified, Claim: func(name string) string { return claims[name] }}
	}
	denied := said("1", "maya@acme.example", false)
	denied.Denied = true
	email, domain := Provider{Claim: "email"}, Provider{Claim: "email", Domains: []string{"Acme.example"}}
	people := Provider{Claim: "email", People: map[string]OwnerID{"00u1": "maya", "00u2": "nobody"}}
	for what, c := range map[string]struct {
		p    Provider
		w    Word
		want OwnerID
		why  string
	}{
		"a verified address":             {email, said("1", "Maya@Acme.Example", true), "maya", ""},
		"one that is not":                {email, said("1", "maya@acme.example", false), "", "verified"},
		"of its own domain":              {domain, said("1", "maya@acme.example", false), "maya", ""},
		"of its own, and denied":         {domain, denied, "", "verified"},
		"of another domain, verified":    {domain, said("1", "maya@other.example", true), "", "does not answer for"},
		"of a domain below":              {domain, said("1", "maya@x.acme.example", true), "", "does not answer for"},
		"two at signs":                   {domain, said("1", "maya@evil.example@acme.example", true), "", "no email address"},
		"a letter that folds to another": {email, said("1", "\u212aim@acme.example", true), "", "not ASCII"},
		"no address":                     {email, said("1", "", true), "", "no email address"},
		"an address of two":              {email, said("1", "ben@acme.example", true), "", "more than one"},
		"of nobody":                      {email, said("1", "eve@acme.example", true), "", "no owner has"},
		"of one who left":                {email, said("1", "kim@acme.example", true), "", "has left"},
		"of a team":                      {email, said("1", "desk@acme.example", true), "", "is a team"},
		"a sub that is known":            {people, said("00u1", "ben@acme.example", false), "maya", ""},
		"a known sub, of nobody":         {people, said("00u2", "maya@acme.example", true), "", "no such owner"},
		"a sub that is not":              {people, said("00u3", "maya@acme.example", true), "maya", ""},
		"by a claim":                     {Provider{Claim: "preferred_username"}, said("1", "", false), "maya", ""},
		"by a claim that is not there":   {Provider{Claim: "upn"}, said("1", "maya@acme.example", true), "", "claim upn is missing"},
		"by sub":                         {Provider{Claim: "sub"}, said("maya", "ben@acme.example", true), "maya", ""},
		"by sub, in another case":        {Provider{Claim: "sub"}, said("Maya", "", true), "", "there is no owner Maya"},
		"no sub":                         {people, said("", "maya@acme.example", true), "", "does not say who"},
	} {
		o, why := c.p.Owner(c.w, owners)
		if o.ID != c.want || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %q, %q", what, o.ID, why)
		}
		if name, named := c.p.Named(c.w); named { // then the others make no difference
			few := slices.DeleteFunc(slices.Clone(owners), func(o Owner) bool { return string(o.ID) != name })
			if o, why := c.p.Owner(c.w, few); o.ID != c.want || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("%s, of %d: %q, %q", what, len(few), o.ID, why)
			}
		} else if c.p.Claim != "email" {
			t.Errorf("%s: all are looked at", what)
		}
	}
}
