package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func jwkOf(k ed25519.PrivateKey) string {
	return `{"kty":"OKP","crv":"Ed25519","x":"` + strict64.EncodeToString(k.Public().(ed25519.PublicKey)) + `"}`
}

func TestProof(t *testing.T) {
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	head := `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + jwkOf(k) + `}`
	body := fmt.Sprintf(`{"jti":"1","htm":"GET","htu":"%s/a","iat":%d,"ath":"%s"}`, testAudience, noon.Unix(), TokenHash("token"))
	want := ProofWant{Method: "GET", URL: testAudience + "/a?q=1", TokenHash: TokenHash("token"), Now: noon}
	try := func(raw string, want ProofWant) (string, error) {
		p, err := ParseProof(raw)
		if err != nil {
			return "", err
		}
		return p.Check(want)
	}
	jkt, err := try(sign(k, head, body), want)
	if tp, _ := Thumbprint([]byte(jwkOf(k))); err != nil || jkt != tp {
		t.Fatal(jkt, err)
	}
	_, other, _ := ed25519.GenerateKey(rand.Reader)
	alter := func(old, new string) string { return sign(k, head, strings.Replace(body, old, new, 1)) }
	h := func(old, new string) string { return sign(k, strings.Replace(head, old, new, 1), body) }
	for name, raw := range map[string]string{
		"forged": sign(other, head, body), "method": alter("GET", "POST"), "method case": alter("GET", "get"), "url": alter("/a", "/b"),
		"slash": alter("/a", "/a/"), "host": alter("127.0.0.1", "127.0.0.2"), "port": alter(":8441", ":8442"), "path case": alter("/a", "/A"),
		"userinfo": alter("http://", "http://u@"), "relative": alter("http://127.0.0.1:8441", ""), "scheme": alter("http:", "https:"),
		"ath": alter(TokenHash("token"), TokenHash("t")), "no ath": alter(`"ath"`, `"x"`), "no jti": alter(`"jti"`, `"x"`), "no iat": alter(`"iat"`, `"x"`),
		"huge jti": alter(`"1"`, `"`+strings.Repeat("x", 300)+`"`), "typ": h("dpop+jwt", "JWT"), "token as proof": h("dpop+jwt", "at+jwt"),
		"private": h(`"kty"`, `"d":"AA","kty"`), "symmetric": h(jwkOf(k), `{"kty":"oct","k":"AA"}`), "no key": h(`"jwk"`, `"kid"`),
		"jku": h(`{"typ"`, `{"jku":"http://127.0.0.1","typ"`), "alg none": h(`"EdDSA"`, `"none"`), "alg mixed": h(`"EdDSA"`, `"ES256"`),
		"key for another alg": h(`"kty"`, `"alg":"ES256","kty"`), "encryption key": h(`"kty"`, `"use":"enc","kty"`),
		"duplicate": alter(`{"jti"`, `{"htm":"GET","jti"`), "variant": alter(`{"jti"`, `{"HTM":"GET","jti"`),
	} {
		_, err := try(raw, want)
		wantCode(t, name, err, InvalidProof)
	}
	for name, now := range map[string]time.Time{"stale": noon.Add(ProofWindow + time.Second), "future": noon.Add(-Skew - time.Second)} {
		w := want
		w.Now = now
		_, err := try(sign(k, head, body), w)
		wantCode(t, name, err, InvalidProof)
	}
	w := want
	w.Nonce = func(n string) bool { return n == "n1" }
	_, err = try(sign(k, head, body), w)
	wantCode(t, "nonce", err, UseNonce)
	if _, err := try(alter(`{"jti"`, `{"nonce":"n1","jti"`), w); err != nil {
		t.Error(err)
	}
}

func TestSameURL(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"https://A.example/x?y#z", "https://a.example:443/x", true}, {"HTTP://a/", "http://a:80", true},
		{"http://a/x", "http://a/x/", false}, {"http://a/%2e", "http://a/.", false}, {"http://a:443/", "https://a/", false}, {"//a/x", "http://a/x", false},
	} {
		if sameURL(c.a, c.b) != c.same {
			t.Errorf("%s, %s: %v", c.a, c.b, !c.same)
		}
	}
}

func TestAssertion(t *testing.T) {
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	body := fmt.Sprintf(`{"iss":"%s","sub":"%[1]s","aud":"%s","jti":"1","iat":%d,"exp":%d}`, subject, testIssuer, noon.Unix(), noon.Unix()+60)
	try := func(raw string, jwk []byte, now time.Time) error {
		a, err := ParseAssertion(raw)
		if err != nil {
			return err
		}
		return a.Verify(jwk, []string{testIssuer}, now)
	}
	key := []byte(jwkOf(k))
	if err := try(sign(k, `{"alg":"EdDSA"}`, body), key, noon); err != nil {
		t.Fatal(err)
	}
	js, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: ec}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := js.Sign([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := signed.CompactSerialize()
	pub, _ := jose.JSONWebKey{Key: &ec.PublicKey}.MarshalJSON()
	if err := try(raw, pub, noon); err != nil {
		t.Error("ES256 by go-jose: ", err)
	}
	wantCode(t, "another key", try(raw, key, noon), InvalidClient)
	wantCode(t, "expired", try(raw, pub, noon.Add(time.Minute)), InvalidClient)
	wantCode(t, "future", try(raw, pub, noon.Add(-Skew-time.Second)), InvalidClient)
	alter := func(old, new string) string { return sign(k, `{"alg":"EdDSA"}`, strings.Replace(body, old, new, 1)) }
	for name, raw := range map[string]string{
		"iss is not sub": alter(`"iss":"spiffe`, `"iss":"x`), "two audiences": alter(`"`+testIssuer+`"`, `["`+testIssuer+`","b"]`),
		"audience": alter(testIssuer, "http://b"), "no iat": alter(`"iat"`, `"x"`), "no exp": alter(`"exp"`, `"x"`), "no jti": alter(`"jti"`, `"x"`),
		"long": alter(fmt.Sprint(noon.Unix()+60), fmt.Sprint(noon.Unix()+900)), "token": sign(k, `{"alg":"EdDSA","typ":"at+jwt"}`, body),
		"embedded key": sign(k, `{"alg":"EdDSA","jwk":`+jwkOf(k)+`}`, body), "duplicate": alter(`{"iss"`, `{"aud":"x","iss"`),
	} {
		wantCode(t, name, try(raw, key, noon), InvalidClient)
	}
}

func BenchmarkProof(b *testing.B) {
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	raw := sign(k, `{"typ":"dpop+jwt","alg":"EdDSA","jwk":`+jwkOf(k)+`}`, fmt.Sprintf(`{"jti":"1","htm":"GET","htu":"%s","iat":%d}`, testAudience, noon.Unix()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseProof(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	k, s, v := world(f)
	raw, _ := s.Mint(claims())
	f.Add(payload(f, raw))
	f.Add(`{"iss":"a","ISS":"b"}`)
	// What is accepted, an independent JSON reader reads the same, and only our own raw token passes unsigned.
	f.Fuzz(func(t *testing.T, body string) {
		if c, err := v.Verify(body, testIssuer, "", noon); err == nil {
			t.Fatalf("accepted what nobody signed: %v", c)
		}
		c, err := v.Verify(sign(k.private, `{"alg":"EdDSA","typ":"at+jwt","kid":"`+k.ID+`"}`, body), testIssuer, "", noon)
		if err != nil {
			return
		}
		again, err := s.Mint(c)
		if err != nil {
			return
		}
		d, err := v.Verify(again, testIssuer, "", noon)
		if err != nil || fmt.Sprint(c) != fmt.Sprint(d) {
			t.Fatalf("%v became %v (%v)", c, d, err)
		}
	})
}

func FuzzProof(f *testing.F) {
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	f.Add(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":`+jwkOf(k)+`}`, `{"jti":"1","htm":"GET","htu":"http://a","iat":1}`)
	f.Fuzz(func(t *testing.T, head, body string) {
		p, err := ParseProof(sign(k, head, body))
		if tp, _ := Thumbprint([]byte(jwkOf(k))); err == nil && (p.JKT != tp || p.ID == "" || len(p.ID) > maxID) {
			t.Fatalf("accepted %v", p)
		}
		if _, err := ParseProof(head + "." + body); err == nil {
			t.Fatal("accepted what nobody signed")
		}
	})
}

func FuzzAssertion(f *testing.F) {
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	f.Add(`{"alg":"EdDSA"}`, `{"iss":"a","sub":"a","aud":"b","jti":"1","iat":1,"exp":2}`)
	f.Fuzz(func(t *testing.T, head, body string) {
		a, err := ParseAssertion(sign(k, head, body))
		if err == nil && (a.Subject == "" || a.ID == "" || len(a.audience) != 1 || a.SignedBy(decoyKey)) {
			t.Fatalf("accepted %v", a)
		}
	})
}

var decoyKey = []byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`)

// TestClientKey: what a client signs is what the other side accepts, with either kind of key.
func TestClientKey(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for _, private := range []crypto.Signer{ed, ec} {
		k, err := NewClientKey(private)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := k.Assert(rand.Reader, noon, subject.String(), testIssuer)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ParseAssertion(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Verify(k.JWK(), []string{testIssuer}, noon); err != nil || a.Subject != subject.String() {
			t.Error(k.Alg(), a.Subject, err)
		}
		u, _ := url.Parse(testAudience + "?q=1#f")
		if raw, err = k.Prove(rand.Reader, noon, "POST", u, "access", "n1"); err != nil {
			t.Fatal(err)
		}
		p, err := ParseProof(raw)
		if err != nil {
			t.Fatal(err)
		}
		jkt, err := p.Check(ProofWant{Method: "POST", URL: testAudience, TokenHash: TokenHash("access"), Nonce: func(s string) bool { return s == "n1" }, Now: noon})
		if want, _ := Thumbprint(k.JWK()); err != nil || jkt != want {
			t.Error(k.Alg(), jkt, err)
		}
		if s := fmt.Sprintf("%v %+v %#v", k, k, k); s != "[client key] [client key] [client key]" {
			t.Error("a key prints itself: ", s)
		}
	}
	other, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if _, err := NewClientKey(other); err == nil {
		t.Error("P-384 was taken")
	}
	if _, err := (ClientKey{}).Assert(rand.Reader, noon, "a", "b"); err == nil {
		t.Error("no key signed")
	}
}

func TestGivenNonces(t *testing.T) {
	var g GivenNonces
	a, _ := url.Parse("https://a/x")
	b, _ := url.Parse("https://b/x")
	g.Learn(a, "1")
	g.Learn(a, "")
	g.Learn(a, strings.Repeat("x", 300))
	if g.For(a) != "1" || g.For(b) != "" {
		t.Error(g.For(a), g.For(b))
	}
}
