// Package identity says who. An [Identity] is one non-human identity: an agent,
// a service, a bot, an API key or an OAuth client. It is named by a SPIFFE ID,
// belongs to a living [Owner], proves itself with its own [Credential]s, and
// moves between [State]s only along the [transitions] table. A [Chain] says who
// is behind a request: the actor first, the root principal last.
//
// Everything here is a value: no clock, no file, no socket.
package identity

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what sort of non-human identity it is. It is the first segment of
// the SPIFFE ID's path and never changes.
type Kind string

const (
	Agent       Kind = "agent"        // software that decides for itself what to do next
	Service     Kind = "service"      // a workload with fixed behaviour
	Bot         Kind = "bot"          // an automation with an account in other systems
	APIKey      Kind = "api_key"      // a client that can hold nothing better than a key
	OAuthClient Kind = "oauth_client" // a third party's integration
)

// Kinds lists every kind, in the order shown to people.
var Kinds = []Kind{Agent, Service, Bot, APIKey, OAuthClient}

// Person is the kind of a human being in a chain. No identity of this kind is ever
// registered, holds a credential or acts: it is an [Owner], on whose behalf others act.
const Person Kind = "person"

// PersonID is the ID that an owner has in chains.
func PersonID(domain string, o OwnerID) (ID, error) { return NewID(domain, Person, string(o)) }

// Owner is the owner that a person is; empty for any other kind.
func (id ID) Owner() OwnerID {
	if id.Kind() != Person {
		return ""
	}
	return OwnerID(id.Name())
}

// ID is a SPIFFE ID (SPIFFE-ID section 2): spiffe://<trust-domain>/<kind>/<name>.
// The zero ID names nobody. An ID is never reassigned.
type ID struct{ uri string }

// ValidName reports whether name can be the last segment of an ID, or the name
// of an owner, an upstream, a grant or a guardrail: 1 to 64 characters of a-z 0-9 . _ -,
// beginning and ending with a letter or digit.
func ValidName(name string) bool {
	return spelled(name, 64) && plain(name[len(name)-1]) && !strings.Contains(name, "..")
}

// spelled reports whether s is 1 to most of a-z 0-9 . _ -, beginning with a letter or digit. It is asked of every
// identity of a snapshot, which is why it is no regular expression.
func spelled(s string, most int) bool {
	if s == "" || len(s) > most || !plain(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !plain(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// plain reports whether c is a lower-case letter or a digit.
func plain(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// NewID makes the ID of the identity of that kind and name in trust domain.
func NewID(domain string, kind Kind, name string) (ID, error) {
	if err := valid(domain, kind, name); err != nil {
		return ID{}, err
	}
	return ID{"spiffe://" + domain + "/" + string(kind) + "/" + name}, nil
}

func valid(domain string, kind Kind, name string) error {
	if !spelled(domain, 255) {
		return fmt.Errorf("trust domain %q: use lower-case letters, digits, dots, dashes", domain)
	}
	if !kind.Valid() && kind != Person {
		return fmt.Errorf("kind %q: use one of agent, service, bot, api_key, oauth_client", kind)
	}
	if !ValidName(name) {
		return fmt.Errorf("name %q: use 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit", name)
	}
	return nil
}

// ParseID parses the text of a SPIFFE ID that Lanyard made.
func ParseID(s string) (ID, error) {
	rest, ok := strings.CutPrefix(s, "spiffe://")
	domain, path, more := strings.Cut(rest, "/")
	kind, name, whole := strings.Cut(path, "/")
	if !ok || !more || !whole || strings.Contains(name, "/") {
		return ID{}, fmt.Errorf("identity %q: want spiffe://<trust-domain>/<kind>/<name>", s)
	}
	if err := valid(domain, Kind(kind), name); err != nil {
		return ID{}, err
	}
	return ID{s}, nil
}

// MustID is ParseID for constants; it panics on a bad one.
func MustID(s string) ID {
	id, err := ParseID(s)
	if err != nil {
		panic(err)
	}
	return id
}

func (id ID) String() string { return id.uri }
func (id ID) IsZero() bool   { return id.uri == "" }

// Name is the last segment: "invoice-bot".
func (id ID) Name() string { return id.uri[strings.LastIndexByte(id.uri, '/')+1:] }

// Kind is the first segment of the path.
func (id ID) Kind() Kind {
	_, k, _ := strings.Cut(strings.TrimPrefix(id.uri, "spiffe://"), "/")
	k, _, _ = strings.Cut(k, "/")
	return Kind(k)
}

// TrustDomain is the authority of the ID.
func (id ID) TrustDomain() string {
	d, _, _ := strings.Cut(strings.TrimPrefix(id.uri, "spiffe://"), "/")
	return d
}

func (id ID) MarshalText() ([]byte, error) { return []byte(id.uri), nil }

func (id *ID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	*id, err = ParseID(string(b))
	return err
}

func (k Kind) Valid() bool {
	for _, v := range Kinds {
		if k == v {
			return true
		}
	}
	return false
}

// State is where an identity is in its life.
type State string

const (
	Pending   State = "pending"   // registered, not yet allowed to act
	Active    State = "active"    // may act, within its grants, until it expires
	Suspended State = "suspended" // stopped for now by an operator or a rule; resumes as it was
	Killed    State = "killed"    // the cord was pulled: tokens and credentials are dead for good
	Expired   State = "expired"   // its end date has passed
	Retired   State = "retired"   // over; the name stays taken for ever
)

// transitions is the whole life of an identity: from each state, the states it may go to.
var transitions = map[State][]State{
	Pending:   {Active, Retired},
	Active:    {Suspended, Killed, Expired, Retired},
	Suspended: {Active, Killed, Expired, Retired},
	Killed:    {Active, Suspended, Retired},
	Expired:   {Active, Killed, Retired},
	Retired:   {},
}

// Identity is one non-human identity.
type Identity struct {
	ID          ID        `json:"id"`
	Owner       OwnerID   `json:"owner"`
	Backup      OwnerID   `json:"backup,omitempty"` // takes over when the owner leaves
	Purpose     string    `json:"purpose"`          // one sentence, for people
	Environment string    `json:"environment"`      // production, staging, ...; calls never cross it
	State       State     `json:"state"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"`               // it stops by itself at this instant
	Generation  uint64    `json:"generation"`            // grows when its tokens must die; a token carries the one it was minted in
	KilledBy    string    `json:"killed_by,omitempty"`   // id of the kill that stopped it
	KilledFrom  State     `json:"killed_from,omitempty"` // the state it had then, which a restore gives back
	Set         string    `json:"set,omitempty"`         // the manifest set that manages it
	Client      Client    `json:"client,omitzero"`       // the OAuth client it was made for, when a person connected one
	Tasks       string    `json:"tasks,omitempty"`       // "required": it acts under tasks alone
	Parent      Link      `json:"parent,omitzero"`       // the identity that started it for a piece of work, as that was then
	Inherits    bool      `json:"inherits,omitempty"`    // it may do what its parent may; else what its own grants say, and its parent may
	Children    Children  `json:"children,omitzero"`     // how many it may start; none unless somebody says so
	Version     int64     `json:"version"`               // grows with each change
}

// TasksRequired is the value of Identity.Tasks for one that acts under tasks alone.
const TasksRequired = "required"

// Client is an OAuth client (RFC 6749 section 2) that a person connected. The same
// client of another person is another identity.
type Client struct {
	ID     string  `json:"id"`     // client_id: the URL of its metadata document, or what it was registered as
	Name   string  `json:"name"`   // its own word
	Person OwnerID `json:"person"` // who connected it
}

// Children is how many identities one may start for pieces of its work.
type Children struct {
	AtOnce int `json:"at_once"` // of its own, at one time
	Depth  int `json:"depth"`   // 1: children; 2: and theirs
}

// Among is what is allowed below somebody who may have c, by somebody above who may have o.
func (c Children) Among(o Children) Children {
	return Children{min(c.AtOnce, o.AtOnce), min(c.Depth, o.Depth)}
}

// TransitionError says that a state cannot follow another, or why it may not now.
type TransitionError struct {
	ID       ID
	From, To State
	Why      string
}

func (e *TransitionError) Error() string {
	s := fmt.Sprintf("%s is %s and cannot become %s", e.ID.Name(), e.From, e.To)
	if e.Why != "" {
		s += ": " + e.Why
	}
	return s
}

// Transition returns i in state to, or a *TransitionError. Becoming active needs
// a living owner, a purpose and an expiry after now.
func (i Identity) Transition(to State, owner Owner, now time.Time) (Identity, error) {
	bad := func(why string) (Identity, error) { return i, &TransitionError{i.ID, i.State, to, why} }
	if !i.State.may(to) {
		return bad("")
	}
	if to == Active {
		switch {
		case owner.ID == "" || owner.ID != i.Owner:
			return bad("it has no owner")
		case owner.State != OwnerActive:
			return bad("its owner " + string(owner.ID) + " has left")
		case strings.TrimSpace(i.Purpose) == "":
			return bad("it has no purpose")
		case !i.Expires.After(now):
			return bad("its expiry " + i.Expires.UTC().Format(time.RFC3339) + " has passed; give it a later one")
		}
	}
	switch to {
	case Active, Suspended:
		i.KilledBy, i.KilledFrom = "", ""
	case Killed:
		i.KilledFrom = i.State
		i.Generation++
	}
	i.State = to
	return i, nil
}

func (s State) may(to State) bool {
	for _, t := range transitions[s] {
		if t == to {
			return true
		}
	}
	return false
}

// Usable returns nil when i may act at now, else an error that says why not.
// It is checked on every request, so an expiry needs no timer to take effect.
func (i Identity) Usable(now time.Time) error {
	switch {
	case i.ID.IsZero():
		return ErrUnknown
	case i.State != Active:
		return fmt.Errorf("%s is %s", i.ID.Name(), i.State)
	case !now.Before(i.Expires):
		return fmt.Errorf("%s expired on %s", i.ID.Name(), i.Expires.UTC().Format(time.DateOnly))
	}
	return nil
}

// ErrUnknown says that no such identity is registered.
var ErrUnknown = errors.New("unknown identity")

// OwnerID is the short name of an owner, as in "maya".
type OwnerID string

// OwnerState says whether an owner can be held accountable.
type OwnerState string

const (
	OwnerActive OwnerState = "active"
	OwnerGone   OwnerState = "gone"
)

// Owner is the accountable person or team.
type Owner struct {
	ID         OwnerID    `json:"id"`
	Name       string     `json:"name"`
	Email      string     `json:"email"`
	Team       bool       `json:"team,omitempty"`
	Members    []OwnerID  `json:"members,omitempty"`    // of a team: who may approve in its name
	Generation uint64     `json:"generation,omitempty"` // grows when tokens in this owner's name must die
	Stopped    time.Time  `json:"stopped,omitzero"`     // when that last grew: what an identity provider said before counts for nothing
	Roles      []Role     `json:"roles,omitempty"`      // beyond [RoleOwner], which every person who is an owner has
	Backup     OwnerID    `json:"backup,omitempty"`     // default backup for what this owner owns
	State      OwnerState `json:"state"`
	Left       string     `json:"left,omitempty"` // the directory that said so of one that is gone; empty: somebody here did
	Set        string     `json:"set,omitempty"`
}

// CredentialKind is how a credential proves an identity, in the words of the
// OAuth token_endpoint_auth_method registry where there is one.
type CredentialKind string

const (
	PrivateKeyJWT CredentialKind = "private_key_jwt"             // RFC 7523 section 2.2: Ed25519 or ES256 key
	Certificate   CredentialKind = "self_signed_tls_client_auth" // RFC 8705 section 2.2: certificate by thumbprint
	Key           CredentialKind = "api_key"                     // lyd_..., for clients that can do no better
	RefreshToken  CredentialKind = "refresh_token"               // RFC 6749 section 1.5: rotated with each use; for clients that a person connected
	Vouched       CredentialKind = "id_jag"                      // a provider's word, shown anew for each token
)

// CredentialPrefix begins the id of every credential.
const CredentialPrefix = "cred_"

// Credential is how one identity proves itself. It is stored as public key or hash only.
type Credential struct {
	ID         string         `json:"id"` // "cred_..."
	Identity   ID             `json:"identity"`
	Kind       CredentialKind `json:"kind"`
	Thumbprint string         `json:"thumbprint"`               // unique over all: RFC 7638 of the key, RFC 8705 x5t#S256 of the certificate, or base64url SHA-256 of the API key or of the code that began the refresh tokens, or of the assertion that was the first
	PublicKey  []byte         `json:"public_key,omitempty"`     // JWK (RFC 7517); PrivateKeyJWT only
	KeyPrint   string         `json:"key_thumbprint,omitempty"` // RFC 7638 of the certificate's key, unique among all keys; Certificate only
	NotAfter   *time.Time     `json:"not_after,omitempty"`      // when the certificate itself ends; Certificate only
	Created    time.Time      `json:"created"`
	Expires    time.Time      `json:"expires"`
	LastUsed   time.Time      `json:"last_used,omitzero"` // within a minute
	Revoked    time.Time      `json:"revoked,omitzero"`
	Provider   string         `json:"provider,omitempty"` // whose word it stands on; Vouched only
}

// Usable returns nil when c may prove its identity at now.
func (c Credential) Usable(now time.Time) error {
	switch {
	case c.ID == "":
		return errors.New("unknown credential")
	case !c.Revoked.IsZero():
		return fmt.Errorf("credential %s is revoked", c.ID)
	case !now.Before(c.Expires):
		return fmt.Errorf("credential %s expired on %s", c.ID, c.Expires.UTC().Format(time.DateOnly))
	}
	return nil
}

// Link is one member of a chain, as it was when the chain was made.
type Link struct {
	ID         ID     `json:"id"`
	Generation uint64 `json:"generation"` // an identity's, or an owner's for a person
}

// Chain is who is behind a request, the actor first, the root principal last: an
// agent, the agents that it was started or asked by, the person it all is for.
type Chain []Link

// Alone is the chain of an identity that acts for nobody else.
func Alone(id ID, generation uint64) Chain { return Chain{{id, generation}} }

// MaxChain is how many links a chain may have.
const MaxChain = 8

// Actor is who acts; the zero ID of an empty chain.
func (c Chain) Actor() ID {
	if len(c) == 0 {
		return ID{}
	}
	return c[0].ID
}

// Root is on whose behalf all of it is done: the actor itself when it acts for nobody else.
func (c Chain) Root() ID {
	if len(c) == 0 {
		return ID{}
	}
	return c[len(c)-1].ID
}

// Texts is the chain for people and records.
func (c Chain) Texts() []string {
	list := make([]string, len(c))
	for i := range c {
		list[i] = c[i].ID.String()
	}
	return list
}
