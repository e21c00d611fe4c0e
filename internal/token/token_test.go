package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

const (
	testIssuer   = "http://127.0.0.1:8440"
	testAudience = "http://127.0.0.1:8441/mail"
)

var (
	noon    = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	subject = identity.MustID("spiffe://lanyard.local/agent/invoice-bot")
)

func testKey(t testing.TB) SigningKey {
	t.Helper()
	k, err := NewKey(rand.Reader, noon.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func world(t testing.TB) (SigningKey, *Signer, *Verifier) {
	t.Helper()
	k := testKey(t)
	s, err := NewSigner(k)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ParseJWKS(s.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	return k, s, v
}

func claims() Claims {
	return Claims{ID: "tok_1", Issuer: testIssuer, Client: subject.String(), Audience: testAudience,
		Scope: "read", Issued: noon, Expires: noon.Add(5 * time.Minute), Chain: identity.Alone(subject, 3),
		Owner: "maya", Credential: "cred_1", Key: Confirmation{JKT: "abc"}}
}

// sign makes a JWS of any header and payload, as an attacker would.
func sign(k ed25519.PrivateKey, header, payload string) string {
	s := strict64.EncodeToString([]byte(header)) + "." + strict64.EncodeToString([]byte(payload))
	return s + "." + strict64.EncodeToString(ed25519.Sign(k, []byte(s)))
}

func payload(t testing.TB, raw string) string {
	t.Helper()
	b, err := decode64(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wantCode(t *testing.T, name string, err error, code string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%s: got %v, want code %s", name, err, code)
	}
}

func TestMintVerify(t *testing.T) {
	_, s, v := world(t)
	want := claims()
	other := identity.MustID("spiffe://lanyard.local/service/planner")
	for _, chain := range []identity.Chain{identity.Alone(subject, 3), {{ID: subject, Generation: 3}, {ID: other}}, {{ID: subject}, {ID: other, Generation: 1}, {ID: identity.MustID("spiffe://lanyard.local/person/maya"), Generation: 9}}} {
		want.Chain, want.Task = chain, map[int]string{2: "task_1"}[len(chain)]
		raw, err := s.Mint(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Verify(raw, testIssuer, testAudience, noon)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if !bytes.Equal(a, b) {
			t.Errorf("got  %s\nwant %s", a, b)
		}
		// A library nobody here wrote agrees on what was signed.
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(s.JWKS(), &set); err != nil || len(set.Keys) != 1 {
			t.Fatal(err)
		}
		j, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := j.Verify(set.Keys[0]); err != nil || string(b) != payload(t, raw) {
			t.Errorf("go-jose: %v", err)
		}
	}
}

func TestRefusedTokens(t *testing.T) {
	k, s, v := world(t)
	good, err := s.Mint(claims())
	if err != nil {
		t.Fatal(err)
	}
	head, body := `{"alg":"EdDSA","typ":"at+jwt","kid":"`+k.ID+`"}`, payload(t, good)
	if _, err := v.Verify(sign(k.private, head, body), testIssuer, testAudience, noon); err != nil {
		t.Fatal("the forger's own tool makes no good token: ", err)
	}
	h := func(s string) string { return sign(k.private, strings.Replace(head, `{`, `{`+s+`,`, 1), body) }
	alter := func(old, new string) string {
		if !strings.Contains(body, old) {
			t.Fatalf("no %s in %s", old, body)
		}
		return sign(k.private, head, strings.Replace(body, old, new, 1))
	}
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	mac := hmac.New(sha256.New, k.private.Public().(ed25519.PublicKey))
	hs := strict64.EncodeToString([]byte(`{"alg":"HS256","typ":"at+jwt","kid":"`+k.ID+`"}`)) + "." + strings.Split(good, ".")[1]
	mac.Write([]byte(hs))
	none := strict64.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"`+k.ID+`"}`)) + "." + strings.Split(good, ".")[1] + "."
	embedded := strings.Replace(head, `{`, `{"jwk":{"kty":"OKP","crv":"Ed25519","x":"`+
		strict64.EncodeToString(stranger.Public().(ed25519.PublicKey))+`"},`, 1)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: rsaKey},
		(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", k.ID))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := rs.Sign([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	rs256, _ := signed.CompactSerialize()
	for name, raw := range map[string]string{
		"empty": "", "forged": sign(stranger, head, body), "none": none, "none with signature": none + "AA",
		"HS256 with the public key": hs + "." + strict64.EncodeToString(mac.Sum(nil)), "RS256": rs256,
		"embedded key": sign(stranger, embedded, body), "jku": h(`"jku":"http://127.0.0.1/"`), "x5u": h(`"x5u":"http://127.0.0.1/"`),
		"x5c": h(`"x5c":["AA"]`), "crit": h(`"crit":["exp"]`), "b64": h(`"b64":false`), "duplicate header": h(`"alg":"EdDSA"`),
		"variant header": h(`"ALG":"none"`), "no kid": sign(k.private, `{"alg":"EdDSA","typ":"at+jwt"}`, body),
		"id token": sign(k.private, strings.Replace(head, "at+jwt", "JWT", 1), body), "proof": sign(k.private, strings.Replace(head, "at+jwt", "dpop+jwt", 1), body),
		"assertion": sign(k.private, strings.Replace(head, "at+jwt", "client-authentication+jwt", 1), body),
		"typ case":  sign(k.private, strings.Replace(head, "at+jwt", "AT+JWT", 1), body),
		"duplicate": alter(`{"iss"`, `{"sub":"`+subject.String()+`","iss"`), "variant": alter(`{"iss"`, `{"EXP":1,"iss"`),
		"long s": alter(`{"iss"`, `{"iſs":"x","iss"`), "escaped duplicate": alter(`{"iss"`, `{"\u0069ss":"x","iss"`),
		"NUL": alter(`"tok_1"`, `"tok_1\u0000"`), "bad UTF-8": alter(`"tok_1"`, "\"tok_\xff\""), "trailing": sign(k.private, head, body+"{}"),
		"deep": alter(`{"iss"`, `{"a":`+strings.Repeat("[", 99)+strings.Repeat("]", 99)+`,"iss"`), "list": sign(k.private, head, "["+body+"]"),
		"two audiences": alter(`"aud":"`+testAudience+`"`, `"aud":["`+testAudience+`","b"]`), "nbf": alter(`{"iss"`, `{"nbf":1999999999,"iss"`),
		"exp text": alter(`"exp":`, `"exp":"9","x":`), "exp huge": alter(`"exp":`, `"exp":1e400,"x":`), "no exp": alter(`"exp"`, `"e"`),
		"no iat": alter(`"iat"`, `"e"`), "no aud": alter(`"aud"`, `"e"`), "no iss": alter(`"iss"`, `"e"`), "no sub": alter(`"sub"`, `"e"`),
		"no jti": alter(`"jti"`, `"e"`), "odd cnf": alter(`{"jkt":"abc"}`, `{"kid":"abc"}`), "empty cnf": alter(`{"jkt":"abc"}`, `{}`), "null cnf": alter(`{"jkt":"abc"}`, `null`),
		"foreign chain":    alter(`{"iss"`, `{"chain":["spiffe://lanyard.local/agent/other"],"iss"`),
		"a task said once": alter(`{"iss"`, `{"task":"task_1","iss"`), "details alone": alter(`{"iss"`, `{"authorization_details":[{"type":"lanyard_task","task":"task_1"}],"iss"`),
		"two tellings of a task": alter(`{"iss"`, `{"task":"task_1","authorization_details":[{"type":"lanyard_task","task":"task_2"}],"iss"`),
		"two tasks":              alter(`{"iss"`, `{"task":"task_1","authorization_details":[{"type":"lanyard_task","task":"task_1"},{"type":"lanyard_task","task":"task_2"}],"iss"`),
		"foreign details":        alter(`{"iss"`, `{"task":"task_1","authorization_details":[{"type":"payment","task":"task_1"}],"iss"`),
		"details with more":      alter(`{"iss"`, `{"task":"task_1","authorization_details":[{"type":"lanyard_task","task":"task_1","actions":["x"]}],"iss"`),
		"no details":             alter(`{"iss"`, `{"authorization_details":[],"iss"`), "task of no name": alter(`{"iss"`, `{"task":"","authorization_details":[{"type":"lanyard_task","task":""}],"iss"`),
		"oversized": alter(`"tok_1"`, `"`+strings.Repeat("x", MaxToken)+`"`), "padding": good + "=", "four": good + ".AA",
		"space": " " + good, "newline": good + "\n", "inner newline": good[:20] + "\n" + good[20:],
	} {
		_, err := v.Verify(raw, testIssuer, testAudience, noon)
		wantCode(t, name, err, InvalidToken)
	}
	for name, f := range map[string]func() (Claims, error){
		"expired":        func() (Claims, error) { return v.Verify(good, testIssuer, testAudience, noon.Add(5*time.Minute)) },
		"not yet":        func() (Claims, error) { return v.Verify(good, testIssuer, testAudience, noon.Add(-Skew-time.Second)) },
		"wrong audience": func() (Claims, error) { return v.Verify(good, testIssuer, testAudience+"/", noon) },
		"wrong issuer":   func() (Claims, error) { return v.Verify(good, "http://other", testAudience, noon) },
	} {
		_, err := f()
		wantCode(t, name, err, InvalidToken)
	}
	if _, err := v.Verify(good, testIssuer, "", noon.Add(-Skew)); err != nil {
		t.Error("skew within the limit: ", err)
	}
}

// Every proper prefix and every change of one byte is refused.
func TestEveryByteCounts(t *testing.T) {
	_, s, v := world(t)
	for n := range 3 {
		c := claims()
		c.ID = "tok_" + strings.Repeat("x", n) // all three alignments of the last character
		raw, err := s.Mint(c)
		if err != nil {
			t.Fatal(err)
		}
		for i := range raw {
			if _, err := v.Verify(raw[:i], testIssuer, testAudience, noon); err == nil {
				t.Fatalf("prefix of %d accepted", i)
			}
			for _, b := range []byte{raw[i] ^ 1, raw[i] ^ 0x20, 'A', '='} {
				bent := raw[:i] + string(b) + raw[i+1:]
				if _, err := v.Verify(bent, testIssuer, testAudience, noon); err == nil && bent != raw {
					t.Fatalf("byte %d changed to %q: accepted", i, b)
				}
			}
		}
	}
}

func TestRotation(t *testing.T) {
	old := testKey(t)
	next, err := NewKey(rand.Reader, noon)
	if err != nil {
		t.Fatal(err)
	}
	next.From, old.Until = noon.Add(5*time.Second), noon.Add(20*time.Minute)
	s, err := NewSigner(old, next)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ParseJWKS(s.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at  time.Time
		kid string
	}{{noon, old.ID}, {noon.Add(5 * time.Second), next.ID}} {
		cl := claims()
		cl.Issued = c.at
		raw, err := s.Mint(cl)
		if err != nil {
			t.Fatal(err)
		}
		j, err := parseJWS(raw, "kid")
		if kid, _ := unquote(j.header.value("kid")); err != nil || kid != c.kid {
			t.Errorf("at %s signed by %s, want %s (%v)", c.at, kid, c.kid, err)
		}
		if _, err := v.Verify(raw, testIssuer, testAudience, c.at); err != nil {
			t.Error(err)
		}
	}
	if got := old.State(noon.Add(time.Minute), next.From); got != "retired" {
		t.Error(got)
	}
	again, err := KeyFromSeed(old.UnsafeSeed(), old.Created, old.From, old.Until)
	if err != nil || again.ID != old.ID {
		t.Error(err)
	}
}

func TestReplayOnce(t *testing.T) {
	r := NewReplay(ReplayWindow, 1<<16)
	var accepted atomic.Int32
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if !r.Seen("key jti", noon) {
				accepted.Add(1)
			}
		})
	}
	wg.Wait()
	if accepted.Load() != 1 {
		t.Errorf("accepted %d times", accepted.Load())
	}
	for d := time.Duration(0); d <= ReplayWindow; d += time.Second {
		if !r.Seen("key jti", noon.Add(d)) {
			t.Fatalf("forgotten after %s", d)
		}
	}
	small, full := NewReplay(time.Minute, 1), 0
	for i := range 10000 {
		if small.Seen(string(rune(i+1))+"x", noon) {
			full++
		}
	}
	if full < 9000 {
		t.Errorf("a full memory refused only %d", full)
	}
}

func TestNonces(t *testing.T) {
	n, err := NewNonces(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v := n.Make(noon)
	for d, want := range map[time.Duration]bool{0: true, 149 * time.Second: true, 300 * time.Second: false, -300 * time.Second: false} {
		if n.Valid(v, noon.Add(d)) != want {
			t.Errorf("after %s: %v", d, !want)
		}
	}
	other, _ := NewNonces(rand.Reader)
	if n.Valid("", noon) || n.Valid(other.Make(noon), noon) {
		t.Error("a foreign nonce is accepted")
	}
}

func TestAPIKey(t *testing.T) {
	key, hash, err := NewAPIKey(rand.Reader)
	if err != nil || CheckAPIKey(key) != nil || HashAPIKey(key) != hash || len(hash) != 43 {
		t.Fatalf("%d bytes: %v %v", len(key), err, CheckAPIKey(key))
	}
	for i := range key {
		b := byte('a')
		if key[i] == b {
			b = 'b'
		}
		if CheckAPIKey(key[:i]) == nil || CheckAPIKey(key[:i]+string(b)+key[i+1:]) == nil {
			t.Errorf("mistyped at %d: accepted", i)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	_, s, v := world(b)
	raw, _ := s.Mint(claims())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(raw, testIssuer, testAudience, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMint(b *testing.B) {
	_, s, _ := world(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Mint(claims()); err != nil {
			b.Fatal(err)
		}
	}
}
