package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// wire is an upstream that keeps the bytes of each request's head as they came,
// because a server of any library would have read them already.
type wire struct {
	net.Listener
	heads chan string
}

func newWire(t testing.TB) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l, make(chan string, 64)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(c)
		}
	}()
	return w
}

func (w *wire) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	for b := bufio.NewReader(c); ; {
		var head bytes.Buffer
		for !bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")) {
			line, err := b.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
		}
		r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(head.Bytes()), b)))
		if err != nil {
			return
		}
		if r.ContentLength < 0 || r.ContentLength > 0 { // one request a connection: what the reader took of b is lost
			_, _ = io.Copy(io.Discard, r.Body)
			w.heads <- head.String()
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
		w.heads <- head.String()
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
}

// TestSentAsDecided generates requests of good and bad parts. Whatever passes is
// on the wire, byte for byte, what the connector was shown; and nothing the
// caller said about itself, or about hops, is there.
func TestSentAsDecided(t *testing.T) {
	up := newWire(t)
	var shown connector.Request
	w := newWorld(t, &seen{}, func(c *Config) {
		c.Families = []connector.Family{{Name: "any", Open: func([]byte) (connector.Connector, error) { return showing{&shown}, nil }}}
	})
	u, _ := w.view.Upstream("mail")
	moved := *u
	moved.URL, moved.Version = "http://"+up.Addr().String()+"/base%20path/", 2
	w.applyUpstream(&moved)
	raw := w.mint(w.claims("bot"))
	rng := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	segments := []string{"a", "b.c", "me%40x.org", "%20", "~", "-_", "100%25", "!$&'()*+,=:@", "%E4%BD%A0", "..", ".", "", "%2F", "%2e", "a;b", "%c3%a9", "%C3", "\\", "a%00", "%25%32%35", "%2541", "...", "*"}
	parameters := []string{"a=1", "a=%20+b", "=", "&", "q=/?:@", "x=%2F%2e", "%41=b", "a=;", "_method=PUT", "a=%", "a", "b=%C3%28", "a=1&a=2"}
	headers := []string{"X-Good: 1", "x-good: 2", "X_Good: 3", "Accept: */*", "X-Forwarded-For: evil", "X-Forwarded_Host: evil", "X-Original-Url: /evil", "X-Rewrite-Url: /evil", "X-Original-Path: /evil", "Cookie: evil=1", "Proxy-Authorization: evil", "Connection: X-Good", "Connection: Authorization", "Connection: keep-alive, te",
		"Connection: Traceparent", "Keep-Alive: evil", "TE: trailers", "TE: evil", "Transfer-Encoding: chunked", "Content-Length: 3", "Content-Length: 0", "Upgrade: h2c", "HTTP2-Settings: evil", "Dpop: evil", "Forwarded: for=evil", "Via: evil", "Traceparent: 00-evil", "X-Lanyard-Actor: evil", "X-Http-Method-Override: evil", "Content-Type: text/plain", "Trailer: X-T", "Client-Cert: evil", "X-Client-Cert: evil", "Range: bytes=0-1", "If-None-Match: \"x\""}
	passed := 0
	for range 4000 {
		method := pick("GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "get", "BREW")
		target := "/mail"
		for range rng.IntN(4) {
			target += "/" + segments[rng.IntN(len(segments))]
		}
		if rng.IntN(2) == 0 {
			target += "?" + parameters[rng.IntN(len(parameters))]
			for range rng.IntN(3) {
				target += "&" + parameters[rng.IntN(len(parameters))]
			}
		}
		request := method + " " + target + " HTTP/1.1\r\nHost: " + pick("gateway.test", "evil.test", "drive") + "\r\nAuthorization: Bearer " + raw + "\r\n"
		sized, chunked := false, false
		for range rng.IntN(4) {
			h := headers[rng.IntN(len(headers))]
			sized, chunked = sized || h == "Content-Length: 3", chunked || h == "Transfer-Encoding: chunked"
			request += h + "\r\n"
		}
		request += "Connection: close\r\n\r\n"
		if chunked {
			request += "3\r\nabc\r\n0\r\n\r\n"
		} else if sized {
			request += "abc"
		}
		shown = connector.Request{}
		status, answer := w.raw(request)
		var head string
		select {
		case head = <-up.heads:
		default:
		}
		if (status == 200) != (head != "") {
			t.Fatalf("status %d, upstream saw %q, for %q: %s", status, head, request, answer)
		}
		if head == "" {
			continue
		}
		passed++
		want := shown.Method + " /base%20path" + shown.Path
		rest := strings.TrimPrefix(target, "/mail")
		if rest == "" || rest[0] == '?' {
			rest = "/" + rest
		}
		if strings.Contains(rest, "?") {
			want += "?" + shown.Query
		}
		line, fields, _ := strings.Cut(head, "\r\n")
		if line != want+" HTTP/1.1" || line != method+" /base%20path"+rest+" HTTP/1.1" {
			t.Fatalf("decided on %q, sent %q, for %q", want, line, request)
		}
		checkFields(t, request, fields, up.Addr().String())
	}
	if passed < 300 {
		t.Errorf("only %d of the requests passed", passed)
	}
	t.Logf("%d passed", passed)
}

// checkFields looks at header lines as they were on the wire.
func checkFields(t *testing.T, request, fields, host string) {
	t.Helper()
	counts := map[string]int{}
	for line := range strings.SplitSeq(strings.TrimSuffix(fields, "\r\n\r\n"), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		counts[name]++
		switch name {
		case "Host":
			if value != host {
				t.Fatalf("Host %q for %q", value, request)
			}
		case "Authorization":
			if value != "Bearer "+canary {
				t.Fatalf("%q for %q", line, request)
			}
		case "Te":
			if value != "trailers" {
				t.Fatalf("%q for %q", line, request)
			}
		case "Accept", "X-Good", "Content-Type", "Range", "If-None-Match", "Traceparent", "Content-Length", "Transfer-Encoding", "Trailer":
		default:
			t.Fatalf("upstream saw %q, for %q", line, request)
		}
		if strings.Contains(value, "evil") {
			t.Fatalf("upstream saw %q, for %q", line, request)
		}
	}
	if counts["Authorization"] != 1 || counts["Host"] != 1 || counts["Traceparent"] != 1 || counts["Content-Length"]+counts["Transfer-Encoding"] > 1 {
		t.Fatalf("upstream saw %q, for %q", fields, request)
	}
}

// showing keeps what it was asked to recognise.
type showing struct{ last *connector.Request }

func (s showing) Actions() []policy.Action { return anything{}.Actions() }
func (s showing) Recognise(r *connector.Request) (policy.Call, error) {
	*s.last = *r
	return anything{}.Recognise(r)
}

// TestNothingFollows sends a first request that makes whoever reads along lose
// its place, and hides a second one behind it that is refused on its own.
func TestNothingFollows(t *testing.T) {
	up := &seen{}
	w := newWorld(t, up, func(c *Config) { c.Domain = "gw.test" })
	auth := "Authorization: Bearer " + w.mint(w.claims("bot")) + "\r\n"
	hidden := "GET /mail/hidden HTTP/1.1\r\nHost: x\r\n" + auth + "X-A: b\n\r\n"
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	for name, first := range map[string]string{
		"upgrade without a token":     "GET /mail/x HTTP/1.1\r\nHost: x\r\n" + upgrade,
		"upgrade of what is unknown":  "GET /mail/unknown HTTP/1.1\r\nHost: x\r\n" + auth + upgrade,
		"upgrade of no upstream":      "GET /nothing/x HTTP/1.1\r\nHost: x\r\n" + auth + upgrade,
		"upgrade where it is not on":  "GET /drive/x HTTP/1.1\r\nHost: x\r\n" + auth + upgrade,
		"upgrade that does not":       "GET /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + upgrade,
		"upgrade without Connection":  "GET /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Upgrade: websocket\r\n\r\n",
		"upgrade of the metadata":     "GET " + wellKnown + "/mail HTTP/1.1\r\nHost: x\r\n" + upgrade,
		"upgrade of other metadata":   "GET " + wellKnown + "/none HTTP/1.1\r\nHost: x\r\n" + upgrade,
		"upgrade of the metadata, P":  "POST " + wellKnown + "/mail HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + upgrade,
		"HTTP/1.0 with chunks":        "POST /mail/x HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n" + auth + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(hidden)),
		"HTTP/1.2 with chunks":        "POST /mail/x HTTP/1.2\r\nHost: x\r\n" + auth + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(hidden)),
		"length that is none":         "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: -0\r\n\r\n",
		"length with a comma":         "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 3, 3\r\n\r\nabc",
		"length past a space":         "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length : 500\r\n\r\n",
		"length in hex":               "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 0x3\r\n\r\nabc",
		"chunk of a signed size":      "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
		"chunk larger than it is":     "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
		"chunk past a bare LF":        "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
		"chunk extension, bare LF":    "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n",
		"encoding behind a tab":       "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding:\t\x0bchunked\r\n\r\n0\r\n\r\n",
		"encoding under a twin":       "POST /mail/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + auth + "Transfer_Encoding: chunked\r\n\r\n",
		"trailer that is folded":      "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Trailer: A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n c\r\n\r\n",
		"HTTP/0.9":                    "GET /mail/x\r\n",
		"two hosts":                   "GET /mail/x HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n" + auth + "\r\n",
		"no host":                     "GET /mail/x HTTP/1.1\r\nConnection: close\r\n" + auth + "\r\n",
		"a host that is a path":       "GET /mail/x HTTP/1.1\r\nHost: x/../mail\r\nConnection: close\r\n" + auth + "\r\n",
		"a host with a user":          "GET /x HTTP/1.1\r\nHost: mail.gw.test@drive.gw.test\r\nConnection: close\r\n" + auth + "\r\n",
		"a host below an upstream":    "GET /x HTTP/1.1\r\nHost: a.mail.gw.test\r\nConnection: close\r\n" + auth + "\r\n",
		"a host and another upstream": "GET /mail/x HTTP/1.1\r\nHost: drive.gw.test\r\nConnection: close\r\n" + auth + "\r\n",
	} {
		_, all := w.raw(first + hidden)
		for _, r := range up.take() {
			if r.URL.Path == "/hidden" || strings.HasPrefix(r.URL.Path, "/mail") {
				t.Errorf("%s: the upstream saw %s %s", name, r.Method, r.RequestURI)
			}
		}
		if n := strings.Count(all, "HTTP/1.1 200"); n > 1 {
			t.Errorf("%s: %d answers of 200", name, n)
		}
	}
}

// TestHosts: the host names the upstream under our domain, and only there.
func TestHosts(t *testing.T) {
	up := &seen{}
	w := newWorld(t, up, func(c *Config) { c.Domain = "GW.test" })
	auth := "Authorization: Bearer " + w.mint(w.claims("bot")) + "\r\n"
	for host, want := range map[string]string{
		"mail.gw.test": "/mail/x", "MAIL.GW.TEST": "/mail/x", "mail.gw.test:8441": "/mail/x",
		"gateway.test": "/x", "gw.test": "/x", ".gw.test": "/x", "mailgw.test": "/x", "mail.gw.test.evil.test": "/x", "drive.gw.test": "", "127.0.0.1": "/x", "[::1]:80": "/x",
	} {
		status, _ := w.raw("GET /mail/x HTTP/1.1\r\nHost: " + host + "\r\n" + auth + "Connection: close\r\n\r\n")
		var got string
		for _, r := range up.take() {
			got += r.RequestURI
		}
		if got != want || (status == 200) != (want != "") {
			t.Errorf("Host %s: %d, sent %q, want %q", host, status, got, want)
		}
	}
}

// TestLongHost: a stranger cannot put an event on record that is too large to be read again.
func TestLongHost(t *testing.T) {
	w := newWorld(t, &seen{}, func(c *Config) { c.Domain = "gw.test" })
	status, _ := w.raw("GET /x HTTP/1.1\r\nHost: " + strings.Repeat("a", ledger.MaxLeaf-40) + ".gw.test\r\nConnection: close\r\n\r\n")
	eventually(t, "the event", func() bool { return len(w.plane.recorded()) > 0 })
	if e := w.plane.recorded()[0]; status != 404 || len(e.Upstream) > 255 || len(e.Leaf()) > ledger.MaxLeaf {
		t.Errorf("status %d, upstream of %d bytes, leaf of %d", status, len(e.Upstream), len(e.Leaf()))
	}
}

// TestHostileTLS sends the same kind of bytes where nobody reads along before
// net/http: each is refused, or sent on in one reading only.
func TestHostileTLS(t *testing.T) {
	up := newWire(t)
	w := newWorld(t, &seen{})
	u, _ := w.view.Upstream("mail")
	moved := *u
	moved.URL, moved.Version = "http://"+up.Addr().String(), 2
	w.applyUpstream(&moved)
	front := w.tls(nil)
	auth := "Authorization: Bearer " + w.mint(w.claims("bot")) + "\r\n"
	for name, request := range map[string]string{
		"length and chunks":  "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /mail/hidden HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n",
		"two lengths":        "POST /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
		"bare LF":            "GET /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "X-Good: b\nX-Forwarded-For: evil\r\nConnection: close\r\n\r\n",
		"folded":             "GET /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "X-Good: b\r\n X-Forwarded-For: c\r\nConnection: close\r\n\r\n",
		"twin":               "GET /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "X_Forwarded_For: evil\r\nConnection: close\r\n\r\n",
		"chunks in HTTP/1.0": "POST /mail/x HTTP/1.0\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"h2c":                "GET /mail/x HTTP/1.1\r\nHost: x\r\n" + auth + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
		"dots":               "GET /mail/../drive HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n",
	} {
		c, err := tls.Dial("tcp", front.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, request)
		_, _ = io.ReadAll(c)
		c.Close()
		for n := 0; ; n++ {
			select {
			case head := <-up.heads:
				line, fields, _ := strings.Cut(head, "\r\n")
				if n > 0 || !strings.HasSuffix(line, " /x HTTP/1.1") {
					t.Errorf("%s: sent %q", name, head)
				}
				checkFields(t, name, fields, up.Addr().String())
				continue
			default:
			}
			break
		}
	}
}

// TestCredentialInQuery: a query is no place for a token (RFC 9700 section 4.3.2),
// and an upstream that takes one there would serve another than who was decided on.
func TestCredentialInQuery(t *testing.T) {
	up := &seen{}
	w := newWorld(t, up)
	raw := w.mint(w.claims("bot"))
	for _, q := range []string{"access_token=x", "a=b&access_token=x", "%61ccess_token=x", "access%5Ftoken=x", "ACCESS_TOKEN=x", "access_token", "access_token=" + url.QueryEscape(raw)} {
		if res, body := w.do(w.request("GET", "/mail/x?"+q, raw, nil)); res.StatusCode != 400 || len(up.take()) > 0 {
			t.Errorf("%s: %d %s", q, res.StatusCode, body)
		}
	}
}
