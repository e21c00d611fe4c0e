package token

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// SigningKey signs access tokens. It signs from From until a newer key's From,
// and is published until Until, so that what it signed verifies to its end.
type SigningKey struct {
	ID      string // kid: the RFC 7638 thumbprint, so never reused
	Created time.Time
	From    time.Time
	Until   time.Time // zero: not yet replaced
	private ed25519.PrivateKey
}

// NewKey makes a key that may sign at once.
func NewKey(rand io.Reader, now time.Time) (SigningKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return SigningKey{}, fmt.Errorf("make signing key: %w", err)
	}
	return fromSeed(seed, now, now, time.Time{})
}

func fromSeed(seed []byte, created, from, until time.Time) (SigningKey, error) {
	if len(seed) != ed25519.SeedSize {
		return SigningKey{}, errors.New("signing key: seed has the wrong length")
	}
	k := SigningKey{Created: created, From: from, Until: until, private: ed25519.NewKeyFromSeed(seed)}
	var err error
	k.ID, err = Thumbprint([]byte(`{"kty":"OKP","crv":"Ed25519","x":"` + k.x() + `"}`))
	return k, err
}

func (k SigningKey) x() string {
	return strict64.EncodeToString(k.private.Public().(ed25519.PublicKey))
}

// header is the encoded header of what k signs, with the dot after it.
func (k SigningKey) header(typ string) string {
	return strict64.EncodeToString([]byte(`{"alg":"EdDSA","typ":"`+typ+`","kid":"`+k.ID+`"}`)) + "."
}

func (k SigningKey) String() string               { return "[signing key " + k.ID + "]" }
func (k SigningKey) GoString() string             { return k.String() }
func (k SigningKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnsafeSeed is the secret of the key, for sealing and nothing else; KeyFromSeed reverses it.
func (k SigningKey) UnsafeSeed() []byte { return k.private.Seed() }

// KeyFromSeed makes the key again that UnsafeSeed was taken from.
func KeyFromSeed(seed []byte, created, from, until time.Time) (SigningKey, error) {
	return fromSeed(seed, created, from, until)
}

// State says what the key is for at now: "next" (published, not yet signing),
// "current", "retired" (still published) or "gone". newer is the next key's From, or zero.
func (k SigningKey) State(now, newer time.Time) string {
	switch {
	case !k.Until.IsZero() && !now.Before(k.Until):
		return "gone"
	case now.Before(k.From):
		return "next"
	case !newer.IsZero() && !now.Before(newer):
		return "retired"
	}
	return "current"
}

// Signer mints access tokens. It is immutable; after a rotation there is a new one.
type Signer struct {
	keys   []SigningKey // newest From first
	header []string     // encoded header of each key
	jwks   []byte
}

// NewSigner makes a Signer of keys, at least one.
func NewSigner(keys ...SigningKey) (*Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("make signer: there is no key")
	}
	s := &Signer{keys: slices.Clone(keys)}
	slices.SortStableFunc(s.keys, func(a, b SigningKey) int { return b.From.Compare(a.From) })
	var set []string
	for _, k := range s.keys {
		if k.private == nil {
			return nil, errors.New("make signer: a key is empty")
		}
		s.header = append(s.header, k.header("at+jwt"))
		set = append(set, `{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"`+k.ID+`","x":"`+k.x()+`"}`)
	}
	s.jwks = []byte(`{"keys":[` + strings.Join(set, ",") + `]}`)
	return s, nil
}

// JWKS is the set of public keys (RFC 7517 section 5), for ParseJWKS and for publishing.
func (s *Signer) JWKS() []byte { return slices.Clone(s.jwks) }

// wire is Claims in the order and spelling of the token.
type wire struct {
	Issuer     string        `json:"iss"`
	Subject    string        `json:"sub"`
	Audience   string        `json:"aud"`
	Client     string        `json:"client_id"`
	ID         string        `json:"jti"`
	Issued     int64         `json:"iat"`
	Expires    int64         `json:"exp"`
	Scope      string        `json:"scope,omitempty"`
	Act        *Act          `json:"act,omitempty"`
	Chain      []string      `json:"chain,omitempty"`
	Owner      string        `json:"owner,omitempty"`
	Credential string        `json:"cred,omitempty"`
	Generation []uint64      `json:"gen"`
	Task       string        `json:"task,omitempty"`
	Details    []TaskDetail  `json:"authorization_details,omitempty"`
	Key        *Confirmation `json:"cnf,omitempty"`
	From       []string      `json:"from,omitempty"`
	MayAct     *Act          `json:"may_act,omitempty"`
	Status     *placed       `json:"status,omitempty"`
}

// Act is an actor, within it who acted before (RFC 8693 section 4.1).
type Act struct {
	Subject string `json:"sub"`
	Act     *Act   `json:"act,omitempty"`
}

// ActOf is the act claim of a chain: nil when its actor acts for nobody else.
func ActOf(c identity.Chain) (a *Act) {
	for i := len(c) - 2; i >= 0; i-- {
		a = &Act{c[i].ID.String(), a}
	}
	return a
}

// TaskDetail is an authorization detail (RFC 9396 section 2) that says which task a token is for.
type TaskDetail struct {
	Type string `json:"type"` // TaskType
	Task string `json:"task"`
}

// TaskType is the one type of authorization details that Lanyard knows.
const TaskType = "lanyard_task"

// DetailsOf is the authorization_details claim of a token for a task: nil for none.
func DetailsOf(task string) []TaskDetail {
	if task == "" {
		return nil
	}
	return []TaskDetail{{TaskType, task}}
}

// Mint signs c, an access token, with the key that is current at c.Issued.
func (s *Signer) Mint(c Claims) (string, error) {
	if !c.MayAct.IsZero() {
		return "", errors.New("mint token: nobody else may act with an access token")
	}
	return s.mint(c, "")
}

// mint signs c as what typ says; empty for an access token.
func (s *Signer) mint(c Claims, typ string) (string, error) {
	w := wire{Issuer: c.Issuer, Subject: c.Chain.Root().String(), Audience: c.Audience, Client: c.Client, ID: c.ID,
		Issued: c.Issued.Unix(), Expires: c.Expires.Unix(), Scope: c.Scope, Owner: string(c.Owner), Credential: c.Credential, From: c.From}
	if len(c.Chain) > identity.MaxChain {
		return "", fmt.Errorf("mint token: its chain has %d links, more than %d", len(c.Chain), identity.MaxChain)
	}
	if len(c.From) > MaxFrom {
		return "", fmt.Errorf("mint token: it comes from %d others, more than %d", len(c.From), MaxFrom)
	}
	for _, l := range c.Chain {
		w.Generation = append(w.Generation, l.Generation)
	}
	if w.Issuer == "" || w.Subject == "" || w.Audience == "" || w.Client == "" || w.ID == "" || w.Expires <= w.Issued {
		return "", errors.New("mint token: a required claim is missing")
	}
	if c.Key != (Confirmation{}) {
		w.Key = &c.Key
	}
	if c.Task != "" {
		w.Task, w.Details = c.Task, DetailsOf(c.Task)
	}
	if len(c.Chain) > 1 {
		w.Act, w.Chain = ActOf(c.Chain), c.Chain.Texts()
	}
	if !c.MayAct.IsZero() {
		w.MayAct = &Act{Subject: c.MayAct.String()}
	}
	if c.Status != (Place{}) {
		w.Status = &placed{c.Status}
	}
	at, err := s.current(c.Issued)
	if err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	payload, err := json.Marshal(w)
	if err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	header := s.header[at]
	if typ != "" {
		header = s.keys[at].header(typ)
	}
	raw := make([]byte, 0, len(header)+len(payload)*4/3+100)
	raw = strict64.AppendEncode(append(raw, header...), payload)
	sig := ed25519.Sign(s.keys[at].private, raw)
	raw = strict64.AppendEncode(append(raw, '.'), sig)
	if len(raw) > MaxToken {
		return "", fmt.Errorf("mint token: it would be larger than %d bytes", MaxToken)
	}
	return string(raw), nil
}
