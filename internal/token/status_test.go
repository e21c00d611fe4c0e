package token

import (
	"bytes"
	"compress/zlib"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const testList = testIssuer + "/oauth/status/x"

func testStatusList(t testing.TB, s *Signer, bits []byte) string {
	t.Helper()
	raw, err := s.SignStatusList(testList, StatusList{Bits: bits, Issued: noon, Expires: noon.Add(time.Minute), TTL: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestStatusList: what is signed is what is read, by our reader and by another one.
func TestStatusList(t *testing.T) {
	k, s, v := world(t)
	raw := testStatusList(t, s, []byte{0xb9, 0xa3})
	l, err := v.StatusList(raw, testList, noon)
	if err != nil || l.TTL != 10*time.Second || !l.Expires.Equal(noon.Add(time.Minute)) {
		t.Fatalf("%+v %v", l, err)
	}
	for i, bit := range []int{1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1} { // draft-ietf-oauth-status-list section 4.1
		if good, err := l.Good(i); err != nil || good != (bit == 0) {
			t.Errorf("place %d: %v %v", i, good, err)
		}
	}
	for _, i := range []int{-1, 16, 1 << 30} {
		if good, err := l.Good(i); err == nil || good {
			t.Errorf("place %d, which there is not, is good: %v", i, good)
		}
	}
	parsed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	body, err := parsed.Verify(k.private.Public())
	if err != nil || parsed.Signatures[0].Header.ExtraHeaders["typ"] != TypStatusList {
		t.Errorf("%v %v", err, parsed.Signatures[0].Header)
	}
	want := fmt.Sprintf(`{"sub":"%s","iat":%d,"exp":%d,"ttl":10,"status_list":{"bits":1,"lst":"`, testList, noon.Unix(), noon.Unix()+60)
	if !strings.HasPrefix(string(body), want) {
		t.Errorf("%s", body)
	}
	// The packed form of the draft's example unpacks to the same, whatever packed it.
	if l, err := v.StatusList(sign(k.private, statusHeader(k), strings.Replace(string(body), body2list(t, body), "eNrbuRgAAhcBXQ", 1)), testList, noon); err != nil || !bytes.Equal(l.Bits, []byte{0xb9, 0xa3}) {
		t.Errorf("%x %v", l.Bits, err)
	}
	full := make([]byte, StatusPlaces/8)
	rand.Read(full)
	if l, err := v.StatusList(testStatusList(t, s, full), testList, noon); err != nil || !bytes.Equal(l.Bits, full) {
		t.Errorf("one of ours that packs badly: %v", err)
	}
}

func statusHeader(k SigningKey) string {
	return `{"alg":"EdDSA","typ":"` + TypStatusList + `","kid":"` + k.ID + `"}`
}

func body2list(t *testing.T, body []byte) string {
	_, rest, ok := strings.Cut(string(body), `"lst":"`)
	if !ok {
		t.Fatalf("%s", body)
	}
	list, _, _ := strings.Cut(rest, `"`)
	return list
}

func TestStatusListRefused(t *testing.T) {
	k, s, v := world(t)
	access, _ := s.Mint(claims())
	_, stranger, _ := world(t)
	var bomb bytes.Buffer
	z := zlib.NewWriter(&bomb)
	z.Write(make([]byte, maxStatusList+1))
	z.Close()
	body := func(sub, bits, lst string, from, to time.Time) string {
		return sign(k.private, statusHeader(k), fmt.Sprintf(`{"sub":"%s","iat":%d,"exp":%d,"ttl":10,"status_list":{"bits":%s,"lst":"%s"}}`, sub, from.Unix(), to.Unix(), bits, lst))
	}
	const list = "eNrbuRgAAhcBXQ"
	later := noon.Add(time.Minute)
	if _, err := v.StatusList(body(testList, "1", list, noon, later), testList, noon); err != nil {
		t.Fatal(err) // or what follows shows nothing
	}
	for name, raw := range map[string]string{
		"an access token":      access,
		"a stranger's":         testStatusList(t, stranger, []byte{0}),
		"another list":         body(testList+"y", "1", list, noon, later),
		"over":                 body(testList, "1", list, noon.Add(-time.Minute), noon),
		"of the future":        body(testList, "1", list, noon.Add(time.Minute), noon.Add(time.Hour)),
		"of two bits":          body(testList, "2", list, noon, later),
		"no number":            body(testList, `"1"`, list, noon, later),
		"not packed":           body(testList, "1", "uaM", noon, later),
		"cut off":              body(testList, "1", list[:8], noon, later),
		"padded":               body(testList, "1", list+"==", noon, later),
		"a bomb":               body(testList, "1", base64.RawURLEncoding.EncodeToString(bomb.Bytes()), noon, later),
		"no list":              sign(k.private, statusHeader(k), fmt.Sprintf(`{"sub":"%s","iat":%d,"exp":%d,"ttl":10}`, testList, noon.Unix(), later.Unix())),
		"no ttl":               sign(k.private, statusHeader(k), fmt.Sprintf(`{"sub":"%s","iat":%d,"exp":%d,"status_list":{"bits":1,"lst":"%s"}}`, testList, noon.Unix(), later.Unix(), list)),
		"larger than any is":   strings.Repeat("a", maxStatusList+1),
		"an event, not a list": func() string { raw, _ := s.Sign(TypEvent, map[string]any{"sub": testList}, noon); return raw }(),
	} {
		_, err := v.StatusList(raw, testList, noon)
		var e *Error
		if !errors.As(err, &e) || e.Code != InvalidToken {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStatusClaim: a token says its place, and what is no place is refused.
func TestStatusClaim(t *testing.T) {
	k, s, v := world(t)
	c := claims()
	c.Status = Place{Index: 0, URI: testList}
	raw, err := s.Mint(c)
	if err != nil || !strings.Contains(payload(t, raw), `"status":{"status_list":{"idx":0,"uri":"`+testList+`"}}`) {
		t.Fatalf("%v %s", err, payload(t, raw))
	}
	if got, err := v.Verify(raw, testIssuer, testAudience, noon); err != nil || got.Status != c.Status {
		t.Errorf("%+v %v", got.Status, err)
	}
	for status, good := range map[string]bool{`{"status_list":{"idx":7,"uri":"u"}}`: true, `{}`: true, `{"other":1}`: true,
		`1`: false, `{"status_list":1}`: false, `{"status_list":{"idx":-1,"uri":"u"}}`: false, `{"status_list":{"idx":1.5,"uri":"u"}}`: false,
		`{"status_list":{"idx":1}}`: false, `{"status_list":{"uri":"u"}}`: false, `{"status_list":{"idx":12345678901,"uri":"u"}}`: false} {
		plain, _ := s.Mint(claims())
		body := strings.TrimSuffix(payload(t, plain), "}") + `,"status":` + status + `}`
		if _, err := v.Verify(sign(k.private, `{"alg":"EdDSA","typ":"at+jwt","kid":"`+k.ID+`"}`, body), testIssuer, testAudience, noon); (err == nil) != good {
			t.Errorf("%s: %v", status, err)
		}
	}
}

func FuzzStatusList(f *testing.F) {
	k, s, v := world(f)
	f.Add(payload(f, testStatusList(f, s, []byte{0xb9, 0xa3})))
	f.Add(`{"sub":"a","iat":1,"exp":2,"ttl":1,"status_list":{"bits":1,"lst":"eNrbuRgAAhcBXQ"}}`)
	// Nothing passes unsigned, and what is accepted is signed and read again as the same.
	f.Fuzz(func(t *testing.T, body string) {
		if l, err := v.StatusList(body, testList, noon); err == nil {
			t.Fatalf("accepted what nobody signed: %v", l)
		}
		l, err := v.StatusList(sign(k.private, statusHeader(k), body), testList, noon)
		if err != nil {
			return
		}
		again, err := s.SignStatusList(testList, StatusList{l.Bits, noon, noon.Add(time.Second), l.TTL})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := v.StatusList(again, testList, noon); len(again) <= maxStatusList && (err != nil || !bytes.Equal(l.Bits, m.Bits) || l.TTL != m.TTL) {
			t.Fatalf("%v became %v (%v)", l, m, err)
		}
	})
}
