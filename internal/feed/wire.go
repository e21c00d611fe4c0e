package feed

import (
	"errors"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// This file is what travels between a gateway elsewhere ([Client]) and its control plane.
// Down comes one line of JSON after the other ([Line]); up go requests of their own.
//
// Neighbouring versions work together by three rules. The control plane is updated first: a
// gateway that speaks a newer version than it is refused. Going up, a member that is unknown
// is refused. Coming down, one that is unknown is refused in a line and in a [Change], where it
// may be another kind of change, and ignored within what changed; unless the line needs a
// newer version than the gateway's, as it does when what is new there takes something away.

// Version is that of the wire.
//
//	1: the first
const Version = 1

// Where the control plane answers.
const (
	PathWatch      = "/feed/v1/watch"
	PathAck        = "/feed/v1/ack"
	PathRecord     = "/feed/v1/record"
	PathCredential = "/feed/v1/credential"
	PathBudget     = "/feed/v1/budget"
	PathAsk        = "/feed/v1/ask"
	PathUse        = "/feed/v1/use"
	PathIntroduce  = "/feed/v1/introduce"
	PathJoin       = "/feed/v1/join"
	PathRotate     = "/feed/v1/rotate"
)

// VersionHeader says which version a gateway speaks.
const VersionHeader = "Lanyard-Feed"

// Line is one line of a watch; it says one thing. The first says the version.
type Line struct {
	Version int      `json:"version,omitempty"`
	Trust   [][]byte `json:"trust,omitempty"` // the authorities that the control plane's certificates come from, DER; with the version, and when they change
	Needs   int      `json:"needs,omitempty"` // the oldest version that understands the change; 0: any
	Change  *Change  `json:"change,omitempty"`
	Alive   bool     `json:"alive,omitempty"` // nothing changed, and the link is whole
	Fault   *Fault   `json:"fault,omitempty"` // the last line: why it ends
}

// UnsafeSecret is a [Secret] as it travels: the one form that holds it for others to read.
type UnsafeSecret struct {
	Header  string           `json:"header,omitempty"`
	Value   string           `json:"value,omitempty"`
	Expires time.Time        `json:"expires,omitzero"`
	Owner   identity.OwnerID `json:"owner,omitempty"`
}

// UnsafeIntroduction is an [Introduction] as it travels.
type UnsafeIntroduction struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// What gateways send, by where it goes, and what is answered to it.
type (
	// LeaseAnswer answers PathAck: for how long the gateway may go on, counted from before it asked.
	LeaseAnswer struct {
		Milliseconds int64 `json:"lease_ms"`
	}
	// Recording is for PathRecord.
	Recording struct {
		Events []ledger.Event `json:"events"`
	}
	// CredentialCall is for PathCredential, which answers an UnsafeSecret.
	CredentialCall struct {
		Upstream string         `json:"upstream"`
		Chain    identity.Chain `json:"chain"`
		Refused  UnsafeSecret   `json:"refused,omitzero"`
	}
	// BudgetCall is for PathBudget, which answers a policy.Budget.
	BudgetCall struct {
		Task string        `json:"task"`
		Want policy.Budget `json:"want"`
	}
	// UseCall is for PathUse.
	UseCall struct {
		ID      string `json:"id"`
		Hash    string `json:"hash"`
		Request string `json:"request"`
	}
	// IntroduceCall is for PathIntroduce, which answers an UnsafeIntroduction.
	IntroduceCall struct {
		Upstream string `json:"upstream"`
		Access   string `json:"access"`
	}
	// JoinCall is for PathJoin, and without a token for PathRotate; both answer a Membership.
	JoinCall struct {
		Name    string `json:"name,omitempty"`   // of the gateway, as in the join token
		Secret  string `json:"secret,omitempty"` // of the join token
		Attest  string `json:"attest,omitempty"` // or a JWT of who attests the gateway
		Request []byte `json:"request"`          // for a certificate of a new key: PKCS #10, DER
	}
)

// Membership is what a gateway is told when it joins, and with each new certificate.
type Membership struct {
	Name        string   `json:"name"`
	Domain      string   `json:"domain"` // trust domain
	Issuer      string   `json:"issuer"` // whose tokens are accepted
	URL         string   `json:"url"`    // public base of the gateways
	Certificate []byte   `json:"certificate"`
	Trust       [][]byte `json:"trust"`
}

// ErrRefused means that the control plane decided against what was asked.
var ErrRefused = errors.New("refused")

// ErrEvicted means that this gateway is no more one of the fleet: it has to stop serving, for good.
var ErrEvicted = errors.New("this gateway was evicted; an operator can let it join again: lanyard gateway token")

// ErrCertificate means that a gateway's certificate is not, or no more, the one to show.
var ErrCertificate = errors.New("the gateway's certificate is not good")

// ErrVersion means that gateway and control plane are of versions that do not work together.
var ErrVersion = errors.New("gateway and control plane do not understand each other")

// Fault is an error as it travels. What a gateway tells apart keeps its type.
type Fault struct {
	Code  string `json:"code"`
	Text  string `json:"text"`
	URL   string `json:"url,omitempty"`  // of no_account
	Task  string `json:"task,omitempty"` // of spent, as the three that follow
	Kind  string `json:"kind,omitempty"`
	Limit int64  `json:"limit,omitempty"`
	Left  int64  `json:"left,omitempty"`
}

// Codes of faults that have nothing but a text of their own.
const (
	FaultRefused     = "refused"
	FaultUnavailable = "unavailable" // it may work later, or at another address
	FaultInvalid     = "invalid"     // the request is not what it has to be
)

var plainFaults = map[string]error{
	"compacted": ErrCompacted, "used": ErrUsed, "evicted": ErrEvicted, "certificate": ErrCertificate, "version": ErrVersion, FaultRefused: ErrRefused,
}

// FaultOf is err as it travels; nil if it is none that a gateway tells apart, and so nobody's but the control plane's.
func FaultOf(err error) *Fault {
	var account *NoAccount
	var spent *Spent
	var asked *NotAsked
	switch {
	case errors.As(err, &account):
		return &Fault{Code: "no_account", Text: account.Text, URL: account.URL}
	case errors.As(err, &spent):
		return &Fault{Code: "spent", Text: spent.Error(), Task: spent.Task, Kind: spent.Kind, Limit: spent.Limit, Left: spent.Left}
	case errors.As(err, &asked):
		return &Fault{Code: "not_asked", Text: asked.Why}
	}
	for code, is := range plainFaults {
		if errors.Is(err, is) {
			return &Fault{Code: code, Text: err.Error()}
		}
	}
	return nil
}

// Err is the error that travelled.
func (f *Fault) Err() error {
	switch f.Code {
	case "no_account":
		return &NoAccount{Text: f.Text, URL: f.URL}
	case "spent":
		return &Spent{Task: f.Task, Kind: f.Kind, Limit: f.Limit, Left: f.Left}
	case "not_asked":
		return &NotAsked{Why: f.Text}
	}
	return &remoteError{f.Text, plainFaults[f.Code]}
}

// remoteError is what a control plane elsewhere said.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }
