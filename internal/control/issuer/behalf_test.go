package issuer

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	mrand "math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// crowd is an office with agents that have keys of their own and may read mail, each of
// which is an upstream that can be called too, and people.
type crowd struct {
	*office
	t    *testing.T
	keys map[string]ed25519.PrivateKey
}

func newCrowd(t *testing.T, names ...string) *crowd {
	c := &crowd{newOffice(t), t, map[string]ed25519.PrivateKey{}}
	c.apply(feed.Change{Owner: &identity.Owner{ID: "ben", Name: "Ben Ode", State: identity.OwnerActive, Generation: 3}})
	c.apply(feed.Change{Upstream: &policy.Upstream{Name: "mail", Environment: "production", Consent: policy.Consent{Owners: []identity.OwnerID{"ben"}}}})
	for _, name := range names {
		c.enrol(name, identity.Link{})
	}
	c.userOf = func(_ context.Context, _ *issue, raw, _ string, _ identity.ID) (identity.OwnerID, behalf, error) {
		if who, ok := strings.CutPrefix(raw, "token of "); ok {
			return identity.OwnerID(who), behalf{made: c.now, ends: c.now.Add(2 * time.Minute)}, nil
		}
		return "", behalf{}, refuse("invalid_grant", "The subject token is not from a provider whose tokens are taken.")
	}
	return c
}

func (c *crowd) apply(change feed.Change) {
	c.t.Helper()
	if err := c.View.Apply(change); err != nil {
		c.t.Fatal(err)
	}
}

func agent(name string) identity.ID { return identity.MustID("spiffe://lanyard.local/agent/" + name) }

func (c *crowd) enrol(name string, parent identity.Link) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	c.keys[name] = key
	thumb, _ := token.Thumbprint([]byte(jwkOf(key)))
	later := c.now.Add(24 * time.Hour)
	c.apply(feed.Change{Identity: &identity.Identity{ID: agent(name), Owner: "maya", Purpose: "p", State: identity.Active, Environment: "production", Expires: later, Parent: parent}})
	c.apply(feed.Change{Credential: &identity.Credential{ID: "cred_" + name, Identity: agent(name), Kind: identity.PrivateKeyJWT, Thumbprint: thumb, PublicKey: []byte(jwkOf(key)), Expires: later}})
	c.apply(feed.Change{Upstream: &policy.Upstream{Name: name, Environment: "production", Owner: "ben", Agent: agent(name)}})
	c.give(name, "mail")
	for other := range c.keys {
		c.give(other, name)
		c.give(name, other)
	}
}

func (c *crowd) give(name, upstream string) {
	c.apply(feed.Change{Grant: &policy.Grant{ID: name + "/" + upstream, Identity: agent(name), Upstream: upstream, Actions: []string{"read"}, Cedar: "permit(principal, action, resource);", Until: c.now.Add(24 * time.Hour)}})
}

// ask is a request of that agent at the token endpoint, with its own proof and a DPoP key.
func (c *crowd) ask(name string, form url.Values) answer {
	c.t.Helper()
	id := agent(name).String()
	f := c.form(sign(c.keys[name], `{"alg":"EdDSA","typ":"JWT"}`, map[string]any{"iss": id, "sub": id, "aud": c.URL, "jti": rand.Text(), "iat": c.now.Unix(), "exp": c.now.Unix() + 60}))
	for n, v := range form {
		f[n] = v
	}
	return c.post(c.t, "/oauth/token", f, "DPoP", c.proof(c.nonces.Make(c.now)))
}

func exchange(kind, subject string, more ...string) url.Values {
	f := url.Values{"grant_type": {token.GrantExchange}, "subject_token": {subject}, "subject_token_type": {kind}}
	for i := 0; i+1 < len(more); i += 2 {
		f[more[i]] = []string{more[i+1]}
	}
	return f
}

// got is the token of an answer, verified.
func (c *crowd) got(a answer) (string, token.Claims) {
	c.t.Helper()
	raw, _ := a.body["access_token"].(string)
	claims, err := c.Ring.Verifier().Verify(raw, c.URL, "", c.now)
	if a.status != 200 || err != nil {
		c.t.Fatal(a, err)
	}
	return raw, claims
}

func (c *crowd) call(access, upstream string) string {
	c.t.Helper()
	i, err := c.Introduce(c.t.Context(), upstream, access, "gw")
	if err != nil {
		c.t.Fatal(err)
	}
	return i.Token
}

func texts(c identity.Chain) string {
	var names []string
	for _, l := range c {
		names = append(names, l.ID.Name())
	}
	return strings.Join(names, " ")
}

func TestOnBehalf(t *testing.T) {
	c := newCrowd(t, "a", "b", "other")
	a := c.ask("a", exchange(token.TypeID, "token of ben", "scope", "read"))
	raw, claims := c.got(a)
	if texts(claims.Chain) != "a ben" || claims.Chain[1].Generation != 3 || a.body["issued_token_type"] != token.TypeAccess || a.body["expires_in"] != 120.0 || claims.Key.JKT == "" || claims.Client != agent("a").String() {
		t.Fatal(claims, a)
	}
	if e := c.events[len(c.events)-1]; e.Actor != agent("a").String() || strings.Join(e.Chain, " ") != agent("a").String()+" spiffe://lanyard.local/person/ben" || e.Detail["grant_type"] != "token-exchange" {
		t.Errorf("%+v", e)
	}
	// a calls b, which acts for both with what it was given, and for nobody with what it was not.
	toB, _ := c.got(c.ask("a", exchange(token.TypeAccess, raw, "resource", c.GatewayURL+"/b")))
	given := c.call(toB, "b")
	_, claims = c.got(c.ask("b", exchange(token.TypeJWT, given)))
	if texts(claims.Chain) != "b a ben" || claims.Scope != "read" || claims.Expires.After(c.now.Add(2*time.Minute)) || claims.Audience != mail {
		t.Fatal(claims)
	}
	if e := c.events[len(c.events)-2]; e.Type != "token.introduce" || e.Detail["may_act"] != agent("b").String() || len(e.Chain) != 2 {
		t.Errorf("%+v", e)
	}
	// with an actor_token of its own, which can only narrow
	own, _ := c.got(c.ask("b", url.Values{"scope": {"read write"}}))
	if _, claims = c.got(c.ask("b", exchange(token.TypeJWT, given, "actor_token", own, "actor_token_type", token.TypeAccess))); claims.Scope != "read" {
		t.Error(claims.Scope)
	}
	// for the control plane
	if _, claims = c.got(c.ask("b", exchange(token.TypeJWT, given, "resource", c.URL))); claims.Audience != c.URL || texts(claims.Chain) != "b a ben" {
		t.Error(claims)
	}
	// nobody but the exchange takes what was given
	if _, err := c.Ring.Verifier().Verify(given, c.URL, "", c.now); err == nil {
		t.Error("an introduction passes for an access token")
	}
	if a := c.ask("other", exchange(token.TypeJWT, given)); a.status != 400 || !strings.Contains(fmt.Sprint(a.body), "lets b act") {
		t.Error("a copy used by another: ", a)
	}
	if e := c.events[len(c.events)-1]; e.Outcome != ledger.Refused || e.Actor != agent("other").String() {
		t.Errorf("%+v", e)
	}
	// One token is revoked, and with it all that came of it, and nothing else.
	other, _ := c.got(c.ask("a", exchange(token.TypeAccess, raw, "resource", c.GatewayURL+"/b")))
	second := c.call(other, "b")
	_, kept := c.got(c.ask("b", exchange(token.TypeJWT, second)))
	if len(kept.From) != 4 || kept.From[2] != claims.From[2] {
		t.Error(kept.From, claims.From)
	}
	c.apply(feed.Change{Token: &feed.TokenRevocation{ID: claims.From[1], Expires: c.now.Add(time.Hour)}})
	if a := c.ask("b", exchange(token.TypeJWT, given)); a.status != 400 || c.View.Check(claims, c.now) == nil {
		t.Error("what came of a token that was revoked goes on: ", a)
	}
	if err := c.View.Check(kept, c.now); err != nil {
		t.Error("what came of another does not: ", err)
	}
	for range token.MaxFrom {
		if a = c.ask("a", exchange(token.TypeAccess, other, "resource", c.GatewayURL+"/b")); a.status == 200 {
			other, _ = c.got(a)
		}
	}
	if a.status != 400 || !strings.Contains(fmt.Sprint(a.body), "too many exchanges") {
		t.Error(a)
	}
	claims, given = kept, second
	key, _ := c.View.CredentialByID(agent("a"), "cred_a")
	gone := key
	gone.Revoked = c.now
	c.apply(feed.Change{Credential: &gone})
	if c.View.Check(claims, c.now) == nil {
		t.Error("what b got lives on after the key of a, which asked with it, was revoked")
	}
	c.apply(feed.Change{Credential: &key})
	c.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: []identity.ID{agent("a")}, At: c.now}})
	if a := c.ask("b", exchange(token.TypeJWT, given)); a.status != 400 || a.body["error"] != "invalid_grant" || !strings.Contains(fmt.Sprint(a.body), "a is killed") {
		t.Error("after the kill of who called: ", a)
	}
	if c.View.Check(claims, c.now) == nil {
		t.Error("what b got lives on after the kill of a")
	}
}

func TestExchangeRefusals(t *testing.T) {
	c := newCrowd(t, "a", "b", "stopped", "wide")
	forged := func(header string, claims map[string]any) string { return sign(c.keys["a"], header, claims) }
	alone, _ := c.got(c.ask("a", nil))
	other, _ := c.got(c.ask("b", nil))
	ben, _ := c.got(c.ask("a", exchange(token.TypeID, "token of ben", "resource", c.GatewayURL+"/b")))
	toB := c.call(ben, "b")
	fromB, _ := c.got(c.ask("b", exchange(token.TypeJWT, toB, "resource", c.GatewayURL+"/a")))
	viaStopped, _ := c.got(c.ask("stopped", exchange(token.TypeID, "token of ben", "resource", c.GatewayURL+"/b")))
	dead := c.call(viaStopped, "b")
	c.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: []identity.ID{agent("stopped")}, At: c.now}})
	narrow, _ := c.got(c.ask("a", exchange(token.TypeID, "token of ben", "scope", "read")))
	c.apply(feed.Change{Upstream: &policy.Upstream{Name: "drive", Environment: "production"}})
	c.give("b", "drive")
	c.give("a", "drive")
	c.apply(feed.Change{Upstream: &policy.Upstream{Name: "shelf", Environment: "production", Owner: "ben"}})
	c.give("b", "shelf")
	act := map[string]any{"iss": c.URL, "sub": "spiffe://lanyard.local/person/ben", "aud": mail, "client_id": "x", "jti": "x", "iat": c.now.Unix(), "exp": c.now.Unix() + 60,
		"act": map[string]any{"sub": agent("a").String()}, "chain": []string{agent("a").String(), "spiffe://lanyard.local/person/ben"}, "gen": []int{0, 3}}
	kid := c.Ring.Keys()[0].ID
	part := strings.Split(ben, ".")
	body, _ := base64.RawURLEncoding.DecodeString(part[1])
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"` + kid + `"}`))
	for name, k := range map[string]struct {
		who  string
		form url.Values
		code string
		says string
	}{
		"no subject":                {"a", exchange(token.TypeID, ""), "invalid_request", "needed"},
		"no type":                   {"a", exchange("", "token of ben"), "invalid_request", "needed"},
		"another type":              {"a", exchange("urn:ietf:params:oauth:token-type:saml2", "token of ben"), "invalid_request", "subject_token_type"},
		"an id token is wanted":     {"a", exchange(token.TypeID, "token of ben", "requested_token_type", token.TypeID), "invalid_request", "requested_token_type"},
		"audience":                  {"a", exchange(token.TypeID, "token of ben", "audience", mail), "invalid_request", "resource"},
		"nobody's token":            {"a", exchange(token.TypeID, "x.y.z"), "invalid_grant", "provider"},
		"of a stranger":             {"a", exchange(token.TypeID, "token of eve"), "invalid_grant", "no such person"},
		"huge":                      {"a", exchange(token.TypeID, strings.Repeat("x", 9<<10)), "invalid_request", "too long"},
		"no resource":               {"a", exchange(token.TypeID, "token of ben", "resource", ""), "invalid_target", "resource must be"},
		"without consent":           {"a", exchange(token.TypeID, "token of ben", "resource", c.GatewayURL+"/drive"), "invalid_target", "on behalf of ben"},
		"scope of none":             {"a", exchange(token.TypeID, "token of ben", "scope", "everything"), "invalid_scope", "scope"},
		"wider":                     {"a", exchange(token.TypeAccess, narrow, "scope", "read write"), "invalid_scope", "never widens"},
		"another's own token":       {"a", exchange(token.TypeAccess, other), "invalid_grant", "b's own"},
		"another's chain":           {"wide", exchange(token.TypeAccess, ben), "invalid_grant", "a's own"},
		"own introduction":          {"a", exchange(token.TypeJWT, toB), "invalid_grant", "lets b act"},
		"as an access token":        {"b", exchange(token.TypeAccess, toB), "invalid_request", token.TypeJWT},
		"access as an introduction": {"a", exchange(token.TypeJWT, ben), "invalid_request", token.TypeAccess},
		"a circle":                  {"a", exchange(token.TypeJWT, "(from b to a)"), "invalid_grant", "is in the chain already"},
		"a killed link":             {"b", exchange(token.TypeJWT, dead), "invalid_grant", "stopped is killed"},
		"a link without a grant":    {"b", exchange(token.TypeJWT, toB, "resource", c.GatewayURL+"/shelf"), "invalid_target", "a, on whose behalf"},
		"forged act":                {"a", exchange(token.TypeAccess, forged(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+kid+`"}`, act)), "invalid_grant", "wrong signature"},
		"a key of its own":          {"a", exchange(token.TypeAccess, forged(`{"alg":"EdDSA","typ":"at+jwt","kid":"mine"}`, act)), "invalid_grant", "key we do not know"},
		"alg none":                  {"a", exchange(token.TypeAccess, none+"."+part[1]+"."+part[2]), "invalid_grant", "alg"},
		"alg HS256":                 {"a", exchange(token.TypeAccess, forged(`{"alg":"HS256","typ":"at+jwt","kid":"`+kid+`"}`, act)), "invalid_grant", "alg"},
		"a key in the header":       {"a", exchange(token.TypeAccess, forged(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+kid+`","jwk":`+jwkOf(c.keys["a"])+`}`, act)), "invalid_grant", "jwk"},
		"act changed":               {"a", exchange(token.TypeAccess, part[0]+"."+base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(body), "/agent/a", "/agent/b", 1)))+"."+part[2]), "invalid_grant", "signature"},
		"another's actor_token":     {"a", exchange(token.TypeID, "token of ben", "actor_token", other, "actor_token_type", token.TypeAccess), "invalid_grant", "b's, and a asks"},
		"an actor_token of no type": {"a", exchange(token.TypeID, "token of ben", "actor_token", alone), "invalid_request", "actor_token_type"},
		"a type of no actor_token":  {"a", exchange(token.TypeID, "token of ben", "actor_token_type", token.TypeAccess), "invalid_request", "actor_token"},
		"an actor_token made up":    {"a", exchange(token.TypeID, "token of ben", "actor_token", "x", "actor_token_type", token.TypeAccess), "invalid_grant", "access token"},
	} {
		if name == "a circle" { // the gateway refuses the call before it: minted here by hand
			claims, err := c.Ring.Verifier().Verify(fromB, c.URL, "", c.now)
			if err != nil {
				t.Fatal(err)
			}
			claims.MayAct, claims.Audience, claims.Key = agent("a"), c.URL, token.Confirmation{}
			raw, err := c.Ring.Signer().Introduce(claims)
			if err != nil {
				t.Fatal(err)
			}
			k.form.Set("subject_token", raw)
		}
		before := len(c.events)
		a := c.ask(k.who, k.form)
		if a.status == 200 || a.body["error"] != k.code || !strings.Contains(fmt.Sprint(a.body["error_description"]), k.says) {
			t.Errorf("%s: %v, want %s with %q", name, a.body, k.code, k.says)
		}
		if len(c.events) != before+1 {
			t.Errorf("%s: not recorded", name)
			continue
		}
		e := c.events[before]
		if e.Outcome != ledger.Refused || e.Actor != agent(k.who).String() || e.Chain[0] != e.Actor {
			t.Errorf("%s: %+v", name, e)
		}
		if name == "forged act" && e.Detail["claimed_chain"] != agent("a").String()+" spiffe://lanyard.local/person/ben" {
			t.Errorf("%s: what it claims is not on record: %v", name, e.Detail)
		}
		if name == "a circle" && strings.Join(e.Chain, " ") != strings.Join([]string{agent("a").String(), agent("b").String(), agent("a").String(), "spiffe://lanyard.local/person/ben"}, " ") {
			t.Errorf("%s: %v", name, e.Chain)
		}
	}
	if _, err := c.Introduce(t.Context(), "a", fromB, "gw"); err == nil {
		t.Error("a is introduced to itself")
	}
	if _, err := c.Introduce(t.Context(), "a", toB, "gw"); err == nil {
		t.Error("an introduction is taken for a call")
	}
	if _, err := c.Introduce(t.Context(), "wide", ben, "gw"); err == nil {
		t.Error("a token for one upstream introduces to another")
	}
	// Not bound to a key: what a thief could use.
	f := c.form(sign(c.keys["a"], `{"alg":"EdDSA","typ":"JWT"}`, map[string]any{"iss": agent("a").String(), "sub": agent("a").String(), "aud": c.URL, "jti": rand.Text(), "iat": c.now.Unix(), "exp": c.now.Unix() + 60}))
	for n, v := range exchange(token.TypeID, "token of ben") {
		f[n] = v
	}
	if a := c.post(t, "/oauth/token", f); a.body["error"] != "invalid_dpop_proof" {
		t.Error("unbound: ", a)
	}
	// With an API key, which is a proof too, and bound all the same.
	f = exchange(token.TypeID, "token of ben", "resource", mail, "client_id", bot.String(), "client_secret", c.apiKey)
	if a := c.post(t, "/oauth/token", f); a.body["error"] != "invalid_dpop_proof" {
		t.Error("an API key's is not bound: ", a)
	}
	if a := c.post(t, "/oauth/token", f, "DPoP", c.proof(c.nonces.Make(c.now))); a.status != 200 || a.body["token_type"] != "DPoP" || a.body["expires_in"] != 60.0 {
		t.Error("an API key's: ", a)
	}
	c.now = c.now.Add(3 * time.Minute)
	if a := c.ask("b", exchange(token.TypeJWT, toB)); a.body["error"] != "invalid_grant" || !strings.Contains(fmt.Sprint(a.body), "expired") {
		t.Error("late: ", a)
	}
	c.apply(feed.Change{Owner: &identity.Owner{ID: "ben", Name: "Ben Ode", State: identity.OwnerGone, Generation: 4}})
	if a := c.ask("a", exchange(token.TypeID, "token of ben")); a.body["error"] != "invalid_grant" {
		t.Error("for who has left: ", a)
	}
}

// TestChildActs: who was started by another has that one in its chain once, also when it was that one who called.
func TestChildActs(t *testing.T) {
	c := newCrowd(t, "a", "b")
	c.enrol("child", identity.Link{ID: agent("a")})
	_, claims := c.got(c.ask("child", exchange(token.TypeID, "token of ben")))
	if texts(claims.Chain) != "child a ben" {
		t.Error(claims.Chain)
	}
	ben, _ := c.got(c.ask("a", exchange(token.TypeID, "token of ben", "resource", c.GatewayURL+"/child")))
	if _, claims = c.got(c.ask("child", exchange(token.TypeJWT, c.call(ben, "child")))); texts(claims.Chain) != "child a ben" {
		t.Error(claims.Chain)
	}
	if a := c.ask("child", exchange(token.TypeAccess, ben)); a.status == 200 {
		t.Error("a child uses its parent's access token: ", a)
	}
	toChild, _ := c.got(c.ask("b", exchange(token.TypeID, "token of ben", "resource", c.GatewayURL+"/child")))
	if _, claims = c.got(c.ask("child", exchange(token.TypeJWT, c.call(toChild, "child")))); texts(claims.Chain) != "child a b ben" {
		t.Error(claims.Chain)
	}
}

// TestExchangeNarrows: no row of exchanges, calls and waits comes to more rights or a longer life than it began with.
func TestExchangeNarrows(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	for seed := range uint64(12) {
		rnd := mrand.New(mrand.NewPCG(seed, 7))
		c := newCrowd(t, names...)
		for _, name := range names { // some may do more than others, and some only for others
			if rnd.IntN(2) == 0 {
				when := []string{"", " when { context.for_others }", ` when { context has person && context.person == "ben" }`}[rnd.IntN(3)]
				c.apply(feed.Change{Grant: &policy.Grant{ID: name + "/more", Identity: agent(name), Upstream: "mail", Cedar: "permit(principal, action, resource)" + when + ";", Until: c.now.Add(24 * time.Hour)}})
			}
			if rnd.IntN(3) == 0 {
				c.apply(feed.Change{Grant: &policy.Grant{ID: name + "/mail", Identity: agent(name), Upstream: "mail", Cedar: `permit(principal, action in Lanyard::Action::"read", resource);`, Until: c.now.Add(24 * time.Hour)}})
			}
		}
		type held struct {
			raw, kind, who string
			claims         token.Claims
		}
		var all []held
		lengths := map[int]int{}
		for range 60 {
			who := names[rnd.IntN(len(names))]
			form := url.Values{"resource": {c.GatewayURL + "/" + append(names, "mail", "mail")[rnd.IntN(len(names)+2)]}}
			if scope := []string{"", "", "read", "read write", "write"}[rnd.IntN(5)]; scope != "" {
				form.Set("scope", scope)
			}
			var from held
			switch n := rnd.IntN(8); {
			case n == 0 || len(all) == 0:
			case n == 1:
				form["grant_type"], form["subject_token"], form["subject_token_type"] = []string{token.GrantExchange}, []string{"token of ben"}, []string{token.TypeID}
			default:
				from = all[rnd.IntN(len(all))]
				if rnd.IntN(4) > 0 && from.claims.MayAct.IsZero() { // by whom it is
					who = from.who
				} else if rnd.IntN(4) > 0 && !from.claims.MayAct.IsZero() {
					who = from.claims.MayAct.Name()
				}
				form["grant_type"], form["subject_token"], form["subject_token_type"] = []string{token.GrantExchange}, []string{from.raw}, []string{from.kind}
			}
			if rnd.IntN(4) == 0 {
				c.now = c.now.Add(time.Duration(rnd.IntN(40)) * time.Second)
			}
			a := c.ask(who, form)
			if a.status != 200 {
				continue
			}
			raw, claims := c.got(a)
			lengths[len(claims.Chain)]++
			all = append(all, held{raw, token.TypeAccess, who, claims})
			if upstream, _ := strings.CutPrefix(claims.Audience, c.GatewayURL+"/"); upstream != "mail" {
				if i, err := c.Introduce(t.Context(), upstream, raw, "gw"); err == nil {
					n, err := c.Ring.Verifier().Introduction(i.Token, c.URL, c.now)
					if err != nil || n.Expires.After(claims.Expires) || texts(n.Chain) != texts(claims.Chain) {
						t.Fatal(n, err)
					}
					all = append(all, held{i.Token, token.TypeJWT, "", n})
				}
			}
			if claims.Actor() != agent(who) || len(claims.Chain) > identity.MaxChain {
				t.Fatal(claims)
			}
			for n, l := range claims.Chain {
				if slices.ContainsFunc(claims.Chain[:n], func(o identity.Link) bool { return o.ID == l.ID }) {
					t.Fatal("twice in it: ", claims.Chain)
				}
			}
			if from.raw == "" {
				continue
			}
			had := from.claims
			if tail := len(claims.Chain) - len(had.Chain); tail < 0 || !slices.Equal(claims.Chain[tail:], had.Chain) {
				t.Fatalf("%s became %s", texts(had.Chain), texts(claims.Chain))
			}
			if claims.Expires.After(had.Expires) {
				t.Fatalf("lives longer: %s, %s", had.Expires, claims.Expires)
			}
			for _, class := range policy.Classes {
				if c.may(claims, class) && !c.may(had, class) {
					t.Fatalf("seed %d: %s [%s] may %s, and comes from %s [%s], which may not", seed, texts(claims.Chain), claims.Scope, class, texts(had.Chain), had.Scope)
				}
			}
		}
		if lengths[3] == 0 || lengths[1] == 0 {
			t.Errorf("seed %d: chains of lengths %v, so little was tried", seed, lengths)
		}
	}
}

// may is what a gateway would say to an action of that class on mail: every link, and the scope.
func (c *crowd) may(k token.Claims, class policy.Class) bool {
	u, _ := c.View.Upstream("mail")
	for _, l := range k.Chain {
		s, _ := c.View.Subject(l.ID)
		set, err := s.Set()
		if err != nil {
			c.t.Fatal(err)
		}
		if !set.Decide(policy.Request{Call: policy.Call{Upstream: "mail", Action: "m." + string(class), Class: class}, Upstream: u, Now: c.now, Chain: k.Chain}).Allow {
			return false
		}
	}
	return k.Scope == "" || slices.Contains(strings.Fields(k.Scope), string(class))
}

// TestExchangeKeepsTask: what is exchanged stays under its task, and no task brings in somebody for whom it was not.
func TestExchangeKeepsTask(t *testing.T) {
	c := newCrowd(t, "a", "b")
	work := func(id string, of string, on identity.OwnerID, upstreams ...string) {
		w := policy.Task{ID: id, Identity: agent(of), On: on, Purpose: "p", Until: c.now.Add(time.Minute), State: policy.TaskOpen, Created: c.now}
		for _, u := range upstreams {
			w.Scope = append(w.Scope, policy.Grant{ID: id, Identity: agent(of), Upstream: u, Cedar: "permit(principal, action, resource);", Until: c.now.Add(time.Hour)})
		}
		c.apply(feed.Change{Task: &w})
	}
	work("task_a", "a", "", "mail", "b")
	work("task_maya", "b", "maya", "mail")
	work("task_b", "b", "", "mail")
	under := func(id string) string { return `[{"type":"lanyard_task","task":"` + id + `"}]` }
	raw, claims := c.got(c.ask("a", exchange(token.TypeID, "token of ben", "resource", c.GatewayURL+"/b", "authorization_details", under("task_a"))))
	if claims.Task != "task_a" || claims.Expires.After(c.now.Add(time.Minute)) {
		t.Fatal(claims)
	}
	if _, kept := c.got(c.ask("a", exchange(token.TypeAccess, raw))); kept.Task != "task_a" {
		t.Error(kept)
	}
	given := c.call(raw, "b")
	for _, more := range [][]string{nil, {"authorization_details", under("task_a")}} {
		if _, kept := c.got(c.ask("b", exchange(token.TypeJWT, given, more...))); kept.Task != "task_a" || texts(kept.Chain) != "b a ben" {
			t.Error(kept)
		}
	}
	free, _ := c.got(c.ask("a", exchange(token.TypeID, "token of ben", "resource", c.GatewayURL+"/b")))
	untasked := c.call(free, "b")
	if _, kept := c.got(c.ask("b", exchange(token.TypeJWT, untasked, "authorization_details", under("task_b")))); kept.Task != "task_b" {
		t.Error(kept)
	}
	c.give("b", "a")
	for name, k := range map[string]struct {
		form url.Values
		says string
	}{
		"another task of its own":     {exchange(token.TypeJWT, given, "authorization_details", under("task_b")), "is for task task_a"},
		"what the task does not name": {exchange(token.TypeJWT, given, "resource", c.GatewayURL+"/a"), "names nothing on a"},
		"the control plane":           {exchange(token.TypeJWT, given, "resource", c.URL), "no task"},
		"a task for another person":   {exchange(token.TypeJWT, untasked, "authorization_details", under("task_maya")), "on behalf of maya"},
		"a task of who called":        {exchange(token.TypeJWT, untasked, "authorization_details", under("task_a")), "no such task"},
	} {
		if a := c.ask("b", k.form); a.status == 200 || !strings.Contains(fmt.Sprint(a.body), k.says) {
			t.Errorf("%s: %v", name, a)
		}
	}
	alone := c.call(func() string { raw, _ := c.got(c.ask("a", url.Values{"resource": {c.GatewayURL + "/b"}})); return raw }(), "b")
	if a := c.ask("b", exchange(token.TypeJWT, alone, "authorization_details", under("task_maya"))); a.status == 200 {
		t.Error("a's own asking becomes maya's by a task of b's: ", a)
	}
	c.apply(feed.Change{Owner: &identity.Owner{ID: "maya", Name: "Maya Lind", State: identity.OwnerActive}})
	if _, own := c.got(c.ask("b", url.Values{"authorization_details": {under("task_maya")}})); texts(own.Chain) != "b maya" {
		t.Error(own)
	}
	c.apply(feed.Change{Owner: &identity.Owner{ID: "maya", Name: "Maya Lind", State: identity.OwnerActive, Generation: 1, Stopped: c.now}})
	if a := c.ask("b", url.Values{"authorization_details": {under("task_maya")}}); a.status == 200 || !strings.Contains(fmt.Sprint(a.body), "stopped") {
		t.Error("a task on behalf of who was stopped since: ", a)
	}
	c.apply(feed.Change{Task: &policy.Task{ID: "task_a", Identity: agent("a"), State: policy.TaskClosed, Until: c.now.Add(time.Minute), Closed: c.now}})
	if a := c.ask("b", exchange(token.TypeJWT, given)); a.status == 200 || !strings.Contains(fmt.Sprint(a.body), "task_a") {
		t.Error("a task that was closed: ", a)
	}
}
