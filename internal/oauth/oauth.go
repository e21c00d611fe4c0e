// Package oauth is how Lanyard itself signs in to an upstream that wants OAuth
// of its own: the client half of MCP authorization (revision 2026-07-28, with the
// discovery of 2025-03-26 for servers that know nothing newer).
//
// [Client.Discover] finds an upstream's authorization server, [Client.Begin] and
// [Client.Finish] take a person through its sign-in page, and [Client.Refresh]
// renews what came of it. A [Flow] signs in without those two steps: with a person
// at hand, with the client's own credentials, with an assertion of an enterprise's
// identity provider or of the workload. [Transport] puts tokens on requests and
// answers challenges with a flow.
//
// Everything an authorization server or an upstream says is a stranger's word:
// plain http only on loopback and only where allowed, no redirect to another
// origin, answers of at most 1 MiB, JSON without duplicate members, an issuer that
// is byte for byte the one expected, and S256 or nothing. That no name resolves to
// a private address is the business of the http.Client the caller hands in.
package oauth

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/token"
)

// Client signs in to upstreams, for one owner: a Store is one owner's, so that
// nobody's token serves another's agent. It is safe for use by many goroutines.
type Client struct {
	HTTP  *http.Client // sets the time limit of each request, and which addresses may be reached; its CheckRedirect and Jar are not used
	Now   func() time.Time
	Rand  io.Reader
	Store Store

	Name     string // what a person reads on the sign-in page, where the client registers itself
	Redirect string // redirect URI of the authorization code flow
	Document string // https URL of the Client ID Metadata Document; empty if there is none
	Loopback bool   // an http URL is accepted if its host is a loopback address

	nonces token.GivenNonces
}

// Registration is who the client is at one authorization server. The zero value is nobody.
type Registration struct {
	ID      string    `json:"client_id"`
	Secret  string    `json:"client_secret,omitempty"`
	Key     []byte    `json:"key,omitempty"`     // PKCS #8, DER: signs private_key_jwt assertions
	Method  string    `json:"method,omitempty"`  // token endpoint authentication; empty: what the metadata and the credentials allow
	Expires time.Time `json:"expires,omitzero"`  // of the secret; zero: never
	Dynamic bool      `json:"dynamic,omitempty"` // the client registered itself (RFC 7591) and may do so again
}

// Token is what a sign-in gives, and what is needed to renew it. It is secret as a
// whole; as JSON it can be sealed and stored.
type Token struct {
	Access   string    `json:"access_token"`
	Type     string    `json:"token_type"`                 // Bearer or DPoP
	Expires  time.Time `json:"expires,omitzero"`           // zero: the server did not say
	Refresh  string    `json:"refresh_token,omitempty"`    // empty: a new sign-in is needed at the end
	Scope    []string  `json:"scope,omitempty"`            // what has been asked for, which may be more than was given
	Resource string    `json:"resource"`                   // RFC 8707: what it is for, as the upstream publishes it
	Server   Server    `json:"authorization_server"`       // who issued it
	Client   string    `json:"client_id"`                  // to whom, at that server
	ID       string    `json:"-"`                          // the ID token that came with it (OpenID Connect), which nobody has looked at
	Key      []byte    `json:"dpop_private_key,omitempty"` // PKCS #8, DER: what it is bound to, if Type is DPoP
}

// Store keeps what one owner's sign-ins give. An absent entry is the zero value, not
// an error. Whoever implements it seals what it writes.
type Store interface {
	// Registration is keyed by issuer: what one server gave is never shown to another.
	Registration(ctx context.Context, issuer string) (Registration, error)
	PutRegistration(ctx context.Context, issuer string, r Registration) error // the zero value removes
	// Token is keyed by the URL of the upstream.
	Token(ctx context.Context, upstream string) (Token, error)
	PutToken(ctx context.Context, upstream string, t Token) error // the zero value removes
}

// Error is a refusal in the words of an authorization server (RFC 6749 sections
// 4.1.2.1 and 5.2), shortened and without control characters.
type Error struct {
	Code        string
	Description string
	Status      int // of the HTTP response; 0 if it came through the browser
}

func (e *Error) Error() string {
	if e.Description == "" {
		return "the authorization server refused: " + e.Code
	}
	return "the authorization server refused: " + e.Description + " (" + e.Code + ")"
}

// ErrSignIn means that only a person can go on, by Begin and Finish.
var ErrSignIn = errors.New("the owner must sign in to this upstream")

func (r Registration) String() string   { return "[registration " + r.ID + "]" }
func (r Registration) GoString() string { return r.String() }
func (t Token) String() string          { return "[token for " + t.Resource + "]" }
func (t Token) GoString() string        { return t.String() }

// Good reports whether t can be shown at now, with ten seconds to spare.
func (t Token) Good(now time.Time) bool {
	return t.Access != "" && (t.Expires.IsZero() || now.Add(10*time.Second).Before(t.Expires))
}

// key reads a private key as Registration and Token keep it.
func key(der []byte) (token.ClientKey, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return token.ClientKey{}, fmt.Errorf("the client's key is no PKCS #8 key: %w", err)
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return token.ClientKey{}, fmt.Errorf("the client's key, %T, does not sign", k)
	}
	return token.NewClientKey(s)
}

// Memory is a Store that forgets everything at the end of the process. The zero value is ready.
type Memory struct {
	mu            sync.Mutex
	registrations map[string]Registration
	tokens        map[string]Token
}

func (m *Memory) Registration(_ context.Context, issuer string) (Registration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.registrations[issuer], nil
}

func (m *Memory) PutRegistration(_ context.Context, issuer string, r Registration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.registrations == nil {
		m.registrations = map[string]Registration{}
	}
	m.registrations[issuer] = r
	return nil
}

func (m *Memory) Token(_ context.Context, upstream string) (Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tokens[upstream], nil
}

func (m *Memory) PutToken(_ context.Context, upstream string, t Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tokens == nil {
		m.tokens = map[string]Token{}
	}
	m.tokens[upstream] = t
	return nil
}
