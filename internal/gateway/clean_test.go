package gateway

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// seen is an upstream that remembers what reached it.
type seen struct {
	sync.Mutex
	requests []*http.Request
}

func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	s.Lock()
	defer s.Unlock()
	s.requests = append(s.requests, r)
}

func (s *seen) take() []*http.Request {
	s.Lock()
	defer s.Unlock()
	r := s.requests
	s.requests = nil
	return r
}

// TestHostile sends bytes that two parsers could read differently. Each is
// refused, or reaches the upstream as exactly what was decided on.
func TestHostile(t *testing.T) {
	up := &seen{}
	w := newWorld(t, up)
	auth := "Authorization: Bearer " + w.mint(w.claims("bot")) + "\r\n"
	get := func(target, more string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: gateway.test\r\n" + auth + more + "Connection: close\r\n\r\n"
	}
	post := func(more, body string) string {
		return "POST /mail/x HTTP/1.1\r\nHost: gateway.test\r\n" + auth + more + "\r\n" + body
	}
	var refused []string
	for _, target := range []string{
		"/mail/public/../admin", "/mail/..", "/mail/.", "/mail/./x", "/mail/public/%2e%2e/admin", "/mail/%2E%2E/admin", "/mail/.%2e/a", "/mail/public%2f..%2fadmin", "/mail/a%2Fb",
		"/mail/a%5Cb", "/mail/a%5cb", `/mail/a\b`, "//mail/admin", "/mail//admin", "/mail/x//", "/mail/public;/../admin", "/mail/..;/admin", "/mail/a;b=c", "/mail/a%3Bb", "/mail/%00", "/mail/%0d%0aX:y", "/mail/%7F",
		"/mail/%252e%252e/admin", "/mail/%252F", "/mail/a%41", "/mail/a%7Eb", "/mail/%e4%bd", "/mail/%C0%AE", "/mail/%", "/mail/%2", "/mail/%zz", "/mail/a#b", "/mail/a|b", "/mail/<x>", "/mail/\x80", "/mail/a?b;c", "/mail/a?x=%00", "/mail/a?x=%", "/mail/a?_method=DELETE", "/mail/a?%5Fmethod=DELETE", "/mail/a?x=1&_%6Dethod=DELETE", "/mail/a?_METHOD=DELETE", "/mail/a?$httpMethod=DELETE",
		"/mail/a?" + strings.Repeat("a=1&", 300), "http://evil.test/mail/x", "*", "/mail/" + strings.Repeat("a", 9000),
	} {
		refused = append(refused, get(target, ""))
	}
	for _, header := range []string{
		"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", "Upgrade: TLS/1.0\r\n", "Upgrade: websocket, h2c\r\n", "HTTP2-Settings: AAMAAABkAAQAAP__\r\n", auth, "X-HTTP-Method-Override: DELETE\r\n", "X_HTTP_Method_Override: DELETE\r\n", "X-Method-Override: DELETE\r\n", "X-HTTP-Method: DELETE\r\n",
		"Impersonate-User: system:admin\r\n", "impersonate-extra-scopes: x\r\n", "Sudo: root\r\n", "X-On-Behalf-Of: eve@evil.example\r\n",
		"Expect: 200-maybe\r\n", "Connection: Authorization\r\n", "Connection: close, X-Identity\r\n", "X-A: b\r\n c\r\n", "X-A: b\n", "X-A: b\rc\r\n", "X-A : b\r\n", "X-A: \x00\r\n", "Host: other.test\r\n", "X-\xff: b\r\n", "Content-Length: +1\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n",
	} {
		refused = append(refused, get("/mail/x", header))
	}
	chunked := "Transfer-Encoding: chunked\r\n"
	refused = append(refused,
		post("Content-Length: 4\r\n"+chunked, "0\r\n\r\n"), post(chunked+"Content-Length: 4\r\n", "0\r\n\r\n"), post(chunked+chunked, "0\r\n\r\n"), post("Transfer-Encoding: xchunked\r\n", ""), post("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"), post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
		post("Trailer: Authorization\r\n"+chunked, "0\r\nAuthorization: x\r\n\r\n"), post("Trailer: X-Lanyard-Identity\r\n"+chunked, "0\r\n\r\n"), post("Trailer: X-HTTP-Method-Override\r\n"+chunked, "0\r\n\r\n"), post("Trailer: Impersonate-User\r\n"+chunked, "0\r\n\r\n"), post("Trailer: X_Y\r\n"+chunked, "0\r\n\r\n"), post("Trailer: Content-Length\r\n"+chunked, "0\r\n\r\n"),
		"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test\r\n"+auth+"\r\n", strings.Replace(get("/mail/x", ""), "GET", "TRACE", 1), strings.Replace(get("/mail/x", ""), "GET", "get", 1), strings.Replace(get("/mail/x", ""), "GET", "PROPFIND", 1),
		strings.Replace(post("Connection: keep-alive\r\n"+chunked, "0\r\n\r\n"), "HTTP/1.1", "HTTP/1.0", 1),
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\r\n"+get("/mail/x", ""), "GET /mail/x\r\n\r\n", "GET /mail/x HTTP/1.1\n\n", "GET  /mail/x HTTP/1.1\r\n\r\n",
	)
	for _, raw := range refused {
		status, _ := w.raw(raw)
		if status < 400 || status >= 500 && status != 501 && status != 505 {
			t.Errorf("status %d for %.120q", status, raw)
		}
		if r := up.take(); len(r) > 0 {
			t.Errorf("reached the upstream as %s %s: %.120q", r[0].Method, r[0].RequestURI, raw)
		}
	}
	if len(refused) < 60 {
		t.Errorf("only %d hostile requests", len(refused))
	}
	for _, target := range []string{
		"/x", "/", "/a/b/", "/calendars/me%40example.com/events?q=a%20b&x=%3B", "/a?", "/a?x=/?:@!$'()*+,", "/%E4%BD%A0", "/a%20b", "/100%25", "/...", "/a:b", "/messages/-_.~x?a&b=&=c",
	} {
		status, _ := w.raw(get("/mail"+target, ""))
		r := up.take()
		if status != 200 || len(r) != 1 || r[0].RequestURI != target || r[0].Method != "GET" {
			t.Errorf("%s: status %d, upstream saw %v", target, status, r)
		}
	}
}

// TestHeaders generates header sets: the upstream never sees a client-made value of
// any of ours, and never loses the one we set.
func TestHeaders(t *testing.T) {
	up := &seen{}
	g := newWorld(t, up).g
	w := newWorld(t, up)
	_ = g
	raw := w.mint(w.claims("bot"))
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"X-Lanyard-Identity", "X_Lanyard_Identity", "Authorization", "X-Forwarded-For", "X-Forwarded-Uri", "Forwarded", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "Cookie", "Proxy-Authorization", "Proxy-Connection", "Connection", "Keep-Alive", "TE", "Traceparent", "Tracestate", "DPoP", "Via", "Remote-User", "X-Forwarded_Host", "authorization_", "Set-Cookie", "X-Envoy-Peer", "Accept", "X-Good"}
	values := []string{"evil", "close", "keep-alive", "Authorization", "X-Good", "trailers", "close, Authorization", "00-evil", ""}
	passed := 0
	for range 10_000 {
		in := httptest.NewRequest("GET", "/mail/x", nil)
		in.Header.Set("Authorization", "Bearer "+raw)
		for range rng.IntN(6) {
			name := names[rng.IntN(len(names))]
			switch rng.IntN(3) {
			case 0:
				name = strings.ToLower(name)
			case 1:
				name = strings.ReplaceAll(name, "-", "_")
			}
			in.Header.Add(name, values[rng.IntN(len(values))])
		}
		rec := httptest.NewRecorder()
		w.g.ServeHTTP(rec, in)
		got := up.take()
		if rec.Code != 200 {
			if len(got) > 0 {
				t.Fatalf("refused with %d, yet forwarded", rec.Code)
			}
			continue
		}
		passed++
		if len(got) != 1 {
			t.Fatalf("%d requests upstream", len(got))
		}
		for name, v := range got[0].Header {
			switch {
			case name == "Authorization" && len(v) == 1 && v[0] == "Bearer "+canary, name == "Traceparent" && len(v) == 1 && validTrace(v[0]):
			case name == "Accept", name == "X-Good", name == "Accept-Encoding", name == "Te":
			default:
				t.Fatalf("upstream saw %s: %q", name, v)
			}
		}
		if got[0].Header.Get("Authorization") != "Bearer "+canary {
			t.Fatal("the injected header was lost")
		}
	}
	if passed < 1000 {
		t.Errorf("only %d of the sets passed", passed)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("/mail/a%20b", "q=1", "X-Forwarded-For", "evil")
	f.Add("/mail/%2e%2e/x", "a;b", "X_Y", "z")
	f.Add("/mail/x", "%5Fmetho%64=PUT&ACCESS_token=x", "X-Original-Method", "z")
	f.Fuzz(func(t *testing.T, path, query, name, value string) {
		if cleanPath(path) == nil {
			u, err := url.ParseRequestURI(path)
			if err != nil {
				t.Fatalf("accepted %q, which net/url does not: %v", path, err)
			}
			if u.EscapedPath() != path {
				t.Fatalf("%q is read as %q", path, u.EscapedPath())
			}
			for part := range strings.SplitSeq(u.Path, "/") {
				if part == "." || part == ".." {
					t.Fatalf("%q has a dot segment", path)
				}
			}
			if strings.ContainsAny(u.Path, "\\;\x00\r\n") || strings.Contains(u.Path, "//") {
				t.Fatalf("accepted %q", path)
			}
		}
		if cleanQuery(query) == nil {
			values, err := url.ParseQuery(query)
			if err != nil {
				t.Fatalf("accepted query %q: %v", query, err)
			}
			for name := range values {
				if strings.EqualFold(name, "_method") || strings.EqualFold(name, "access_token") {
					t.Fatalf("accepted query %q with %q", query, name)
				}
			}
		}
		in := &http.Request{Method: "GET", ProtoMajor: 1, Header: http.Header{}}
		in.Header.Set(name, value)
		if cleanHeader(in) == nil {
			for name := range in.Header {
				if strings.Contains(name, "_") || strings.HasPrefix(name, "X-Forwarded") || strings.HasPrefix(name, "X-Lanyard-") {
					t.Fatalf("kept %q", name)
				}
			}
		}
	})
}

// FuzzStrict: however the bytes are cut into reads, the same prefix is good.
func FuzzStrict(f *testing.F) {
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nA: b\n\r\n", 3)
	f.Fuzz(func(t *testing.T, s string, step int) {
		if step < 1 {
			step = 1
		}
		var whole, parts framing
		good, total := whole.follow([]byte(s)), 0
		for rest := s; rest != ""; {
			n := min(step, len(rest))
			g := parts.follow([]byte(rest[:n]))
			total += g
			if g < n {
				break
			}
			rest = rest[n:]
		}
		if (good == len(s)) != (total == len(s)) {
			t.Fatalf("%q: %d at once, %d in steps of %d", s, good, total, step)
		}
	})
}
