package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestPerson: on behalf of a person, an agent may do what it may and the person may have done, for as
// long as nobody takes it from either; and the record says both.
func TestPerson(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(ticking))
	ben := identity.Owner{ID: "ben", Name: "Ben Ode", State: identity.OwnerActive}
	w.apply(feed.Change{Owner: &ben})
	mail := policy.Upstream{Name: "mail", URL: w.back.URL, Owner: "maya", OwnerName: "Maya Lind", Environment: "production", Family: "any", Consent: policy.Consent{Owners: []identity.OwnerID{"ben"}}, Version: 2}
	w.apply(feed.Change{Upstream: &mail})
	onBehalf := func(person string, generation uint64) string {
		c := w.claims("bot")
		c.Chain = append(c.Chain, identity.Link{ID: identity.MustID("spiffe://lanyard.local/person/" + person), Generation: generation})
		return w.mint(c)
	}
	try := func(method, raw string) (int, string) {
		r := w.request(method, "/mail/x", raw, nil)
		r.URL.Path = "/mail/once"
		res, body := w.do(r)
		return res.StatusCode, body
	}
	if status, body := try("POST", onBehalf("ben", 0)); status != 403 || !strings.Contains(body, "ben, on whose behalf it is asked") || !strings.Contains(body, "Maya Lind") {
		t.Errorf("a write for who may have read: %d %s", status, body)
	}
	if status, body := try("GET", onBehalf("nobody", 0)); status != 401 {
		t.Errorf("for somebody unknown: %d %s", status, body)
	}
	for name, stop := range map[string]feed.Change{
		"left":    {Owner: &identity.Owner{ID: "ben", Name: "Ben Ode", State: identity.OwnerGone}},
		"killed":  {Owner: &identity.Owner{ID: "ben", Name: "Ben Ode", State: identity.OwnerActive, Generation: 1}},
		"a team":  {Owner: &identity.Owner{ID: "ben", Name: "Ben Ode", State: identity.OwnerActive, Team: true}},
		"consent": {Upstream: &policy.Upstream{Name: "mail", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "any", Version: 3}},
		"a rail":  {Guardrail: &policy.Guardrail{ID: "no-ben", Cedar: `forbid(principal == Lanyard::Person::"spiffe://lanyard.local/person/ben", action, resource);`}},
	} {
		w.apply(feed.Change{Owner: &ben})
		w.apply(feed.Change{Upstream: &mail})
		w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "no-ben"}, Removed: true})
		res, err := http.DefaultClient.Do(w.request("GET", "/mail/x", onBehalf("ben", 0), nil))
		if err != nil || res.StatusCode != 200 {
			t.Fatal(name, res.StatusCode, err)
		}
		w.apply(stop)
		if cutShort(t, res.Body) == nil {
			t.Errorf("%s: the stream ended as if it were whole", name)
		}
		res.Body.Close()
	}
	eventually(t, "both on record", func() bool {
		w.plane.mu.Lock()
		defer w.plane.mu.Unlock()
		for _, e := range w.plane.events {
			if strings.Join(e.Chain, " ") == "spiffe://lanyard.local/agent/bot spiffe://lanyard.local/person/ben" && e.Actor == e.Chain[0] && e.Time.Before(time.Now()) {
				return true
			}
		}
		return false
	})
}
