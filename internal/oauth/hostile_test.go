package oauth

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestHostile: what servers may say that is refused before anybody signs in, or before a code leaves.
func TestHostile(t *testing.T) {
	for name, x := range map[string]struct {
		set   func(w *world)
		want  string
		asked bool // the person has been to the sign-in page
	}{
		"metadata of another issuer":     {func(w *world) { w.meta["issuer"] = "https://evil.example" }, "says it is of https://evil.example", false},
		"issuer with a slash more":       {func(w *world) { w.meta["issuer"] = w.as.URL + "/" }, "says it is of", false},
		"no S256":                        {func(w *world) { delete(w.meta, "code_challenge_methods_supported") }, "PKCE", false},
		"plain only":                     {func(w *world) { w.meta["code_challenge_methods_supported"] = []string{"plain"} }, "PKCE", false},
		"no token endpoint":              {func(w *world) { delete(w.meta, "token_endpoint") }, "no token_endpoint", false},
		"token endpoint by http":         {func(w *world) { w.meta["token_endpoint"] = "http://as.example/token" }, "not https", false},
		"sign-in page of another scheme": {func(w *world) { w.meta["authorization_endpoint"] = "javascript:alert(1)" }, "is no URL", false},
		"sign-in page with a user":       {func(w *world) { w.meta["authorization_endpoint"] = "https://bank.example@evil.example/" }, "user name", false},
		"no sign-in page":                {func(w *world) { delete(w.meta, "authorization_endpoint") }, "is no URL", false},
		"registration by http":           {func(w *world) { w.meta["registration_endpoint"] = "http://10.0.0.1/r" }, "not https", false},
		"no way to register":             {func(w *world) { delete(w.meta, "registration_endpoint") }, "register one there", false},
		"no codes":                       {func(w *world) { w.meta["grant_types_supported"] = []string{"implicit"} }, "does not offer", false},
		"scopes with quotes":             {func(w *world) { w.meta["scopes_supported"] = []string{`a" b`} }, "cannot be", false},
		"members of wrong types":         {func(w *world) { w.meta["token_endpoint"] = 7 }, "no JSON object", false},
		"another resource":               {func(w *world) { w.resource["resource"] = "https://evil.example/mcp" }, "is for https://evil.example/mcp", false},
		"resource beside":                {func(w *world) { w.resource["resource"] = w.up.URL + "/mc" }, "is for", false},
		"resource with a fragment":       {func(w *world) { w.resource["resource"] = w.up.URL + "/mcp#x" }, "fragment", false},
		"no authorization server":        {func(w *world) { delete(w.resource, "authorization_servers") }, "names no authorization server", false},
		"authorization server by http":   {func(w *world) { w.resource["authorization_servers"] = []string{"http://as.example"} }, "not https", false},
		"authorization server in a file": {func(w *world) { w.resource["authorization_servers"] = []string{"file:///etc/passwd"} }, "is no URL", false},
		"issuer with a query":            {func(w *world) { w.resource["authorization_servers"] = []string{w.as.URL + "?x=1"} }, "query", false},
		"upstream's scopes":              {func(w *world) { w.resource["scopes_supported"] = []string{"a\nb"} }, "cannot be", false},
		"registered as nobody": {func(w *world) {
			w.register = func(map[string]any) map[string]any { return map[string]any{"client_secret": "s"} }
		}, "no client_id", false},
		"registered without its secret": {func(w *world) {
			w.register = func(map[string]any) map[string]any { return map[string]any{"client_id": "c"} }
		}, "no client_secret", false},
		"registered for another method": {func(w *world) {
			w.register = func(map[string]any) map[string]any {
				return map[string]any{"client_id": "c", "token_endpoint_auth_method": "private_key_jwt"}
			}
		}, "not asked for", false},
		"answer of another server": {func(w *world) { w.answer = func(q url.Values) { q.Set("iss", "https://evil.example") } }, "is not of", true},
		"its error is not shown": {func(w *world) {
			w.answer = func(q url.Values) { q.Set("iss", "https://evil.example"); q.Set("error", "x") }
		}, "is not of", true},
		"normalised issuer":          {func(w *world) { w.answer = func(q url.Values) { q.Set("iss", w.as.URL+"/") } }, "is not of", true},
		"empty issuer":               {func(w *world) { w.answer = func(q url.Values) { q.Set("iss", "") } }, "is not of", true},
		"issuer missing though said": {func(w *world) { w.answer = func(q url.Values) { q.Del("iss") } }, "promised", true},
		"issuer wrong though unsaid": {func(w *world) {
			w.meta["authorization_response_iss_parameter_supported"] = false
			w.answer = func(q url.Values) { q.Set("iss", "https://evil.example") }
		}, "is not of", true},
		"two issuers":                  {func(w *world) { w.answer = func(q url.Values) { q.Add("iss", "https://evil.example") } }, "twice", true},
		"two codes":                    {func(w *world) { w.answer = func(q url.Values) { q.Add("code", "other") } }, "twice", true},
		"another state":                {func(w *world) { w.answer = func(q url.Values) { q.Set("state", "x") } }, "not the answer", true},
		"no state":                     {func(w *world) { w.answer = func(q url.Values) { q.Del("state") } }, "not the answer", true},
		"no code":                      {func(w *world) { w.answer = func(q url.Values) { q.Del("code") } }, "no code", true},
		"the person says no":           {func(w *world) { w.answer = func(q url.Values) { q.Set("error", "access_denied") } }, "access_denied", true},
		"the person takes ten minutes": {func(w *world) { w.answer = func(url.Values) { w.now = w.now.Add(10 * time.Minute) } }, "too long", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			x.set(w)
			_, err := w.call(w.transport())
			w.refused(err, x.want)
			if w.seen("/token") != 0 || w.seen("/authorize") > 0 != x.asked {
				t.Error(w.count)
			}
			if kept, _ := w.store.Token(t.Context(), w.up.URL+"/mcp"); kept.Access != "" {
				t.Error("a token is kept")
			}
		})
	}
	w := newWorld(t) // neither said nor sent is what RFC 9207 lets pass
	delete(w.meta, "authorization_response_iss_parameter_supported")
	w.answer = func(q url.Values) { q.Del("iss") }
	w.must(w.transport(), 200)
}

// TestTokenAnswers: what a token endpoint may answer.
func TestTokenAnswers(t *testing.T) {
	bearer, bound := ask{}, ask{key: []byte("k"), bound: true}
	for body, x := range map[string]struct {
		a    ask
		want string // of the error; "Bearer" and "DPoP" are no errors
	}{
		`{"access_token":"a","token_type":"bearer"}`:                          {bearer, "Bearer"},
		`{"access_token":"a","token_type":"dpop"}`:                            {bound, "DPoP"},
		`{"access_token":"a","token_type":"DPoP"}`:                            {bearer, "not asked for"},
		`{"access_token":"a","token_type":"Bearer"}`:                          {bound, "only tokens bound"},
		`{"access_token":"a"}`:                                                {bearer, `type ""`},
		`{"access_token":"a","token_type":"mac"}`:                             {bearer, `type "mac"`},
		`{"access_token":"a","token_type":"N_A"}`:                             {bearer, "not asked for"},
		`{"access_token":"a","token_type":["Bearer"]}`:                        {bearer, "no JSON object"},
		`{"access_token":"a","token_type":"mac","token_type":"Bearer"}`:       {bearer, "no JSON object"},
		`{"ACCESS_TOKEN":"a","token_type":"Bearer"}`:                          {bearer, "no token"},
		`{"access_token":"","token_type":"Bearer"}`:                           {bearer, "no token"},
		`{"access_token":"a b","token_type":"Bearer"}`:                        {bearer, "no token"},
		`{"access_token":"a\r\nX-Evil: 1","token_type":"Bearer"}`:             {bearer, "no token"},
		`{"access_token":"é","token_type":"Bearer"}`:                          {bearer, "no token"},
		`{"access_token":"a","token_type":"Bearer","expires_in":-1}`:          {bearer, "negative"},
		`{"access_token":"a","token_type":"Bearer","expires_in":"300"}`:       {bearer, "no JSON object"},
		`{"access_token":"a","token_type":"Bearer","refresh_token":"\u0000"}`: {bearer, "no token"},
		`null`: {bearer, "no JSON object"}, `[]`: {bearer, "no JSON object"}, ``: {bearer, "no JSON object"}, `{}{}`: {bearer, "no JSON object"},
		`{"access_token":"a","token_type":"Bearer","expires_in":9223372036854775807}`: {bearer, "Bearer"},
	} {
		tok, err := readToken([]byte(body), x.a, noon)
		switch {
		case err == nil && tok.Type != x.want, err != nil && !strings.Contains(err.Error(), x.want):
			t.Errorf("%s: %s %v, not %s", body, tok.Type, err, x.want)
		case err == nil && !tok.Good(noon):
			t.Errorf("%s: not good", body)
		}
	}
}

// TestPlaces: where metadata is looked for, in which order (RFC 9728 section 3.1, RFC 8414 sections 3.1 and 5).
func TestPlaces(t *testing.T) {
	var seen []string
	found := ""
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Path)
		here := "http://" + r.Host
		switch {
		case r.URL.Path != found:
			rw.Header().Set("Content-Type", "text/html") // as sites with one page for everything do
			_, _ = io.WriteString(rw, "<!doctype html>")
		case strings.HasPrefix(found, "/.well-known/oauth-protected-resource"):
			reply(rw, 200, map[string]any{"resource": here, "authorization_servers": []string{here + "/tenant"}})
		default:
			reply(rw, 200, map[string]any{"issuer": here + "/tenant", "token_endpoint": here + "/t"})
		}
	}))
	defer s.Close()
	c := &Client{HTTP: s.Client(), Store: &Memory{}, Loopback: true, Now: func() time.Time { return noon }}
	prm, as := "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server"
	for _, x := range []struct {
		found, metadata string
		want            []string
	}{
		{prm + "/a/mcp", "", []string{prm + "/a/mcp", as + "/tenant", "/.well-known/openid-configuration/tenant", "/tenant/.well-known/openid-configuration"}},
		{prm, "", []string{prm + "/a/mcp", prm, as + "/tenant", "/.well-known/openid-configuration/tenant", "/tenant/.well-known/openid-configuration"}},
		{"", "", []string{prm + "/a/mcp", prm, as, "/.well-known/openid-configuration"}},
		{"", s.URL + "/named", []string{"/named"}}, // what it names must be there: no looking elsewhere
	} {
		seen, found = nil, x.found
		up, err := c.Discover(t.Context(), s.URL+"/a/mcp", Challenge{Metadata: x.metadata})
		if !reflect.DeepEqual(seen, x.want) {
			t.Errorf("%q: %q, not %q", x.found, seen, x.want)
		}
		if legacy := x.found == "" && x.metadata == ""; (err == nil) != legacy || legacy && (up.Server.Token != s.URL+"/token" || up.Resource != s.URL+"/a/mcp") {
			t.Errorf("%q: %+v %v", x.found, up, err)
		}
	}
}

// TestCarriers: redirects, sizes and statuses on the way.
func TestCarriers(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { t.Error("followed to another origin") }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(rw, r, other.URL, http.StatusTemporaryRedirect)
		case "/round":
			http.Redirect(rw, r, "/round", http.StatusFound)
		case "/near":
			http.Redirect(rw, r, "/good", http.StatusFound)
		case "/good":
			reply(rw, 200, map[string]any{"resource": "x"})
		case "/twice":
			rw.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(rw, `{"resource":"a","resource":"b"}`)
		case "/huge":
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write(bytes.Repeat([]byte(" "), maxBody+1))
		case "/busy":
			rw.WriteHeader(http.StatusTooManyRequests)
		case "/broken":
			rw.WriteHeader(http.StatusBadGateway)
		default:
			http.NotFound(rw, r)
		}
	}))
	defer s.Close()
	c := &Client{HTTP: s.Client(), Store: &Memory{}, Loopback: true, Now: func() time.Time { return noon }}
	for path, want := range map[string]string{"/away": "another origin", "/round": "too often", "/near": "", "/good": "", "/twice": "each once", "/huge": "larger", "/busy": "429", "/broken": "502", "/none": "absent"} {
		u, err := url.Parse(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		var r resource
		ok, err := c.get(t.Context(), u, &r)
		switch {
		case want == "" && (!ok || err != nil || r.Resource != "x"), want == "absent" && (ok || err != nil):
			t.Errorf("%s: %v %v", path, ok, err)
		case want != "" && want != "absent" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", path, err)
		}
	}
	for path, want := range map[string]string{"/away": "redirects", "/near": "redirects", "/huge": "larger", "/broken": "502 Bad Gateway"} {
		_, err := c.token(t.Context(), ask{server: Server{Issuer: s.URL, Token: s.URL + path}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestLinks: what a stranger's URL may be.
func TestLinks(t *testing.T) {
	at := func(s string) *url.URL {
		if s == "" {
			return nil
		}
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, x := range []struct {
		raw, found string
		ok         bool
	}{
		{"https://a.example/x?y=1", "", true}, {"https://a.example", "https://b.example", true}, {"http://127.0.0.1:1/", "", true}, {"http://localhost/", "http://[::1]/", true},
		{"http://127.0.0.1:1/", "https://a.example", false}, {"http://a.example/", "", false}, {"http://localhost.a.example/", "", false}, {"http://127.0.0.1.a.example/", "", false},
		{"http://169.254.169.254/latest", "", false}, {"https://u@a.example/", "", false}, {"https://a.example/#", "", false}, {"//a.example/", "", false}, {"https:a.example", "", false},
		{"https://\u0430.example/", "", false}, {"https://%d0%b0.example/", "", false}, {"https://xn--80a.example/", "", true}, {"ftp://a.example/", "", false}, {"https://a.example/\n", "", false}, {"https://" + strings.Repeat("a", 3000), "", false}, {"", "", false},
	} {
		if _, err := (&Client{Loopback: true}).link("it", x.raw, at(x.found)); (err == nil) != x.ok {
			t.Errorf("%s after %q: %v", x.raw, x.found, err)
		}
	}
	if _, err := (&Client{}).link("it", "http://127.0.0.1/", nil); err == nil {
		t.Error("plain http on loopback passed without leave")
	}
	for _, x := range []struct {
		resource, u string
		ok          bool
	}{
		{"https://a/mcp", "https://a/mcp", true}, {"https://a/mcp", "https://A:443/mcp/x", true}, {"https://a", "https://a/mcp", true}, {"https://a/", "https://a/mcp", true},
		{"https://a/mcp", "https://a/mcpx", false}, {"https://a/mcp", "https://a/", false}, {"https://a/mcp", "http://a/mcp", false}, {"https://a/mcp", "https://a:8443/mcp", false},
		{"https://a/mcp", "https://a/mcp/%2E./x", false}, {"https://a/mcp?t=1", "https://a/mcp?t=2", false}, {"https://a/mcp?t=1", "https://a/mcp?t=1", true},
	} {
		if covers(at(x.resource), at(x.u)) != x.ok {
			t.Errorf("%s covers %s: %v", x.resource, x.u, !x.ok)
		}
	}
}

func TestReadChallenge(t *testing.T) {
	for header, want := range map[string]Challenge{
		``:       {},
		`Bearer`: {}, `Basic realm="x"`: {}, `Negotiate YWJj==, Bearer scope="a"`: {Scope: []string{"a"}},
		`bearer resource_metadata="https://a/x", scope="a b a", error="insufficient_scope"`: {Metadata: "https://a/x", Scope: []string{"a", "b"}, Error: "insufficient_scope"},
		`DPoP algs="ES256 EdDSA", error=use_dpop_nonce`:                                     {Error: "use_dpop_nonce", DPoP: true, Bound: true},
		`DPoP algs="ES256", Bearer realm="x", scope="s"`:                                    {Scope: []string{"s"}, DPoP: true},
		`Basic realm="Bearer scope=\"x\""`:                                                  {},
		`Bearer realm="a, DPoP b=c", Scope = "s"`:                                           {Scope: []string{"s"}},
		`Bearer scope="a", scope="b"`:                                                       {}, // twice
		`Bearer scope="a`:                                                                   {},
		`Bearer scope=`:                                                                     {},
		`Bearer scope="a" error="b"`:                                                        {},
		`Bearer=x`:                                                                          {},
		`"Bearer" scope=a`:                                                                  {},
		`Bearer scope="é"`:                                                                  {},
		`, ,Bearer scope=a,`:                                                                {Scope: []string{"a"}},
		`Bearer scope=a, Bearer scope=b`:                                                    {Scope: []string{"a"}},
		`Bearer ` + strings.Repeat(`a="", `, 3000):                                          {},
	} {
		if got := ReadChallenge(http.Header{"Www-Authenticate": {header}}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", header, got)
		}
	}
	if got := ReadChallenge(http.Header{"Www-Authenticate": {`junk"`, `Bearer scope=a`, `DPoP`}}); !reflect.DeepEqual(got, Challenge{Scope: []string{"a"}, DPoP: true}) {
		t.Errorf("%+v", got)
	}
}

func FuzzReadChallenge(f *testing.F) {
	f.Add(`Bearer resource_metadata="https://a/x", scope="a b", error="insufficient_scope"`)
	f.Add(`Negotiate YWJj==, DPoP algs="ES256", Bearer realm="\"x"`)
	f.Fuzz(func(t *testing.T, header string) {
		list, err := parseChallenges(header)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, c := range list {
			b.WriteString(c.scheme)
			sep := " "
			for k, v := range c.params {
				b.WriteString(sep + k + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`)
				sep = ", "
			}
			b.WriteString(", ")
		}
		if again, err := parseChallenges(b.String()); b.Len() <= maxChallenge && (err != nil || len(again) != len(list) || len(list) > 0 && !reflect.DeepEqual(again, list)) {
			t.Fatalf("%q became %q: %v (%v)", header, b.String(), again, err)
		}
		if got := ReadChallenge(http.Header{"Www-Authenticate": {header}}); !validScopes(got.Scope) {
			t.Fatalf("scopes %q", got.Scope)
		}
	})
}

// words answers every request with the same, as JSON.
type words struct{ upstream, server, rest []byte }

func (s words) RoundTrip(r *http.Request) (*http.Response, error) {
	body := s.rest
	switch {
	case strings.Contains(r.URL.Path, "oauth-protected-resource"):
		body = s.upstream
	case strings.Contains(r.URL.Path, "/.well-known/"):
		body = s.server
	}
	return &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

// FuzzSignIn: whatever an upstream and its server say, what comes of it is for that upstream, of that server, and goes by https.
func FuzzSignIn(f *testing.F) {
	f.Add([]byte(`{"resource":"https://up.example/mcp","authorization_servers":["https://as.example"],"scopes_supported":["a"]}`),
		[]byte(`{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a?x=1","token_endpoint":"https://as.example/t","registration_endpoint":"https://as.example/r","code_challenge_methods_supported":["S256"]}`),
		[]byte(`{"client_id":"c","client_secret":"s","access_token":"a","token_type":"Bearer","expires_in":1}`))
	f.Fuzz(func(t *testing.T, upstream, server, rest []byte) {
		c := &Client{HTTP: &http.Client{Transport: words{upstream, server, rest}}, Now: func() time.Time { return noon }, Rand: strings.NewReader(strings.Repeat("x", 4096)),
			Store: &Memory{}, Redirect: "https://lanyard.example/callback", Loopback: true}
		up, err := c.Discover(t.Context(), "https://up.example/mcp", Challenge{})
		if err != nil {
			return
		}
		if !strings.HasPrefix(up.Resource, "https://") || !strings.HasPrefix(up.Server.Token, "https://") {
			t.Fatalf("%+v", up)
		}
		open, p, err := c.Begin(t.Context(), up, up.Scopes)
		if err != nil {
			return
		}
		u, err := url.Parse(open)
		if err != nil || u.Scheme != "https" || u.Query().Get("resource") != up.Resource || u.Query().Get("code_challenge_method") != "S256" || len(u.Query()["state"]) != 1 {
			t.Fatal(open, err)
		}
		tok, err := c.Finish(t.Context(), p, url.Values{"state": {p.State}, "code": {"c"}, "iss": {up.Server.Issuer}})
		var e *Error
		if err == nil && (tok.Access == "" || tok.Server.Issuer != up.Server.Issuer || tok.Resource != up.Resource) || errors.As(err, &e) {
			t.Fatalf("%#v %v", tok, err)
		}
	})
}

// TestLegacy: without any metadata of the upstream its origin is the server, with or without a slash; anything else is not.
func TestLegacy(t *testing.T) {
	issuer := ""
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/oauth-authorization-server" {
			http.NotFound(rw, r)
			return
		}
		reply(rw, 200, map[string]any{"issuer": issuer, "token_endpoint": "http://" + r.Host + "/t"})
	}))
	defer s.Close()
	c := &Client{HTTP: s.Client(), Store: &Memory{}, Loopback: true}
	for is, ok := range map[string]bool{s.URL: true, s.URL + "/": true, s.URL + "/x": false, "https://evil.example": false} {
		issuer = is
		if up, err := c.Discover(t.Context(), s.URL+"/mcp", Challenge{}); (err == nil) != ok || ok && up.Server.Issuer != is {
			t.Errorf("%s: %v %v", is, up.Server.Issuer, err)
		}
	}
}
