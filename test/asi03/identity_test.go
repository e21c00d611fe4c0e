package asi03

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/client"
)

// TestForgedOrUnverifiedAgentIdentity: an attacker claims to be another agent: by name, with its own key, with
// tokens of its own making, by a chain that it writes itself, and in headers to the upstream.
func TestForgedOrUnverifiedAgentIdentity(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--chain-header", "--consent", "ben")
	victim, eve := h.agent("payer", "priya"), h.agent("eve-bot", "eve")
	h.do("grant", "put", "payer", "payroll", "--upstream", "payroll", "--action", "read")
	if status, said := h.call(victim, "payroll", "GET", "/records/7"); status != 200 {
		t.Fatalf("%d %s", status, said)
	}
	// Another's name with one's own key, at the token endpoint.
	if status, said := h.call(h.badge("payer", "eve-bot"), "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "invalid_client") {
		t.Errorf("with its own key: %d %s", status, said)
	}
	h.onRecord("token.issue", "refused", `"claimed":"`+id("payer")+`"`)
	// Tokens made up, or made of a good one.
	held, err := victim.Token(t.Context(), h.gate+"/payroll")
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	part := strings.Split(held.Access, ".")
	header, err := base64.RawURLEncoding.DecodeString(part[0])
	var kid struct {
		Kid string `json:"kid"`
	}
	if err != nil || json.Unmarshal(header, &kid) != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	claims := map[string]any{"iss": h.control, "aud": h.gate + "/payroll", "client_id": id("payer"), "jti": "tok_1", "iat": now, "exp": now + 60, "owner": "priya", "sub": id("payer"), "gen": []int{0}}
	behalf := map[string]any{"sub": "spiffe://lanyard.local/person/ben", "act": map[string]any{"sub": id("payer")}, "chain": []string{id("payer"), "spiffe://lanyard.local/person/ben"}, "gen": []int{0, 0}}
	for k, v := range claims {
		if behalf[k] == nil {
			behalf[k] = v
		}
	}
	body := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	n, _ := payroll.reached()
	for name, raw := range map[string]string{
		"signed by its own key":        sign(t, key, kid.Kid, "at+jwt", claims),
		"with an act of its own":       sign(t, key, kid.Kid, "at+jwt", behalf),
		"not signed":                   base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"`+kid.Kid+`"}`)) + "." + body(claims) + ".",
		"not signed, with a signature": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"`+kid.Kid+`"}`)) + "." + part[1] + "." + part[2],
		"a good one changed":           part[0] + "." + body(behalf) + "." + part[2],
		"a good one without its key":   held.Access,
		"the provider's":               h.signedIn("ben"),
	} {
		r, err := http.NewRequest("GET", h.gate+"/payroll/records/7", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+raw)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != 401 {
			t.Errorf("%s: %s", name, res.Status)
		}
		// and as what it acts for
		if raw == held.Access || name == "the provider's" {
			continue
		}
		if status, said := h.call(eve.OnBehalf(raw, client.AccessToken), "payroll", "GET", "/records/7"); status != 0 {
			t.Errorf("%s, exchanged: %d %s", name, status, said)
		}
	}
	h.onRecord("token.issue", "refused", `"claimed_chain":"`+id("payer")+` spiffe://lanyard.local/person/ben"`)
	// A person's token that nobody trusted has signed.
	forged := sign(t, key, "k1", "", map[string]any{"iss": idp, "sub": "u-ben", "aud": "portal", "iat": now, "exp": now + 60, "email": "ben@acme.example", "email_verified": true})
	h.do("grant", "put", "eve-bot", "payroll", "--upstream", "payroll", "--action", "read")
	for name, raw := range map[string]string{"a key of its own": forged, "another application's": h.signedIn("ben", "aud", "games")} {
		if status, said := h.call(eve.OnBehalf(raw, client.IDToken), "payroll", "GET", "/records/7"); status != 0 || !strings.Contains(said, "invalid_grant") {
			t.Errorf("%s: %d %s", name, status, said)
		}
	}
	if now, _ := payroll.reached(); now != n {
		t.Errorf("%d forged requests reached the payroll", now-n)
	}
	// In headers to the upstream: what it is told is the gateway's alone to say.
	r, err := http.NewRequest("GET", h.gate+"/payroll/records/7", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Lanyard-Chain", "Lanyard-On-Behalf-Of", "X-Forwarded-User", "Forwarded"} {
		r.Header.Set(name, `"`+id("payer")+`"`)
	}
	res, err := eve.HTTPClient(h.gate + "/payroll").Do(r)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	res.Body.Close()
	if _, last := payroll.reached(); last.Header.Get("Lanyard-Chain") != `"`+id("eve-bot")+`"` || last.Header.Get("Lanyard-On-Behalf-Of")+last.Header.Get("X-Forwarded-User")+last.Header.Get("Forwarded") != "" {
		t.Errorf("payroll is told %v", last.Header)
	}
}

// TestIdentityOfAgentAndUserBlurred: what an agent does for a person is never the person's own doing: neither to the
// policies, nor to the upstream, nor on record; and the person's rights and the agent's are never added up.
func TestIdentityOfAgentAndUserBlurred(t *testing.T) {
	t.Parallel()
	h := build(t)
	payroll := h.upstream("payroll", "--chain-header", "--consent", "ben", "--consent-class", "read")
	priya, ben := h.signedIn("priya"), h.signedIn("ben")
	clerk, reader := h.agent("clerk", "eve"), h.agent("reader", "eve")
	h.do("grant", "put", "clerk", "payroll", "--upstream", "payroll", "--action", "read", "--action", "delete")
	h.do("grant", "put", "reader", "payroll", "--upstream", "payroll", "--action", "read")
	for name, c := range map[string]struct {
		badge          *client.Source
		person, method string
		status         int
		says           string
	}{
		"a user who may, through an agent that may":         {clerk, priya, "DELETE", 200, ""},
		"a user who may not, through an agent that may":     {clerk, ben, "DELETE", 403, "ben, on whose behalf it is asked, may not"},
		"a user who may, through an agent that may not":     {reader, priya, "DELETE", 403, "reader may not do records.drop"},
		"a user who may not, through an agent that may not": {reader, ben, "DELETE", 403, "may not"},
		"both may":               {reader, ben, "GET", 200, ""},
		"what neither was given": {clerk, priya, "PUT", 403, "clerk may not do records.put"},
	} {
		n, _ := payroll.reached()
		status, said := h.call(c.badge.OnBehalf(c.person, client.IDToken), "payroll", c.method, "/records/7")
		if status != c.status || !strings.Contains(said, c.says) {
			t.Errorf("%s: %d %s", name, status, said)
		}
		now, last := payroll.reached()
		if (now > n) != (c.status == 200) {
			t.Errorf("%s: %d requests reached the payroll", name, now-n)
		}
		if chain := ""; now > n {
			if chain = last.Header.Get("Lanyard-Chain"); !strings.HasPrefix(chain, `"spiffe://lanyard.local/agent/`) || !strings.Contains(chain, "/person/") {
				t.Errorf("%s: payroll is told %q", name, chain)
			}
		}
	}
	h.onRecord(`"records.drop"`, "refused", id("clerk"), "person/ben")
	h.onRecord(`"records.drop"`, "allowed", id("clerk"), "person/priya")
	// Nothing is on record as done by a person, and no person has a token, a credential or an identity.
	lines := 0
	for line := range strings.Lines(h.do("audit", "search", "--limit", "500", "-o", "json")) {
		lines++
		if strings.Contains(line, `"actor":{"user":{"uid":"spiffe://lanyard.local/person/`) {
			t.Errorf("done by a person alone: %s", line)
		}
	}
	if lines < 12 { // six calls, and six exchanges before them
		t.Errorf("only %d events are on record", lines)
	}
	if out := h.do("identity", "list"); strings.Contains(out, "person/") || !strings.Contains(out, "clerk") {
		t.Errorf("a person is registered, or nobody:\n%s", out)
	}
	if status, said := h.ask(map[string][]string{"grant_type": {"client_credentials"}, "resource": {h.gate + "/payroll"}, "client_id": {"spiffe://lanyard.local/person/ben"}, "client_secret": {"lyd_x"}}); status != 401 {
		t.Errorf("as a person: %d %s", status, said)
	}
	// The explanation tells them apart, too.
	out := h.do("explain", "--as", "clerk,person/ben", "--upstream", "payroll", "--action", "records.drop")
	for _, want := range []string{"refused: ben, on whose behalf", "agent/clerk  allowed: Granted by clerk/payroll.", "person/ben  refused\n", "Priya Nair, owner of payroll:", "--consent ben --consent-class read,delete"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// An event of it, too: as it was, and as it is since.
	line := h.onRecord(`"records.drop"`, "refused", id("clerk"), "person/ben")
	var e struct {
		Event struct {
			Metadata struct{ UID string }
		}
		Metadata struct{ UID string }
	}
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Event.Metadata.UID+e.Metadata.UID == "" {
		t.Fatalf("%v in %s", err, line)
	}
	out = h.do("explain", e.Event.Metadata.UID+e.Metadata.UID)
	if !strings.HasPrefix(out, "then, on ") || !strings.Contains(out, "now, and without its arguments") || !strings.Contains(out, "person/ben") {
		t.Error(out)
	}
}

// TestTimeOfCheckToTimeOfUse: what was allowed when it began is not allowed for ever: a link in the middle of the
// chain is stopped while the answer streams, and the stream is cut.
func TestTimeOfCheckToTimeOfUse(t *testing.T) {
	t.Parallel()
	h := build(t)
	web := h.endless()
	h.do("upstream", "put", "feed", "--url", web, "--owner", "priya", "--consent", "ben", "--pattern", "GET /all -> all read all")
	reader := h.agent("reader", "eve")
	for _, k := range []struct { // in this order: after the last ben has to sign in again
		name string
		stop []string
	}{
		{"the agent's grant is taken", []string{"grant", "revoke", "reader/feed", "--reason", "test"}},
		{"the person's consent is over", []string{"upstream", "put", "feed", "--url", web, "--owner", "priya", "--pattern", "GET /all -> all read all"}},
		{"the person is stopped", []string{"kill", "--owner", "ben", "--reason", "test"}},
	} {
		h.do("grant", "put", "reader", "feed", "--upstream", "feed", "--action", "read")
		h.do("upstream", "put", "feed", "--url", web, "--owner", "priya", "--consent", "ben", "--pattern", "GET /all -> all read all")
		h.cut(k.name, reader.OnBehalf(h.signedIn("ben"), client.IDToken), k.stop...)
	}
}
