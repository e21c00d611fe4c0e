package registry

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// codeTTL is how long an authorization code is good (RFC 6749 section 4.1.2 has ten minutes at most).
const codeTTL = time.Minute

// Code is what an authorization code stands for.
type Code struct {
	Identity   identity.ID `json:"identity"`
	Client     string      `json:"client"` // client_id
	Redirect   string      `json:"redirect"`
	Challenge  string      `json:"challenge"` // RFC 7636 section 4.2, S256
	Upstream   string      `json:"upstream"`
	Scope      string      `json:"scope,omitempty"`
	JKT        string      `json:"jkt,omitempty"`        // the key that what is got for it must be bound to (RFC 9449 section 10)
	Until      time.Time   `json:"until"`                // of what can be got for it
	Credential string      `json:"credential,omitempty"` // once it was used: what was got for it
}

// Refresh is what a refresh token stands for. One that was used is remembered, so
// that its second use is noticed.
type Refresh struct {
	Identity   identity.ID `json:"identity"`
	Credential string      `json:"credential"`
	Client     string      `json:"client"`
	Upstream   string      `json:"upstream"`
	Scope      string      `json:"scope,omitempty"`
	JKT        string      `json:"jkt,omitempty"` // the key it is bound to (RFC 9449 section 5)
	Used       bool        `json:"used,omitempty"`
}

// NewCode makes an authorization code.
func (c *Change) NewCode(code Code) (string, error) {
	text, err := c.secret("lyd_code_")
	if err != nil {
		return "", err
	}
	return text, c.PutTicket(store.AuthorizationCode, text, c.Now().Add(codeTTL), code)
}

// Verify reports whether verifier is what the code's challenge was made of (RFC 7636 section 4.6).
func (k Code) Verify(verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return len(verifier) >= 43 && len(verifier) <= 128 && base64.RawURLEncoding.EncodeToString(sum[:]) == k.Challenge
}

// Redeem takes a code for a credential of its identity and the first refresh token
// of it, bound to a key if jkt is one. A code that was used before ends what was
// got for it (RFC 6749 section 4.1.2) and gives nothing: the credential is zero.
func (c *Change) Redeem(text, jkt string) (k identity.Credential, refresh string, err error) {
	var code Code
	expires, err := c.Ticket(store.AuthorizationCode, text, &code)
	if err != nil {
		return k, "", err
	}
	if code.Credential != "" {
		return k, "", c.RevokeCredential(code.Credential, "The authorization code was used twice.")
	}
	i, err := c.Identity(code.Identity)
	if err != nil {
		return k, "", err
	}
	if err := i.Usable(c.Now()); err != nil {
		return k, "", &Conflict{err.Error()}
	}
	k = identity.Credential{Identity: i.ID, Kind: identity.RefreshToken, Thumbprint: store.TicketHash(text), Created: c.Now(), Expires: code.Until}
	if k.Expires.After(i.Expires) {
		k.Expires = i.Expires
	}
	if k.ID, err = c.newID(identity.CredentialPrefix); err != nil {
		return k, "", err
	}
	code.Credential = k.ID
	refresh, err = c.newRefresh(Refresh{Identity: i.ID, Credential: k.ID, Client: code.Client, Upstream: code.Upstream, Scope: code.Scope, JKT: jkt}, k.Expires)
	c.by.Name = i.ID.String()
	return k, refresh, errors.Join(err, c.PutTicket(store.AuthorizationCode, text, expires, code), c.PutCredential(k),
		c.record("credential.add", i.ID.String(), string(i.Owner), "", map[string]string{"credential": k.ID, "kind": string(k.Kind), "client": code.Client, "expires": k.Expires.Format(time.RFC3339)}))
}

func (c *Change) newRefresh(r Refresh, expires time.Time) (string, error) {
	text, err := c.secret("lyd_refresh_")
	if err != nil {
		return "", err
	}
	return text, c.PutTicket(store.RefreshToken, text, expires, r)
}

// Rotate takes a refresh token for the next one. One that was used before ends its
// credential (RFC 9700 section 4.14.2), since one of the two who showed it is a
// thief, and gives nothing: next is empty.
func (c *Change) Rotate(text string) (next string, err error) {
	var r Refresh
	expires, err := c.Ticket(store.RefreshToken, text, &r)
	if err != nil {
		return "", err
	}
	if r.Used {
		return "", c.RevokeCredential(r.Credential, "A refresh token was used twice: one of two who hold it is not the client.")
	}
	i, err := c.Identity(r.Identity)
	if err != nil {
		return "", err
	}
	k, err := c.Credential(r.Credential)
	if err != nil {
		return "", err
	}
	if err := errors.Join(i.Usable(c.Now()), k.Usable(c.Now())); err != nil {
		return "", &Conflict{err.Error()}
	}
	if next, err = c.newRefresh(r, expires); err != nil {
		return "", err
	}
	r.Used = true
	c.by.Name = i.ID.String()
	return next, errors.Join(c.PutTicket(store.RefreshToken, text, expires, r),
		c.record("credential.rotate", i.ID.String(), string(i.Owner), "", map[string]string{"credential": r.Credential}))
}
