package policy

import (
	"testing"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// TestHolder: whose account serves whom; what is not known serves nobody.
func TestHolder(t *testing.T) {
	u := Upstream{Name: "x", URL: "https://x.example.com", Owner: "priya"}
	for account, want := range map[Account]identity.OwnerID{Own: "maya", Shared: "priya", "": "", "all": ""} {
		u.OAuth = &OAuth{Account: account}
		if got := u.Holder("maya"); got != want {
			t.Errorf("%q: %q", account, got)
		}
	}
	if u.OAuth = nil; u.Holder("maya") != "" || u.Place() != "" {
		t.Error("one that wants no account has a holder")
	}
}

// TestPlace: whatever says where an account is shown, and for whom, makes another place.
func TestPlace(t *testing.T) {
	seen := map[string]bool{}
	for _, u := range []Upstream{
		{URL: "https://x", OAuth: &OAuth{Account: Own}},
		{URL: "https://x/y", OAuth: &OAuth{Account: Own}},
		{URL: "https://x", OAuth: &OAuth{Account: Shared}},
		{URL: "https://x", OAuth: &OAuth{Account: Own, Issuer: "https://a"}},
		{URL: "https://x", OAuth: &OAuth{Account: Own, Client: "https://a"}},
		{URL: `https://x" "https://a`, OAuth: &OAuth{Account: Own}},
	} {
		if seen[u.Place()] {
			t.Errorf("two are at %s", u.Place())
		}
		seen[u.Place()] = true
	}
	a := Upstream{URL: "https://x", OAuth: &OAuth{Account: Own, Scopes: []string{"b"}}, Description: []byte("new")}
	if !seen[a.Place()] {
		t.Error("what says nothing of that makes another place")
	}
}
