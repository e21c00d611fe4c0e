package control

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-dev/lanyard/internal/control/store/storetest"
	"github.com/lanyard-dev/lanyard/internal/fetch"
)

// liar is an identity provider that people sign in with, and that can be made to say anything.
type liar struct {
	*plane
	*httptest.Server
	key    *rsa.PrivateKey
	mu     sync.Mutex
	spent  map[string]bool                     // codes
	says   func(nonce string) (idToken string) // of each sign-in
	info   map[string]any                      // userinfo; nil: there is none
	meta   map[string]any                      // members of its metadata that are other than they should be
	nonces map[string]string                   // of codes
}

func newLiar(t *testing.T) *liar {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{key: key, spent: map[string]bool{}, nonces: map[string]string{}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			m := map[string]any{"issuer": l.URL, "authorization_endpoint": l.URL + "/auth", "token_endpoint": l.URL + "/token", "jwks_uri": l.URL + "/keys", "response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"}}
			if l.info != nil {
				m["userinfo_endpoint"] = l.URL + "/me"
			}
			for k, v := range l.meta {
				m[k] = v
			}
			json.NewEncoder(w).Encode(m)
		case "/keys":
			json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: l.key.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}})
		case "/token":
			code := r.FormValue("code")
			nonce, known := l.nonces[code]
			if !known || l.spent[code] || r.FormValue("code_verifier") == "" {
				w.WriteHeader(http.StatusBadRequest)
				json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant"})
				return
			}
			l.spent[code] = true
			json.NewEncoder(w).Encode(map[string]any{"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": l.says(nonce)})
		case "/me":
			json.NewEncoder(w).Encode(l.info)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(l.Close)
	l.plane = start(t)
	l.issuer.Fetch = fetch.New(true)
	office(l.plane)
	l.must("PUT", "/v1/providers/acme", `{"issuer":"`+l.URL+`","uses":["sign_in"],"client_id":"lanyard","client_secret":"s","roles":{"guards":["security"]}}`)
	return l
}

// claims are those of a good ID token of maya; change replaces members, nil leaves one out.
func (l *liar) claims(nonce string, change map[string]any) map[string]any {
	m := map[string]any{"iss": l.URL, "sub": "00u1", "aud": "lanyard", "nonce": nonce, "iat": storetest.Epoch.Unix(), "exp": storetest.Epoch.Add(5 * time.Minute).Unix(), "auth_time": storetest.Epoch.Unix(),
		"email": "maya@example.com", "email_verified": true, "groups": []string{"none"}}
	for k, v := range change {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	return m
}

func (l *liar) signed(key *rsa.PrivateKey, claims map[string]any) string {
	l.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, nil)
	if err != nil {
		l.Fatal(err)
	}
	b, _ := json.Marshal(claims)
	j, err := s.Sign(b)
	if err != nil {
		l.Fatal(err)
	}
	raw, err := j.CompactSerialize()
	if err != nil {
		l.Fatal(err)
	}
	return raw
}

// traveller is a browser on its way to the provider and back.
type traveller struct {
	*visitor
	state, nonce string
}

// goes begins a sign-in, after which the browser is at the provider.
func (l *liar) goes(v *visitor, back string) *traveller {
	l.Helper()
	status, page, leads := v.send("GET", "/console/oidc/start?return="+url.QueryEscape(back), nil)
	u, err := url.Parse(leads)
	if err != nil || status != http.StatusSeeOther || !strings.HasPrefix(leads, l.URL+"/auth?") {
		l.Fatal(status, leads, page, err)
	}
	return &traveller{v, u.Query().Get("state"), u.Query().Get("nonce")}
}

// code has the provider make one for a sign-in.
func (l *liar) code(code, nonce string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nonces[code] = nonce
	return code
}

// comes is the browser's way back.
func (t *traveller) comes(query url.Values) (status int, page, leads string) {
	t.Helper()
	return t.send("GET", "/console/oidc/callback?"+query.Encode(), nil)
}

// in reports whether somebody is signed in.
func (v *visitor) in() bool {
	v.Helper()
	status, _, _ := v.send("GET", "/v1/me", nil)
	return status == http.StatusOK
}

// What a provider may say of somebody, and what nobody is signed in by.
func TestHostileProvider(t *testing.T) {
	l := newLiar(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	part := func(v any) string { b, _ := json.Marshal(v); return base64.RawURLEncoding.EncodeToString(b) }
	public, _ := jose.JSONWebKey{Key: l.key.Public(), KeyID: "k1"}.MarshalJSON()
	says := func(change map[string]any) func(string) string {
		return func(nonce string) string { return l.signed(l.key, l.claims(nonce, change)) }
	}
	old := storetest.Epoch.Add(-time.Hour).Unix()
	mute := map[string]any{"email": nil, "email_verified": nil} // so that userinfo is asked
	for name, test := range map[string]struct {
		says func(nonce string) string
		info map[string]any
		in   bool
	}{
		"the truth":                     {says: says(nil), in: true},
		"a list of us alone":            {says: says(map[string]any{"aud": []string{"lanyard"}, "azp": "lanyard"}), in: true},
		"the rest in userinfo":          {says: says(mute), info: map[string]any{"sub": "00u1", "email": "maya@example.com", "email_verified": true}, in: true},
		"another sign-in":               {says: says(map[string]any{"nonce": "another"})},
		"no nonce":                      {says: says(map[string]any{"nonce": nil})},
		"a nonce that is a list":        {says: func(nonce string) string { return says(map[string]any{"nonce": []string{nonce}})(nonce) }},
		"for another application":       {says: says(map[string]any{"aud": "games"})},
		"for nobody":                    {says: says(map[string]any{"aud": []string{}})},
		"for another as well":           {says: says(map[string]any{"aud": []string{"lanyard", "games"}, "azp": "lanyard"})},
		"several, given to another":     {says: says(map[string]any{"aud": []string{"lanyard", "games"}, "azp": "games"})},
		"given to another":              {says: says(map[string]any{"azp": "games"})},
		"another issuer":                {says: says(map[string]any{"iss": "https://accounts.example.com"})},
		"the issuer with a slash":       {says: says(map[string]any{"iss": l.URL + "/"})},
		"expired":                       {says: says(map[string]any{"iat": old, "exp": old + 300})},
		"from tomorrow":                 {says: says(map[string]any{"iat": storetest.Epoch.Add(24 * time.Hour).Unix(), "exp": storetest.Epoch.Add(25 * time.Hour).Unix()})},
		"no end":                        {says: says(map[string]any{"exp": nil})},
		"nobody":                        {says: says(map[string]any{"sub": nil})},
		"the key of another provider":   {says: func(nonce string) string { return l.signed(other, l.claims(nonce, nil)) }},
		"no ID token":                   {says: func(string) string { return "" }},
		"the access token in its place": {says: func(string) string { return "at" }},
		"alg none": {says: func(nonce string) string {
			return part(map[string]string{"alg": "none", "kid": "k1"}) + "." + part(l.claims(nonce, nil)) + "."
		}},
		"alg None": {says: func(nonce string) string {
			return part(map[string]string{"alg": "nOnE"}) + "." + part(l.claims(nonce, nil)) + "."
		}},
		"the public key as a secret": {says: func(nonce string) string {
			body := part(map[string]string{"alg": "HS256", "kid": "k1"}) + "." + part(l.claims(nonce, nil))
			mac := hmac.New(sha256.New, public)
			mac.Write([]byte(body))
			return body + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		}},
		"the client's secret as the key": {says: func(nonce string) string {
			body := part(map[string]string{"alg": "HS256"}) + "." + part(l.claims(nonce, nil))
			mac := hmac.New(sha256.New, []byte("s"))
			mac.Write([]byte(body))
			return body + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		}},
		"userinfo of another":              {says: says(mute), info: map[string]any{"sub": "00u2", "email": "maya@example.com", "email_verified": true}},
		"userinfo of nobody":               {says: says(mute), info: map[string]any{"email": "maya@example.com", "email_verified": true}},
		"userinfo of a list":               {says: says(mute), info: map[string]any{"sub": []string{"00u1"}, "email": "maya@example.com", "email_verified": true}},
		"an address that is not verified":  {says: says(map[string]any{"email_verified": false})},
		"verified by userinfo, not itself": {says: says(map[string]any{"email_verified": false, "groups": nil}), info: map[string]any{"sub": "00u1", "email": "maya@example.com", "email_verified": true}},
		"a group by userinfo of another":   {says: says(map[string]any{"email": "eve@example.com", "groups": nil}), info: map[string]any{"sub": "00u2", "groups": []string{"guards"}}},
	} {
		l.mu.Lock()
		l.says, l.info = test.says, test.info
		l.mu.Unlock()
		v := l.goes(l.visitor(""), "/console/")
		status, page, leads := v.comes(url.Values{"state": {v.state}, "code": {l.code(name, v.nonce)}})
		if in := v.in(); in != test.in || in && leads != "/console/" || !in && (status < 400 || leads != "") {
			t.Errorf("%s: signed in %v: %d %q %s", name, in, status, leads, page)
		}
	}
}

// Who is signed in and comes again proves anew who they are: a provider that does not say when they did has not shown that.
func TestProvenAnew(t *testing.T) {
	l := newLiar(t)
	silent := map[string]any{"auth_time": nil}
	l.says = func(nonce string) string { return l.signed(l.key, l.claims(nonce, silent)) }
	v := l.visitor("")
	for n, want := range []int{http.StatusSeeOther, http.StatusForbidden, http.StatusSeeOther} {
		if n == 2 {
			silent = nil
		}
		at := l.goes(v, "/console/")
		if status, page, _ := at.comes(url.Values{"state": {at.state}, "code": {l.code(fmt.Sprint("c", n), at.nonce)}}); status != want && (want < 400 || status < 400) {
			t.Errorf("time %d: %d %s", n, status, page)
		}
	}
}

// Where it counts when somebody proved who they are, it is not enough that they came in by a provider that does not say so: they may have, days ago.
func TestUnprovenIsNotFresh(t *testing.T) {
	l := newLiar(t)
	ask := l.asks("maya", 5*time.Minute)
	for name, said := range map[string]map[string]any{"silent": {"auth_time": nil}, "now": nil} {
		l.says = func(nonce string) string { return l.signed(l.key, l.claims(nonce, said)) }
		v := l.goes(l.visitor(""), "/console/")
		if status, page, _ := v.comes(url.Values{"state": {v.state}, "code": {l.code(name, v.nonce)}}); status != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", name, status, page)
		}
		at, err := url.Parse(l.network.URL)
		if err != nil {
			t.Fatal(err)
		}
		status, answer := l.visit(v.Jar.Cookies(at)[0].Value, "POST", "/v1/approvals/"+l.put(ask(name)).ID+"/approve", "{}")
		if fresh := status == http.StatusOK; fresh != (said == nil) || !fresh && !strings.Contains(answer, "sign-in-again") {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
}

// What a browser brings back counts once, in the browser that went, and from the provider that it went to.
func TestWayBackFromProvider(t *testing.T) {
	l := newLiar(t)
	l.says = func(nonce string) string { return l.signed(l.key, l.claims(nonce, nil)) }
	fail := func(what string, v *traveller, query url.Values) {
		t.Helper()
		if status, page, leads := v.comes(query); status < 400 || leads != "" || v.in() {
			t.Errorf("%s: %d %q %s", what, status, leads, page)
		}
	}
	fail("no state", l.goes(l.visitor(""), ""), url.Values{"code": {l.code("c1", "")}})
	fail("another's state", l.goes(l.visitor(""), ""), url.Values{"state": {l.goes(l.visitor(""), "").state}, "code": {l.code("c2", "")}})
	fail("nobody went", &traveller{visitor: l.visitor("")}, url.Values{"state": {""}, "code": {l.code("c3", "")}})
	v := l.goes(l.visitor(""), "")
	fail("state twice", v, url.Values{"state": {v.state, v.state}, "code": {l.code("c4", v.nonce)}})
	v = l.goes(l.visitor(""), "")
	fail("as another provider says", v, url.Values{"state": {v.state}, "iss": {"https://evil.example"}, "code": {l.code("c5", v.nonce)}})
	v = l.goes(l.visitor(""), "")
	fail("it said no", v, url.Values{"state": {v.state}, "error": {"access_denied"}, "code": {l.code("c6", v.nonce)}})
	v = l.goes(l.visitor(""), "")
	l.ahead.Add(int64(11 * time.Minute))
	fail("too late", v, url.Values{"state": {v.state}, "code": {l.code("c7", v.nonce)}})
	l.ahead.Store(0)

	// eve's own way, which she has maya go: the code is hers, and so is the state.
	eve, maya := l.goes(l.visitor(""), ""), l.visitor("")
	fail("somebody else's way", &traveller{visitor: maya}, url.Values{"state": {eve.state}, "code": {l.code("c8", eve.nonce)}})

	v = l.goes(l.visitor(""), "")
	jar := v.Jar.Cookies(mustURL(t, l.network.URL))
	good := url.Values{"state": {v.state}, "code": {l.code("c9", v.nonce)}}
	if status, page, _ := v.comes(good); status != http.StatusSeeOther || !v.in() {
		t.Fatal(status, page)
	}
	for what, again := range map[string]*visitor{"the same again": l.visitor(""), "from where it had been": v.visitor} {
		if again == v.visitor {
			v.send("POST", "/console/sign-out", nil, "Content-Type", "application/json", "Sec-Fetch-Site", "same-origin")
			again = l.visitor("")
		}
		again.Jar.SetCookies(mustURL(t, l.network.URL), jar) // with what the browser had kept
		fail(what, &traveller{visitor: again}, good)
	}
	l.mu.Lock()
	l.meta = map[string]any{"issuer": "https://accounts.example.com"}
	l.mu.Unlock()
	if status, page, leads := l.visitor("").send("GET", "/console/oidc/start", nil); status < 400 || leads != "" {
		t.Errorf("metadata of another: %d %q %s", status, leads, page)
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Whoever signs in goes on to a page of ours.
func TestSignInLeadsNowhereElse(t *testing.T) {
	l := newLiar(t)
	l.says = func(nonce string) string { return l.signed(l.key, l.claims(nonce, nil)) }
	n := 0
	for back, want := range map[string]string{
		"/console/#/identities": "/console/#/identities", "/accounts/mail": "/accounts/mail", "/approvals": "/approvals", "/oauth/authorize?client_id=x": "/oauth/authorize?client_id=x",
		"": "/console/", "//evil.example": "/console/", "/\\evil.example": "/console/", "/console/\\evil.example": "/console/", "\\\\evil.example": "/console/", "%2f%2fevil.example": "/console/", "/%2fevil.example": "/console/",
		"https://evil.example": "/console/", "javascript:alert(1)": "/console/", "/console/\r\nLocation: https://evil.example": "/console/", "/\t/evil.example": "/console/", "/console/\t/evil": "/console/",
		"/console/../signout": "/console/", "/console/%2e%2e//evil.example": "/console/", "/console/%2E./x": "/console/", "/accounts/%2e%2e/signout": "/console/", "/console/\x00": "/console/", "//console/": "/console/", "/accounts//evil.example": "/console/", "console/": "/console/",
		"/approvals//evil.example": "/console/", "/approvals@evil.example": "/console/", " /console/": "/console/", "/consoleevil": "/console/", "/accounts.evil": "/console/", "/v1/kill": "/console/",
	} {
		n++
		v := l.goes(l.visitor(""), back)
		if status, page, leads := v.comes(url.Values{"state": {v.state}, "code": {l.code(strings.Repeat("c", n), v.nonce)}}); status != http.StatusSeeOther || leads != want {
			t.Errorf("%q: %d to %q: %s", back, status, leads, page)
		}
		_, page, _ := l.visitor("").send("GET", "/signin?return="+url.QueryEscape(back), nil)
		if want == "/console/" && strings.Contains(page, "evil") {
			t.Errorf("%q is on the page of codes: %s", back, page)
		}
	}
}

// No page of another site has a form of ours sent, whatever the browser says of where it comes from.
func TestFormsAreOfOurPages(t *testing.T) {
	p := start(t)
	office(p)
	session := p.begin("maya")
	for _, path := range []string{"/signin", "/signout", "/oauth/authorize", "/approvals/appr_x", "/accounts/mail", "/console/device", "/console/sign-out", "/console/passkey/begin", "/console/passkey/finish"} {
		for name, header := range map[string][]string{
			"another site":    {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
			"a sibling":       {"Sec-Fetch-Site", "same-site", "Origin", "http://sibling.test"},
			"an old browser":  {"Origin", "https://evil.example"},
			"a sandbox":       {"Origin", "null"},
			"it does not say": {"Referer", "https://evil.example/"},
		} {
			header = append([]string{"Authorization", "", "Cookie", "lanyard=" + session, "Content-Type", "application/x-www-form-urlencoded"}, header...)
			if status, page := p.ask("POST", path, "do=disconnect&decision=yes&request=x&user_code=y", header...); status != http.StatusForbidden || !strings.Contains(page, "another site") {
				t.Errorf("%s, %s: %d %s", path, name, status, page)
			}
		}
	}
	if status, _ := p.visit(session, "GET", "/v1/me", ""); status != http.StatusOK {
		t.Errorf("signed out by another site: %d", status)
	}
}
