package control

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// People sign in with passkeys (WebAuthn level 3): keys that a device of theirs holds for this site alone, and shows only to whom it belongs.

// ceremony is how long making or showing one may take.
const ceremony = 5 * time.Minute

// PasskeyView is one of a person's passkeys.
type PasskeyView struct {
	ID      string    `json:"id"`
	Name    string    `json:"name,omitempty"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"last_used,omitzero"`
}

// PasskeyOptions is what a browser makes a passkey with: PublicKeyCredentialCreationOptionsJSON.
type PasskeyOptions struct {
	PublicKey map[string]any `json:"publicKey"`
}

// holder is a person as WebAuthn knows them.
type holder struct {
	person, name string
	keys         []store.Passkey
}

func (h holder) WebAuthnID() []byte {
	sum := sha256.Sum256([]byte("lanyard/" + h.person))
	return sum[:]
}
func (h holder) WebAuthnName() string        { return h.name }
func (h holder) WebAuthnDisplayName() string { return h.name }
func (h holder) WebAuthnCredentials() (list []webauthn.Credential) {
	for _, k := range h.keys {
		var c webauthn.Credential
		if json.Unmarshal(k.Key, &c) == nil {
			list = append(list, c)
		}
	}
	return list
}

// webAuthn is this site; nil where a browser would have no passkeys for it: at an address that is no name, or without TLS.
func (p *Plane) webAuthn() (*webauthn.WebAuthn, error) {
	u, err := url.Parse(p.URL)
	if err != nil {
		return nil, err
	}
	host := u.Hostname()
	if net.ParseIP(host) != nil || u.Scheme != "https" && host != "localhost" && !strings.HasSuffix(host, ".localhost") {
		return nil, refusal(http.StatusConflict, "There are no passkeys at "+p.URL+": a browser has them for a name with https alone, or for localhost. --url says by which name the control plane is reached.")
	}
	return webauthn.New(&webauthn.Config{RPID: host, RPDisplayName: "Lanyard", RPOrigins: []string{u.Scheme + "://" + u.Host}})
}

func passkeyID(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// passkeys are the doors for who is not signed in.
func (p *Plane) passkeys(mux *http.ServeMux) {
	mux.HandleFunc("POST /console/passkey/begin", p.form(func(w http.ResponseWriter, r *http.Request) (any, error) {
		site, err := p.webAuthn()
		if err != nil {
			return nil, err
		}
		options, session, err := site.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
		if err != nil {
			return nil, err
		}
		session.Expires = p.Now().Add(ceremony)
		plain, err := json.Marshal(session)
		if err != nil {
			return nil, err
		}
		sealed, err := p.Store.Seal.Seal(plain, "passkey")
		if err == nil {
			p.issuer.SetCeremony(w, base64.RawURLEncoding.EncodeToString(sealed), ceremony)
		}
		return options, err
	}))
	mux.HandleFunc("POST /console/passkey/finish", p.form(func(w http.ResponseWriter, r *http.Request) (any, error) {
		var raw json.RawMessage
		if err := readJSON(w, r, &raw); err != nil {
			return nil, err
		}
		b, err := base64.RawURLEncoding.DecodeString(p.issuer.Ceremony(r))
		if err == nil {
			b, err = p.Store.Unseal(r.Context(), b, "passkey")
		}
		p.issuer.SetCeremony(w, "", -time.Second)
		var session webauthn.SessionData
		if err != nil || json.Unmarshal(b, &session) != nil || !p.Now().Before(session.Expires) {
			return nil, refusal(http.StatusForbidden, "No sign-in was begun in this browser, or it took too long; begin it again.")
		}
		text, err := p.showPasskey(r, session, raw)
		if errors.Is(err, registry.ErrPasskey) {
			return nil, refusal(http.StatusForbidden, capital(err.Error())+".")
		} else if err == nil {
			p.issuer.SetCookie(w, text)
		}
		return struct{}{}, err
	}))
}

// showPasskey verifies what a passkey signed, and begins a session of whose it is.
func (p *Plane) showPasskey(r *http.Request, session webauthn.SessionData, raw []byte) (string, error) {
	site, err := p.webAuthn()
	if err != nil {
		return "", err
	}
	session.Expires = time.Time{} // it was looked at, by our clock
	parsed, err := protocol.ParseCredentialRequestResponseBytes(raw)
	if err != nil {
		return "", registry.ErrPasskey
	}
	var before store.Passkey
	credential, err := site.ValidateDiscoverableLogin(func(rawID, handle []byte) (webauthn.User, error) {
		err := p.Store.Read(r.Context(), func(tx *store.Tx) (err error) { before, err = tx.Passkey(passkeyID(rawID)); return err })
		h := holder{person: before.Person, keys: []store.Passkey{before}}
		if err == nil && string(h.WebAuthnID()) != string(handle) {
			err = registry.ErrPasskey
		}
		return h, err
	}, session, parsed)
	if err != nil || before.ID == "" || credential.Authenticator.CloneWarning {
		return "", registry.ErrPasskey
	}
	after := before
	if after.Key, err = json.Marshal(credential); err != nil {
		return "", err
	}
	var text string
	_, err = p.registry.Do(r.Context(), registry.Actor{Source: r.RemoteAddr}, func(c *registry.Change) (err error) {
		text, _, err = c.PasskeySignIn(session.Challenge, before, after, registry.Browser{Address: r.RemoteAddr, Name: r.UserAgent()})
		return err
	})
	return text, err
}

// passkeyRoutes are the doors for who is signed in, about their own.
func (p *Plane) passkeyRoutes(api door) {
	const tag = "me"
	handle(api, "GET", "/me/passkeys", "list-passkeys", tag, "The person's passkeys", func(ctx context.Context, in *none) (Page[PasskeyView], error) {
		if in.visitor == nil {
			return Page[PasskeyView]{}, errNobody
		}
		return read(ctx, p, func(tx *store.Tx) (Page[PasskeyView], error) {
			list, err := tx.Passkeys(in.visitor.Person)
			var out []PasskeyView
			for _, k := range list {
				out = append(out, PasskeyView{k.ID, k.Name, k.Created, k.Used})
			}
			return page(out), err
		})
	})
	handle(api, "DELETE", "/me/passkeys/{name}", "remove-passkey", tag, "Remove one of the person's passkeys; their other sessions end", func(ctx context.Context, in *byName) (struct{}, error) {
		if in.visitor == nil {
			return struct{}{}, errNobody
		}
		_, err := p.do(ctx, in.actor(), func(c *registry.Change) error { return c.RemovePasskey(*in.visitor, in.Name) })
		return struct{}{}, err
	})
	handle(api, "POST", "/me/passkeys/begin", "begin-passkey", tag, "Begin to make a passkey: what the browser makes it with", func(ctx context.Context, in *none) (out PasskeyOptions, err error) {
		v := in.visitor
		if v == nil {
			return out, errNobody
		}
		site, err := p.webAuthn()
		if err == nil {
			err = stale(registry.MayAddPasskey(*v, p.Now()))
		}
		if err != nil {
			return out, err
		}
		keys, err := read(ctx, p, func(tx *store.Tx) ([]store.Passkey, error) { return tx.Passkeys(v.Person) })
		if err != nil {
			return out, err
		}
		h := holder{v.Person, v.Name, keys}
		var known []protocol.CredentialDescriptor
		for _, c := range h.WebAuthnCredentials() {
			known = append(known, c.Descriptor())
		}
		options, session, err := site.BeginRegistration(h, webauthn.WithExclusions(known),
			webauthn.WithAuthenticatorSelection(protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired}))
		if err != nil {
			return out, err
		}
		session.Expires = time.Time{} // the ticket ends by our clock
		if _, err = p.do(ctx, in.actor(), func(c *registry.Change) error { return c.BeginPasskey(*v, session) }); err != nil {
			return out, err
		}
		b, err := json.Marshal(options.Response)
		if err == nil {
			err = json.Unmarshal(b, &out.PublicKey)
		}
		return out, err
	})
	handle(api, "POST", "/me/passkeys/finish", "finish-passkey", tag, "Keep the passkey that the browser made", func(ctx context.Context, in *body[map[string]any]) (PasskeyView, error) {
		v := in.visitor
		if v == nil {
			return PasskeyView{}, errNobody
		}
		site, err := p.webAuthn()
		if err != nil {
			return PasskeyView{}, err
		}
		raw, err := json.Marshal(in.Body)
		if err != nil {
			return PasskeyView{}, err
		}
		parsed, err := protocol.ParseCredentialCreationResponseBytes(raw)
		if err != nil {
			return PasskeyView{}, invalid("this is no passkey")
		}
		var k store.Passkey
		_, err = p.do(ctx, in.actor(), func(c *registry.Change) error {
			var session webauthn.SessionData
			if err := c.TakePasskey(*v, &session); err != nil {
				return err
			}
			credential, err := site.CreateCredential(holder{person: v.Person, name: v.Name}, session, parsed)
			if err != nil {
				return invalid("this passkey was not made for this site and this sign-in")
			}
			k = store.Passkey{ID: passkeyID(credential.ID), Name: "Passkey of " + p.Now().UTC().Format("2 January 2006")}
			if k.Key, err = json.Marshal(credential); err != nil {
				return err
			}
			return c.AddPasskey(*v, k)
		})
		return PasskeyView{ID: k.ID, Name: k.Name, Created: p.Now().UTC()}, stale(err)
	})
}

// stale tells a person to sign in again first.
func stale(err error) error {
	var old *registry.Stale
	if errors.As(err, &old) {
		return &Problem{Type: "urn:lanyard:sign-in-again", Title: http.StatusText(http.StatusForbidden), Status: http.StatusForbidden, Detail: "This is done within " + old.Fresh.String() + " of signing in: sign in again."}
	}
	return err
}
