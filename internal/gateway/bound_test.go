package gateway

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// prover makes DPoP proofs (RFC 9449 section 4.2) without any code of ours.
type prover struct {
	key ed25519.PrivateKey
	jwk string
}

func newProver(t testing.TB) prover {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return prover{key, `{"crv":"Ed25519","kty":"OKP","x":"` + b64(public) + `"}`}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// thumbprint is RFC 7638: the members are in order already.
func (p prover) thumbprint(t testing.TB) string {
	print, err := token.Thumbprint([]byte(p.jwk))
	if err != nil {
		t.Fatal(err)
	}
	return print
}

func (p prover) proof(claims map[string]any) string {
	payload, _ := json.Marshal(claims)
	signed := b64([]byte(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":`+p.jwk+`}`)) + "." + b64(payload)
	return signed + "." + b64(ed25519.Sign(p.key, []byte(signed)))
}

// TestDPoP calls over TLS and HTTP/2 with bound tokens.
func TestDPoP(t *testing.T) {
	up := &seen{}
	w := newWorld(t, up)
	front := w.tls(nil)
	agent := front.Client()
	p, thief := newProver(t), newProver(t)
	c := w.claims("bot")
	c.Key.JKT = p.thumbprint(t)
	raw := w.mint(c)
	send := func(proofs ...string) (*http.Response, string) {
		r, _ := http.NewRequest("GET", front.URL+"/mail/x?q=1", nil)
		r.Header["Authorization"], r.Header["Dpop"] = []string{"DPoP " + raw}, proofs
		r.Header.Set("Cookie", "evil=1")
		res, err := agent.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		if res.ProtoMajor != 2 {
			t.Fatalf("not HTTP/2 but %s", res.Proto)
		}
		return res, string(b)
	}
	var nonce string
	claims := func(change ...any) map[string]any {
		m := map[string]any{"jti": rand.Text(), "htm": "GET", "htu": testScope + "/mail/x", "iat": time.Now().Unix(), "ath": token.TokenHash(raw), "nonce": nonce}
		for i := 0; i < len(change); i += 2 {
			if m[change[i].(string)] = change[i+1]; change[i+1] == nil {
				delete(m, change[i].(string))
			}
		}
		return m
	}
	res, body := send(p.proof(claims("nonce", nil)))
	if res.StatusCode != 401 || !strings.Contains(res.Header.Get("Www-Authenticate"), `error="use_dpop_nonce"`) {
		t.Fatalf("without a nonce: %d %s", res.StatusCode, body)
	}
	nonce = res.Header.Get("Dpop-Nonce")
	eventually(t, "nothing is held", func() bool { return w.g.recorder.held.Load() == 0 })
	if e := w.plane.recorded(); len(e) != 0 {
		t.Errorf("asking for a nonce is on record as an ending: %+v", e)
	}
	good := p.proof(claims())
	if res, body := send(good); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if r := up.take(); len(r) != 1 || r[0].Header.Get("Dpop") != "" || r[0].Header.Get("Cookie") != "" || r[0].Header.Get("Authorization") != "Bearer "+canary || r[0].RequestURI != "/x?q=1" {
		t.Errorf("upstream saw %v", r)
	}
	for name, proofs := range map[string][]string{
		"again": {good}, "none": nil, "two": {p.proof(claims()), p.proof(claims())}, "empty": {""}, "not one": {"x.y.z"}, "joined": {p.proof(claims()) + ", " + p.proof(claims())},
		"method": {p.proof(claims("htm", "POST"))}, "method's case": {p.proof(claims("htm", "get"))}, "path": {p.proof(claims("htu", testScope+"/mail/y"))}, "path's case": {p.proof(claims("htu", testScope+"/mail/X"))},
		"slash": {p.proof(claims("htu", testScope+"/mail/x/"))}, "upstream": {p.proof(claims("htu", testScope+"/drive/x"))}, "host": {p.proof(claims("htu", front.URL+"/mail/x"))}, "scheme": {p.proof(claims("htu", strings.Replace(testScope, "http:", "https:", 1)+"/mail/x"))},
		"token": {p.proof(claims("ath", token.TokenHash("another")))}, "no token": {p.proof(claims("ath", nil))}, "old": {p.proof(claims("iat", time.Now().Add(-time.Hour).Unix()))}, "early": {p.proof(claims("iat", time.Now().Add(time.Hour).Unix()))},
		"no jti": {p.proof(claims("jti", nil))}, "long jti": {p.proof(claims("jti", strings.Repeat("j", 1<<12)))}, "nonce": {p.proof(claims("nonce", "made up"))}, "key": {thief.proof(claims())}, "signature": {good[:len(good)-8] + "AAAAAAAA"},
	} {
		res, body := send(proofs...)
		if res.StatusCode != 401 && res.StatusCode != 400 {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
		if r := up.take(); len(r) > 0 {
			t.Errorf("%s: reached the upstream", name)
		}
	}
	once := p.proof(claims())
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { send(once) })
	}
	wg.Wait()
	if n := len(up.take()); n != 1 {
		t.Errorf("one proof, sent 50 times at once, was good %d times", n)
	}
}

func newCertificate(t testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestCertificateBound: a token bound to a certificate is good on a connection
// that proved to hold it, and on no other (RFC 8705 section 3).
func TestCertificateBound(t *testing.T) {
	up := &seen{}
	w := newWorld(t, up)
	front := w.tls(&tls.Config{ClientAuth: tls.RequestClientCert})
	mine, other := newCertificate(t), newCertificate(t)
	c := w.claims("bot")
	c.Key.X5TS256 = token.CertThumbprint(mine.Certificate[0])
	bound, free := w.mint(c), w.mint(w.claims("bot"))
	for _, try := range []struct {
		name  string
		shown []tls.Certificate
		raw   string
		want  int
	}{
		{"the certificate", []tls.Certificate{mine}, bound, 200}, {"another", []tls.Certificate{other}, bound, 401}, {"none", nil, bound, 401},
		{"behind another", []tls.Certificate{{Certificate: [][]byte{other.Certificate[0], mine.Certificate[0]}, PrivateKey: other.PrivateKey}}, bound, 401},
		{"an unbound token", []tls.Certificate{other}, free, 200},
	} {
		tr := front.Client().Transport.(*http.Transport).Clone()
		tr.TLSClientConfig.Certificates = try.shown
		r, _ := http.NewRequest("GET", front.URL+"/mail/x", nil)
		r.Header.Set("Authorization", "Bearer "+try.raw)
		r.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(mine.Certificate[0])+":") // RFC 9440 is for a proxy to say
		res, err := (&http.Client{Transport: tr}).Do(r)
		if err != nil {
			t.Fatal(try.name, err)
		}
		res.Body.Close()
		tr.CloseIdleConnections()
		reached := up.take()
		if res.StatusCode != try.want || (len(reached) == 1) != (try.want == 200) {
			t.Errorf("%s: %d, %d upstream", try.name, res.StatusCode, len(reached))
		}
		for _, r := range reached {
			if r.Header.Get("Client-Cert") != "" {
				t.Errorf("%s: the upstream saw a Client-Cert", try.name)
			}
		}
	}
	if res, _ := w.do(w.request("GET", "/mail/x", bound, nil)); res.StatusCode != 401 || len(up.take()) > 0 {
		t.Errorf("without TLS: %d", res.StatusCode)
	}
}

// TestHTTP2 goes by HTTP/2 from the agent to the upstream: the target as it was,
// bodies, trailers and interim responses both ways, and the cord.
func TestHTTP2(t *testing.T) {
	back := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			ticking(rw, r)
			return
		}
		rw.Header().Set("Link", "</style.css>")
		rw.Header().Set("Set-Cookie", "early=1")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Set("Trailer", "X-Sum")
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "%s %s %s %s %s %s", r.Proto, r.Method, r.RequestURI, b, r.Trailer.Get("X-In"), r.Header.Get("Authorization"))
		rw.Header().Set("X-Sum", "42")
		rw.Header().Set(http.TrailerPrefix+"X-Late", "43")
		rw.Header().Set(http.TrailerPrefix+"Set-Cookie", "late=1")
	}))
	back.EnableHTTP2 = true
	back.StartTLS()
	defer back.Close()
	w := newWorld(t, http.NotFoundHandler())
	u, _ := w.view.Upstream("mail")
	moved := *u
	moved.URL, moved.Version = back.URL, 2
	w.apply(feed.Change{Upstream: &moved})
	b, err := w.g.backend("mail")
	if err != nil {
		t.Fatal(err)
	}
	b.transport.TLSClientConfig = back.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	front := w.tls(nil)
	call := func(method, path string, body io.Reader) *http.Response {
		r, _ := http.NewRequest(method, front.URL+path, body)
		r.Header.Set("Authorization", "Bearer "+w.mint(w.claims("bot")))
		r.Header.Set("Te", "trailers")
		r.Trailer = http.Header{"X-In": {"in"}}
		res, err := front.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := call("PUT", "/mail/a%20b/me%40x?q=%2F&q=", io.MultiReader(strings.NewReader("body")))
	got, err := io.ReadAll(res.Body)
	if want := "HTTP/2.0 PUT /a%20b/me%40x?q=%2F&q= body in Bearer " + canary; err != nil || string(got) != want || res.ProtoMajor != 2 {
		t.Errorf("%q %v %s", got, err, res.Proto)
	}
	if res.Trailer.Get("X-Sum") != "42" || res.Trailer.Get("X-Late") != "43" || res.Trailer.Get("Set-Cookie") != "" || res.Header.Get("Set-Cookie") != "" {
		t.Errorf("trailers %v, header %v", res.Trailer, res.Header)
	}
	stream := call("GET", "/mail/stream", nil)
	lines := bufio.NewReader(stream.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "data: tick\n" {
		t.Fatal(line, err)
	}
	w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: ids("bot"), At: time.Now()}})
	if cutShort(t, lines) == nil {
		t.Error("the stream ended as if it were whole")
	}
}

// TestNonceSurvivesInterim: an interim response does not take the next nonce away.
func TestNonceSurvivesInterim(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("DPoP-Nonce", "evil")
		rw.WriteHeader(http.StatusEarlyHints)
	}), func(c *Config) {
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	p := newProver(t)
	c := w.claims("bot")
	c.Key.JKT = p.thumbprint(t)
	raw := w.mint(c)
	old := w.g.nonces.Make(now)
	mu.Lock()
	for w.g.nonces.Make(now) == old && now.Before(c.Expires.Add(-time.Second)) {
		now = now.Add(time.Second)
	}
	mu.Unlock()
	r := w.request("GET", "/mail/x", raw, nil)
	r.Header.Set("Authorization", "DPoP "+raw)
	r.Header.Set("DPoP", p.proof(map[string]any{"jti": rand.Text(), "htm": "GET", "htu": testScope + "/mail/x", "iat": now.Unix(), "ath": token.TokenHash(raw), "nonce": old}))
	res, body := w.do(r)
	if next := res.Header.Get("DPoP-Nonce"); res.StatusCode != 200 || next == "" || next == old || next == "evil" {
		t.Errorf("%d %s, nonce %q after %q", res.StatusCode, body, next, old)
	}
	_, answer := w.raw("GET /mail/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + w.mint(w.claims("bot")) + "\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 103") || !strings.Contains(answer, "HTTP/1.1 200") || strings.Contains(answer, "evil") {
		t.Errorf("%q", answer)
	}
}

// TestWebSocket makes the handshake of RFC 6455 by hand and sends a frame each way.
func TestWebSocket(t *testing.T) {
	w := newWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" || r.Header.Get("Authorization") != "Bearer "+canary || r.Header.Get("Cookie") != "" {
			http.Error(rw, "no", http.StatusTeapot)
			return
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		c, b, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(b, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSet-Cookie: evil=1\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: chat\r\n\r\n\x81\x05first", base64.StdEncoding.EncodeToString(sum[:]))
		b.Flush()
		frame := make([]byte, 10)
		_, _ = io.ReadFull(b, frame)
		_, _ = c.Write(frame)
	}))
	bot := w.mint(w.claims("bot"))
	head := "GET /mail/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + bot + "\r\nCookie: evil=1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
	c, b := w.dial(fmt.Sprintf(head, "ws"))
	res, err := http.ReadResponse(b, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || res.Header.Get("Sec-WebSocket-Protocol") != "chat" || res.Header.Get("Set-Cookie") != "" {
		t.Fatalf("%v %v", res, err)
	}
	frame := make([]byte, 7)
	if _, err := io.ReadFull(b, frame); err != nil || string(frame) != "\x81\x05first" {
		t.Fatalf("%q %v", frame, err)
	}
	_, _ = c.Write([]byte("\x81\x84\r\n\n\x00abcd")) // a masked frame, of bytes that HTTP would stumble over
	if got, err := io.ReadAll(b); err != nil || string(got) != "\x81\x84\r\n\n\x00abcd" {
		t.Errorf("%q %v", got, err)
	}
	_, b = w.dial(fmt.Sprintf(head, "other"))
	if res, err := http.ReadResponse(b, nil); err != nil || res.StatusCode != http.StatusTeapot || !res.Close {
		t.Errorf("an upgrade that the upstream refuses: %v %v", res, err)
	}
	_, b = w.dial(strings.Replace(fmt.Sprintf(head, "ws"), "/mail/", "/drive/", 1))
	if res, err := http.ReadResponse(b, nil); err != nil || res.StatusCode != 401 || !res.Close {
		t.Errorf("an upgrade with a token for another: %v %v", res, err)
	}
	drive, grant := w.claims("bot"), all("bot")
	drive.Audience, grant.ID, grant.Upstream = testScope+"/drive", "bot/drive", "drive"
	w.apply(feed.Change{Grant: grant})
	_, b = w.dial(fmt.Sprintf(strings.NewReplacer("/mail/", "/drive/", bot, w.mint(drive)).Replace(head), "ws"))
	if res, err := http.ReadResponse(b, nil); err != nil || res.StatusCode != 400 || !res.Close {
		t.Errorf("an upgrade where it is not enabled: %v %v", res, err)
	}
	eventually(t, "four events", func() bool { return len(w.plane.recorded()) == 4 })
}
