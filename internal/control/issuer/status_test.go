package issuer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// ward is an office whose mail wants status lists, and what its store would have.
type ward struct {
	*office
	kept   []store.Status
	broken error
	reads  int
}

func newWard(t *testing.T) *ward {
	o := &ward{office: newOffice(t)}
	o.apply(t, feed.Change{Upstream: &policy.Upstream{Name: "mail", Environment: "production", StatusList: true}})
	o.RecordStatus = func(_ context.Context, e ledger.Event, s store.Status) error {
		if o.broken != nil {
			return o.broken
		}
		s.Seq = int64(len(o.kept))
		o.events, o.kept = append(o.events, e), append(o.kept, s)
		return nil
	}
	o.Statuses = func(_ context.Context, after int64) (list []store.Status, _ feed.Cursor, _ error) {
		o.reads++
		for _, s := range o.kept {
			if s.Seq > after && o.now.Before(s.Expires) {
				list = append(list, s)
			}
		}
		return list, o.View.Enforced(), o.broken
	}
	o.server.Config.Handler.(*http.ServeMux).HandleFunc("GET /oauth/status/{list}", o.statusList)
	return o
}

func (o *ward) apply(t testing.TB, changes ...feed.Change) {
	t.Helper()
	for _, c := range changes {
		if err := o.View.Apply(c); err != nil {
			t.Fatal(err)
		}
	}
}

func (o *ward) get(t testing.TB, uri string) (*http.Response, string) {
	t.Helper()
	res, err := o.server.Client().Get(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// good asks the list, as who verifies the token elsewhere does, and introspection, which must say the same.
func (o *ward) good(t testing.TB, raw string) bool {
	t.Helper()
	c, err := o.Ring.Verifier().Verify(raw, o.URL, mail, o.now)
	if err != nil && o.now.Before(c.Expires) {
		t.Fatal(err)
	}
	o.now = o.now.Add(statusFresh)
	res, body := o.get(t, c.Status.URI)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/statuslist+jwt" || res.Header.Get("Cache-Control") != "public, max-age=5" {
		t.Fatal(res.Status, res.Header, body)
	}
	l, err := o.Ring.Verifier().StatusList(body, c.Status.URI, o.now)
	if err != nil {
		t.Fatal(err)
	}
	good, err := l.Good(c.Status.Index)
	if err != nil || len(l.Bits) != token.StatusPlaces/8 {
		t.Fatal(err, len(l.Bits))
	}
	if asked := o.Issuer.good(c, o.now); asked != good {
		t.Errorf("the list says %v, introspection would say %v", good, asked)
	}
	return good
}

// TestStatusBits: whatever ends a token sets its bit, and nobody else's; what comes back is taken out again.
func TestStatusBits(t *testing.T) {
	other := identity.MustID("spiffe://lanyard.local/agent/other")
	for name, c := range map[string]struct {
		end  func(*ward, token.Claims) []feed.Change
		back func(*ward) []feed.Change // nil: it is for good
		both bool                      // tokens of the same credential end, too
	}{
		"a kill": {func(*ward, token.Claims) []feed.Change {
			return []feed.Change{{Kill: &feed.Kill{ID: "k", Identities: []identity.ID{bot}}}}
		}, nil, true},
		"a token revoked": {func(o *ward, c token.Claims) []feed.Change {
			return []feed.Change{{Token: &feed.TokenRevocation{ID: c.ID, Expires: c.Expires}}}
		}, nil, false},
		"suspended":          {func(o *ward, _ token.Claims) []feed.Change { return o.state(identity.Suspended) }, func(o *ward) []feed.Change { return o.state(identity.Active) }, true},
		"expired":            {func(o *ward, _ token.Claims) []feed.Change { return o.state(identity.Expired) }, nil, true},
		"credential revoked": {func(o *ward, _ token.Claims) []feed.Change { return o.credential(o.now) }, nil, true},
		"last grant removed": {func(*ward, token.Claims) []feed.Change {
			return []feed.Change{{Grant: &policy.Grant{ID: "invoice-bot/read", Identity: bot}, Removed: true}}
		}, nil, true},
		"upstream killed": {func(*ward, token.Claims) []feed.Change {
			return []feed.Change{{Kill: &feed.Kill{ID: "k", Upstream: "mail"}}}
		},
			func(*ward) []feed.Change {
				return []feed.Change{{Upstream: &policy.Upstream{Name: "mail", StatusList: true}}}
			}, true},
		"upstream removed": {func(*ward, token.Claims) []feed.Change {
			return []feed.Change{{Upstream: &policy.Upstream{Name: "mail"}, Removed: true}}
		}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := newWard(t)
			o.apply(t, feed.Change{Identity: &identity.Identity{ID: other, Owner: "maya", State: identity.Active, Expires: o.now.Add(time.Hour), Generation: 1}},
				feed.Change{Credential: &identity.Credential{ID: "cred_o", Identity: other, Kind: identity.PrivateKeyJWT, Thumbprint: "o", Expires: o.now.Add(time.Hour)}},
				feed.Change{Grant: &policy.Grant{ID: "other/read", Identity: other, Upstream: "mail", Actions: []string{"read"}, Until: o.now.Add(time.Hour)}})
			raw, sibling, neighbour := o.token(t), o.token(t), o.chained(t, "cred_o", identity.Alone(other, 1))
			for what, raw := range map[string]string{"it": raw, "its sibling": sibling, "its neighbour": neighbour} {
				if !o.good(t, raw) {
					t.Fatal(what + " is not good from the start")
				}
			}
			claims, _ := o.Ring.Verifier().Verify(raw, o.URL, mail, o.now)
			o.apply(t, c.end(o, claims)...)
			if o.good(t, raw) {
				t.Error("it is still good")
			}
			if o.good(t, sibling) == c.both {
				t.Errorf("its sibling is good: %v", !c.both)
			}
			if upstream := strings.HasPrefix(name, "upstream"); o.good(t, neighbour) == upstream {
				t.Errorf("its neighbour is good: %v", !upstream)
			}
			if c.back != nil {
				if o.apply(t, c.back(o)...); !o.good(t, raw) {
					t.Error("it did not come back")
				}
			}
		})
	}
}

func (o *ward) state(s identity.State) []feed.Change {
	return []feed.Change{{Identity: &identity.Identity{ID: bot, Owner: "maya", State: s, Expires: o.now.Add(time.Hour), Generation: 1}}}
}

func (o *ward) credential(revoked time.Time) []feed.Change {
	k, _ := o.View.CredentialByID(bot, "cred_1")
	k.Revoked = revoked
	return []feed.Change{{Credential: &k}}
}

// chained is a token of that chain, with its place, as if it had been issued.
func (o *ward) chained(t testing.TB, credential string, chain identity.Chain) string {
	t.Helper()
	name, _ := o.random()
	q := &issue{now: o.now, upstream: "mail", claims: token.Claims{ID: "tok_" + name, Issuer: o.URL, Client: chain.Actor().String(), Audience: mail, Chain: chain,
		Credential: credential, Issued: o.now.Truncate(time.Second), Expires: o.now.Truncate(time.Second).Add(5 * time.Minute)}}
	if err := o.place(q); err != nil {
		t.Fatal(err)
	}
	raw, err := o.Ring.Signer().Mint(q.claims)
	if err := errors.Join(err, o.RecordStatus(t.Context(), ledger.Event{}, *q.status)); err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestStatusOfChain: a token ends with each of those whom it is for, and with the parent of who has it.
func TestStatusOfChain(t *testing.T) {
	parent, person := identity.MustID("spiffe://lanyard.local/agent/parent"), identity.MustID("spiffe://lanyard.local/person/maya")
	for name, end := range map[string]feed.Change{
		"its parent killed": {Kill: &feed.Kill{ID: "k", Identities: []identity.ID{parent}}},
		"the person left":   {Owner: &identity.Owner{ID: "maya", State: identity.OwnerGone}},
		"all of the person": {Owner: &identity.Owner{ID: "maya", State: identity.OwnerActive, Generation: 1}},
		"consent withdrawn": {Upstream: &policy.Upstream{Name: "mail", StatusList: true}},
	} {
		o := newWard(t)
		o.apply(t, feed.Change{Upstream: &policy.Upstream{Name: "mail", StatusList: true, Consent: policy.Consent{Owners: []identity.OwnerID{"maya"}}}},
			feed.Change{Identity: &identity.Identity{ID: parent, Owner: "maya", State: identity.Active, Expires: o.now.Add(time.Hour), Generation: 1}},
			feed.Change{Grant: &policy.Grant{ID: "parent/read", Identity: parent, Upstream: "mail", Actions: []string{"read"}, Until: o.now.Add(time.Hour)}})
		raw := o.chained(t, "cred_1", identity.Chain{{ID: bot, Generation: 1}, {ID: parent, Generation: 1}, {ID: person}})
		if !o.good(t, raw) {
			t.Fatal("not good from the start")
		}
		if o.apply(t, end); o.good(t, raw) {
			t.Errorf("%s: it is still good", name)
		}
	}
}

// TestStatusList: who asks gets what is at most a second old, and nobody makes it work for lists that there are not.
func TestStatusList(t *testing.T) {
	o := newWard(t)
	raw := o.token(t)
	c, err := o.Ring.Verifier().Verify(raw, o.URL, mail, o.now)
	if err != nil || c.Status.URI == "" {
		t.Fatal(c, err)
	}
	_, first := o.get(t, c.Status.URI)
	o.now = o.now.Add(statusFresh - 1)
	if _, again := o.get(t, c.Status.URI); again != first || o.reads != 1 {
		t.Errorf("made anew within the second; %d reads", o.reads)
	}
	o.now = o.now.Add(1)
	if _, again := o.get(t, c.Status.URI); again == first || o.reads != 2 {
		t.Errorf("not made anew after it; %d reads", o.reads)
	}
	for range 3 {
		if res, _ := o.get(t, o.URL+"/oauth/status/x"); res.StatusCode != 404 {
			t.Error(res.Status)
		}
	}
	if res, _ := o.get(t, c.Status.URI+"?time=1"); res.StatusCode != 501 || o.reads != 2 {
		t.Error(res.Status, o.reads)
	}
	o.now, o.broken = o.now.Add(statusFresh), errors.New("the database is away, at db.internal")
	for range 3 {
		if res, body := o.get(t, c.Status.URI); res.StatusCode != 503 || strings.Contains(body, "internal") || o.reads != 3 {
			t.Error(res.Status, body, o.reads)
		}
	}
	if a := o.post(t, "/oauth/token", o.form(o.assertion(o.key, nil)), "DPoP", o.proof(o.nonces.Make(o.now))); a.status != 503 || a.body["access_token"] != nil {
		t.Error("a token whose place was not kept: ", a)
	}
	o.broken = nil
	o.now = c.Expires
	if res, _ := o.get(t, c.Status.URI); res.StatusCode != 404 {
		t.Error("a list of which all has expired: ", res.Status)
	}
}

// TestStatusOfOtherHistory: after the store was restored nobody knows who had which place in the lists before, so there are none of those.
func TestStatusOfOtherHistory(t *testing.T) {
	o := newWard(t)
	raw := o.token(t)
	c, _ := o.Ring.Verifier().Verify(raw, o.URL, mail, o.now)
	if !o.good(t, raw) {
		t.Fatal("not good from the start")
	}
	o.apply(t, feed.Change{Cursor: feed.Cursor{Epoch: "e2", Seq: 1}, Owner: &identity.Owner{ID: "maya", State: identity.OwnerActive}})
	o.now = o.now.Add(statusFresh)
	if res, _ := o.get(t, c.Status.URI); res.StatusCode != 404 {
		t.Error(res.Status)
	}
	after := o.token(t)
	if d, _ := o.Ring.Verifier().Verify(after, o.URL, mail, o.now); !strings.Contains(d.Status.URI, "/e2-") || !o.good(t, after) {
		t.Error(d.Status)
	}
}

// TestStatusPlaces: no two tokens have the same place, and a list is left when half of it is given.
func TestStatusPlaces(t *testing.T) {
	var s statuses
	o := newOffice(t)
	seen, lists := map[token.Place]bool{}, map[string]int{}
	for range token.StatusPlaces/2 + 10 {
		list, index, err := s.give("e", o.Rand)
		if err != nil || seen[token.Place{Index: index, URI: list}] || index < 0 || index >= token.StatusPlaces {
			t.Fatal(list, index, err)
		}
		seen[token.Place{Index: index, URI: list}] = true
		lists[list]++
	}
	if len(lists) != 2 || lists[s.list] != 10 {
		t.Error(lists)
	}
	if _, _, err := (&statuses{}).give("e", strings.NewReader("")); err == nil {
		t.Error("without randomness")
	}
}

// TestNoStatus: who does not ask for it gets none.
func TestNoStatus(t *testing.T) {
	o := newOffice(t)
	if c, err := o.Ring.Verifier().Verify(o.token(t), o.URL, mail, o.now); err != nil || c.Status != (token.Place{}) {
		t.Error(c.Status, err)
	}
}

// BenchmarkStatusList makes a list anew in which every place that is given is of a token that goes on.
func BenchmarkStatusList(b *testing.B) {
	o := newOffice(b)
	l := &statusList{places: map[int]standing{}}
	for n := range token.StatusPlaces / 2 {
		l.places[2*n] = standing{Token: "t", Audience: mail, Chain: identity.Alone(bot, 1), Credential: "cred_1", expires: o.now.Add(time.Minute)}
	}
	for b.Loop() {
		if err := l.sign(o.Issuer, "x", o.now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(l.signed)), "bytes")
}

// TestStatusBehind: no list is made of a view that is behind the store, of which another node may have written the last change.
func TestStatusBehind(t *testing.T) {
	o := newWard(t)
	raw := o.token(t)
	c, err := o.Ring.Verifier().Verify(raw, o.URL, mail, o.now)
	if err != nil {
		t.Fatal(err)
	}
	head := feed.Cursor{Seq: 5}
	o.Statuses = func(context.Context, int64) ([]store.Status, feed.Cursor, error) { return o.kept, head, nil }
	answer := make(chan string, 1)
	go func() {
		res, body := o.get(t, c.Status.URI)
		answer <- res.Status + " " + body
	}()
	select {
	case got := <-answer:
		t.Fatalf("before the view has it all: %s", got)
	case <-time.After(100 * time.Millisecond):
	}
	o.apply(t, feed.Change{Cursor: head, Kill: &feed.Kill{ID: "k", Identities: []identity.ID{bot}}})
	got := <-answer
	l, err := o.Ring.Verifier().StatusList(strings.TrimPrefix(got, "200 OK "), c.Status.URI, o.now)
	if err != nil {
		t.Fatal(got, err)
	}
	if good, err := l.Good(c.Status.Index); good || err != nil {
		t.Errorf("made before the kill that the store had: %v %v", good, err)
	}
	head.Seq, o.now = 6, o.now.Add(statusFresh)
	if res, body := o.get(t, c.Status.URI); res.StatusCode != 503 {
		t.Error("the view never gets there: ", res.Status, body)
	}
}
