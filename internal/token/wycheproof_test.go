package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/go-json-experiment/json/jsontext"
)

type vectors struct {
	TestGroups []struct {
		PublicKeyJwk, KeyJwk, Public, Private json.RawMessage
		PublicKey                             struct{ PK, Uncompressed string }
		Tests                                 []struct {
			TcID                      int
			Comment, Msg, Sig, Result string
			JWS                       json.RawMessage // a string, or an object in the JSON serialisation
		}
	}
}

func load(t *testing.T, name string) vectors {
	t.Helper()
	b, err := fs.ReadFile(wycheproof.TestVectors, name)
	var v vectors
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil || len(v.TestGroups) == 0 {
		t.Fatalf("%s: no vectors (%v)", name, err)
	}
	return v
}

// Raw signatures, through the same verify that judges tokens.
func TestWycheproofSignatures(t *testing.T) {
	for file, alg := range map[string]string{"ed25519_test.json": "EdDSA", "ecdsa_secp256r1_sha256_p1363_test.json": "ES256"} {
		run := 0
		for _, g := range load(t, file).TestGroups {
			var k publicKey
			if raw, _ := hex.DecodeString(g.PublicKey.PK); alg == "EdDSA" {
				k.key = ed25519.PublicKey(raw)
			} else if raw, _ := hex.DecodeString(g.PublicKey.Uncompressed); len(raw) == 65 {
				jwk, err := parseJWK([]byte(`{"kty":"EC","crv":"P-256","x":"` + strict64.EncodeToString(raw[1:33]) +
					`","y":"` + strict64.EncodeToString(raw[33:]) + `"}`))
				if err != nil {
					t.Fatal(err)
				}
				k.key = jwk.key.(*ecdsa.PublicKey)
			}
			for _, c := range g.Tests {
				msg, _ := hex.DecodeString(c.Msg)
				sig, _ := hex.DecodeString(c.Sig)
				if got := (jws{alg: alg, signed: string(msg), signature: sig}).verify(k); got != (c.Result == "valid") {
					t.Errorf("%s %d (%s): %v, want %s", file, c.TcID, c.Comment, got, c.Result)
				}
				run++
			}
		}
		if run < 100 {
			t.Errorf("%s: only %d vectors", file, run)
		}
	}
}

// RSA signatures, which only providers make: with a key read as theirs are.
func TestWycheproofRSA(t *testing.T) {
	run := 0
	for _, file := range []string{"rsa_signature_2048_sha256_test.json", "rsa_signature_3072_sha256_test.json", "rsa_signature_4096_sha256_test.json"} {
		for _, g := range load(t, file).TestGroups {
			if len(g.KeyJwk) == 0 { // keys with an exponent or of a length that JWK vectors leave out
				continue
			}
			s, err := ParseProviderKeys([]byte(`{"keys":[` + string(g.KeyJwk) + `]}`))
			if err != nil {
				t.Errorf("%s: %v in %s", file, err, g.KeyJwk)
				continue
			}
			for _, c := range g.Tests {
				msg, _ := hex.DecodeString(c.Msg)
				sig, _ := hex.DecodeString(c.Sig)
				got := (jws{alg: "RS256", signed: string(msg), signature: sig}).verify(s.keys[0])
				if c.Result != "acceptable" && got != (c.Result == "valid") {
					t.Errorf("%s %d (%s): %v, want %s", file, c.TcID, c.Comment, got, c.Result)
				}
				run++
			}
		}
	}
	if run < 400 {
		t.Errorf("only %d vectors", run)
	}
}

// Whole tokens: no invalid one passes with any key of its group, in its public
// or its private form, and the valid ones of our algorithms pass.
func TestWycheproofTokens(t *testing.T) {
	run, passed := 0, 0
	for _, file := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		for _, g := range load(t, file).TestGroups {
			key := g.Public
			if key == nil {
				key = g.Private
			}
			k, err := parseJWK(key)
			for _, c := range g.Tests {
				run++
				raw, isText := unquote(jsontext.Value(c.JWS))
				if !isText {
					raw = string(c.JWS)
				}
				j, bad := parseJWS(raw, "kid")
				ok := err == nil && bad == nil && j.verify(k)
				if ok && c.Result != "valid" {
					t.Errorf("%s %d (%s): accepted", file, c.TcID, c.Comment)
				}
				ours := strings.Contains(string(key), `"ES256"`) && err == nil
				if !ok && ours && c.Result == "valid" {
					t.Errorf("%s %d (%s): refused: %v", file, c.TcID, c.Comment, bad)
				}
				if ok {
					passed++
				}
			}
		}
	}
	if run < 400 || passed == 0 {
		t.Errorf("%d vectors, %d passed", run, passed)
	}
}
