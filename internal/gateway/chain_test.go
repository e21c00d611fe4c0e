package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestChainPermitsWhatAllDo: over random chains, grants, guardrails and consents, a chain may what each of its links
// may, and nothing that one of them is refused; asked again, it is the same.
func TestChainPermitsWhatAllDo(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 2))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	allowed, refused := 0, 0
	for range 30 {
		w := newWorld(t, http.NotFoundHandler())
		var names []string
		for i := range 8 {
			name := fmt.Sprint("n", i)
			w.enrol(name)
			g := all(name)
			g.Cedar = `permit(principal, action` + pick("", ` in Lanyard::Action::"read"`, "", "") + `, resource)` +
				pick("", "", "", " when { context.for_others }", ` when { resource.path like "things/*" }`, " when { context.depth < 4 }", " when { context has person }") + ";"
			w.apply(feed.Change{Grant: g})
			names = append(names, name)
		}
		for _, person := range []identity.OwnerID{"maya", "ben"} {
			w.apply(feed.Change{Owner: &identity.Owner{ID: person, State: identity.OwnerActive}})
		}
		if rnd.IntN(3) == 0 {
			w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "rail", Cedar: `forbid(principal == Lanyard::Agent::"` + id(pick(names...)).String() + `", action, resource)` + pick("", " when { context.depth > 2 }") + ";"}})
		}
		w.applyUpstream(&policy.Upstream{Name: "mail", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "any", Version: 9,
			Consent: policy.Consent{Owners: []identity.OwnerID{"ben"}, Classes: []policy.Class{policy.Class(pick("read", "write"))}}})
		u, _ := w.view.Upstream("mail")
		for range 60 {
			rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			var chain identity.Chain
			for _, name := range names[:1+rnd.IntN(7)] {
				chain = append(chain, identity.Link{ID: id(name)})
			}
			if rnd.IntN(2) == 0 {
				chain = append(chain, identity.Link{ID: identity.MustID("spiffe://lanyard.local/person/" + pick("maya", "ben"))})
			}
			class := policy.Class(pick("read", "write"))
			call := policy.Call{Upstream: "mail", Action: "things." + string(class), Class: class, Resource: pick("things/1", "other")}
			c := w.claims(chain[0].ID.Name())
			c.Chain = chain
			r := &request{g: w.g}
			r.claims, r.call, r.backend = &c, call, &backend{upstream: u}
			now := time.Now()
			d, err := w.g.judge(r.claims, r.question(call, u, now), &r.sets)
			if err != nil {
				t.Fatal(err)
			}
			want := true
			for _, l := range chain {
				s, ok := w.view.Subject(l.ID)
				if !ok {
					t.Fatal(l)
				}
				set, err := s.Set()
				if err != nil {
					t.Fatal(err)
				}
				want = want && set.Decide(policy.Request{Call: call, Upstream: u, Now: now, Chain: chain}).Allow
			}
			if d.Allow != want {
				t.Fatalf("%v may %s %s: %v, its links together: %v (%s)", chain.Texts(), call.Action, call.Resource, d.Allow, want, d.Reason)
			}
			if d.Allow {
				allowed++
				if len(d.Policies) < len(chain) || !w.g.unmoved(r, u) {
					t.Fatalf("%v: by %v", chain.Texts(), d.Policies)
				}
			} else {
				refused++
			}
		}
	}
	if allowed < 100 || refused < 100 {
		t.Errorf("%d allowed and %d refused say little", allowed, refused)
	}
}
