// Package policy says whether it may. A [Grant] says what one identity may do on
// one upstream; a [Guardrail] what nobody may, whatever is granted. Both are Cedar,
// checked against a schema made of the actions that the upstreams have
// ([Schema]). [Compile] turns the plain fields of a grant into Cedar that people
// can read. Each identity has its own precompiled [Set], so that a decision costs
// the same with ten identities and with a million.
//
// A policy with @approve asks instead of deciding ([Asking]): a permit that has it
// allows, and a guardrail that has it lets pass, what people said yes to.
//
// [Set.Decide] is the one place where something becomes allowed. The zero
// [Decision] denies; so does every error in a guardrail.
package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/layer"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// Class is what an action does to the world, the same four words for every upstream.
type Class string

const (
	Read   Class = "read"
	Write  Class = "write"
	Delete Class = "delete"
	Admin  Class = "admin" // changes who may do what: sharing, rules, settings, members
)

// Action is one thing that can be done on an upstream, in its own terms.
type Action struct {
	Name       string // gmail.users.messages.send
	Class      Class
	Parameters []Parameter // what context.args can hold
	Summary    string      // one line for people
	Basic      bool        // a step of the protocol: of no use alone, needed for everything else
	Words      []string    // what systems of its sort call alike, mail.send or file.share; which of them a call is, it says
}

// Parameter is one argument of an action.
type Parameter struct {
	Name    string
	Type    string // string, integer, number (Cedar decimal), boolean or strings (a set of string)
	Format  string // what its text is, as JSON Schema says it: email, uri; empty where nothing is said
	Summary string // for people
}

// Call is what is asked for, in the upstream's own terms.
type Call struct {
	Upstream  string
	Action    string
	Class     Class
	Resource  string                // path-like, as in "users/me/messages/17c2"
	Arguments map[string]any        // string, int64, Number, bool, []string
	Rest      []provenance.Argument // texts in arguments that are of none of these kinds
	Word      string                // one of its action's, or empty
}

// Upstream is a system behind the boundary.
type Upstream struct {
	Name        string             `json:"name"`
	URL         string             `json:"url"` // base; the request's path is appended
	Owner       identity.OwnerID   `json:"owner,omitempty"`
	OwnerName   string             `json:"owner_name,omitempty"` // for people
	Environment string             `json:"environment"`
	Family      string             `json:"family"`            // google, graph, openapi, patterns …
	Description []byte             `json:"description"`       // the family's input: a document, or its name, or lines of patterns
	Classes     map[string]Class   `json:"classes,omitempty"` // operator's override, action or glob → class
	Consent     Consent            `json:"consent,omitzero"`  // who may connect a client of theirs to it
	OAuth       *OAuth             `json:"oauth,omitempty"`   // it wants OAuth of its own; nil: it does not
	Header      string             `json:"header,omitempty"`  // where the broker's secret goes; default Authorization
	WebSocket   bool               `json:"websocket,omitempty"`
	Counters    map[string]Counter `json:"counters,omitempty"`     // amounts that a task's budget can limit, by name
	ChainHeader string             `json:"chain_header,omitempty"` // where it is told who is behind a request; empty: it is not told
	Agent       identity.ID        `json:"agent,omitzero"`         // it is this identity, which is introduced to its callers; zero: it is none
	StatusList  bool               `json:"status_list,omitempty"`  // its tokens have a place in a status list, for who verifies them elsewhere
	Provenance  *Provenance        `json:"provenance,omitempty"`   // what is known beforehand of where values come from; nil: nothing
	Killed      bool               `json:"killed,omitempty"`       // the cord was pulled on it: every call is refused
	Set         string             `json:"set,omitempty"`
	Version     int64              `json:"version"`
}

// Consent says who may let a client of theirs act on an upstream, and how far. The
// upstream's own owner always may. The zero Consent: nobody else.
type Consent struct {
	Owners  []identity.OwnerID `json:"owners,omitempty"`  // or "*": every owner
	Classes []Class            `json:"classes,omitempty"` // at most; default read
}

// OAuth is how an upstream is signed in to that wants OAuth of its own: with the account
// that an owner has there.
type OAuth struct {
	Account    Account           `json:"account"`
	Issuer     string            `json:"issuer,omitempty"`     // its authorization server; empty: the upstream says which (RFC 9728)
	Client     string            `json:"client_id,omitempty"`  // ours at that server; empty: a metadata document, or what it registers
	Scopes     []string          `json:"scopes,omitempty"`     // to ask for; empty: what the upstream says it needs
	Parameters map[string]string `json:"parameters,omitempty"` // that the server's sign-in page wants besides
}

// Account says whose account at an upstream an identity's requests go with.
type Account string

const (
	Own    Account = "own"    // that of the identity's owner
	Shared Account = "shared" // that of the upstream's owner, for all
)

// Holder is the owner whose account at u serves the identities of owner; nobody when it
// wants none, or when nobody owns one that is shared.
func (u Upstream) Holder(owner identity.OwnerID) identity.OwnerID {
	switch {
	case u.OAuth == nil:
	case u.OAuth.Account == Own:
		return owner
	case u.OAuth.Account == Shared:
		return u.Owner
	}
	return ""
}

// Place is where an account at u may be shown, and for whom: what was signed in to for one is
// shown at no other.
func (u Upstream) Place() string {
	if u.OAuth == nil {
		return ""
	}
	return fmt.Sprintf("%q %q %q %q", u.URL, u.OAuth.Issuer, u.OAuth.Client, u.OAuth.Account)
}

// Limit returns the classes of actions on u that person may let a client have.
func (u Upstream) Limit(person identity.OwnerID) []Class {
	switch {
	case person != "" && person == u.Owner:
		return Classes
	case !slices.Contains(u.Consent.Owners, person) && !slices.Contains(u.Consent.Owners, "*"):
		return nil
	case len(u.Consent.Classes) == 0:
		return []Class{Read}
	}
	return u.Consent.Classes
}

// Grant is what one identity may do on one upstream, until when.
type Grant struct {
	ID        string               `json:"id"` // "<identity name>/<name>" in a manifest
	Identity  identity.ID          `json:"identity"`
	Upstream  string               `json:"upstream"`
	Actions   []string             `json:"actions,omitempty"`         // class names, action names, or globs of action names
	Resources []string             `json:"resources,omitempty"`       // Cedar like-patterns; empty means all
	Where     map[string]Condition `json:"conditions,omitempty"`      // by argument name
	ForOthers bool                 `json:"only_for_others,omitempty"` // only when the identity acts for another
	Cedar     string               `json:"cedar,omitempty"`           // instead of the plain fields; or what they compiled to
	Plain     bool                 `json:"plain"`                     // the plain fields are the source, Cedar was compiled from them
	Record    string               `json:"record,omitempty"`          // before | within: event durable before the reply, or within 100 ms
	Approve   string               `json:"approve,omitempty"`         // who must say yes to each call: owner, ben kim, 2 of ben kim maya; see ParseApprove
	Fresh     string               `json:"fresh,omitempty"`           // and how long ago they may have signed in: 5m
	Layers    *layer.Layers        `json:"layers,omitempty"`          // what of a mailbox, a drive or a calendar is seen, and who is written to; nil: all
	Until     time.Time            `json:"until"`
	Set       string               `json:"set,omitempty"`
}

// Condition is the plain form of a test on one argument; all given must hold.
type Condition struct {
	Is    string   `json:"is,omitempty"`
	OneOf []string `json:"one_of,omitempty"`
	Like  string   `json:"like,omitempty"` // Cedar like: * is any text; with / and *, not one that holds .. or %2e, which may lead out of it
	Min   *float64 `json:"min,omitempty"`  // of a number: exact with up to 15 digits, 4 of them after the point
	Max   *float64 `json:"max,omitempty"`
}

// Guardrail is an organisation-wide Cedar forbid that no grant can exceed.
type Guardrail struct {
	ID          string `json:"id"`
	Description string `json:"description,omitempty"` // one sentence shown to who is refused
	Cedar       string `json:"cedar"`
	Set         string `json:"set,omitempty"`
}

// Decision is deny unless something said otherwise: the zero value denies. One that
// asks denies too, until people have said yes.
type Decision struct {
	Allow     bool
	Ask       *Asking        // what people must agree to before it is allowed; nil with Allow
	Policies  []string       // ids of the grants and guardrails that decided
	Reason    string         // one sentence: for a denial what is missing and who can grant it
	Guardrail bool           // a guardrail refused it: asking for a grant will not help
	Task      bool           // the task does not name it, or there is none: nor will it then
	Before    bool           // the event must be durable before the request goes on
	Layers    []*layer.Rules // of the grants that decided: all hold, on the request and on what comes back
}
