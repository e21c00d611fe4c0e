// Package feed is the one wire between the control plane and a gateway: changes
// go down, events come up, and an upstream's credential is asked for.
package feed

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// ErrCompacted means that a cursor is older than the feed keeps: start again from a snapshot (the zero Cursor).
var ErrCompacted = errors.New("cursor is older than the feed keeps")

// Cursor is a place in the feed. Epoch changes when the control plane's history does (a restore).
type Cursor struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// Change is one thing that changed. Exactly one of the pointers is set, or Synced.
type Change struct {
	Cursor     Cursor               `json:"cursor"`
	Owner      *identity.Owner      `json:"owner,omitempty"`
	Identity   *identity.Identity   `json:"identity,omitempty"`
	Credential *identity.Credential `json:"credential,omitempty"`
	Upstream   *policy.Upstream     `json:"upstream,omitempty"`
	Grant      *policy.Grant        `json:"grant,omitempty"`
	Guardrail  *policy.Guardrail    `json:"guardrail,omitempty"`
	Task       *policy.Task         `json:"task,omitempty"`
	Token      *TokenRevocation     `json:"token,omitempty"`
	Kill       *Kill                `json:"kill,omitempty"`
	Keys       *Keys                `json:"keys,omitempty"`
	Account    *Account             `json:"account,omitempty"`
	Approval   *Approval            `json:"approval,omitempty"`
	Removed    bool                 `json:"removed,omitempty"` // the named thing is gone (grant, guardrail, upstream, owner, or a child that ended)
	Synced     bool                 `json:"synced,omitempty"`  // end of a snapshot: the view may serve
}

// TokenRevocation ends one token before its time. It can be forgotten after Expires.
type TokenRevocation struct {
	ID      string    `json:"id"` // jti
	Expires time.Time `json:"expires"`
}

// Kill ends many identities at once: each is killed, its generation grows by
// one, all its credentials are revoked. One change, however many.
type Kill struct {
	ID         string        `json:"id"` // "kill_..."
	Identities []identity.ID `json:"identities,omitempty"`
	Upstream   string        `json:"upstream,omitempty"` // or: this upstream is cut off
	At         time.Time     `json:"at"`
}

// Keys is the set of public keys that tokens are verified with (a JWKS, RFC 7517).
type Keys struct {
	JWKS []byte `json:"jwks"`
}

// Account is what an owner signed in to an upstream for, or the end of it: what a gateway
// holds of that is no longer to be shown. A snapshot has none: it ends all that is held.
type Account struct {
	Upstream string           `json:"upstream"`
	Owner    identity.OwnerID `json:"owner"`
}

// Secret is an upstream's credential, as a header to set. It never prints.
type Secret struct {
	Header  string
	Value   string
	Expires time.Time        // zero: until the upstream changes
	Owner   identity.OwnerID // whose account it is, and so whose identities it may serve; empty: the upstream's own credential
}

func (Secret) String() string               { return "[secret]" }
func (Secret) GoString() string             { return "[secret]" }
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Source is the control plane as a gateway sees it.
type Source interface {
	// Watch yields what changed after the cursor, each change once and in order.
	// After the zero Cursor it first yields a snapshot that ends with Synced.
	// It ends with ctx, or with ErrCompacted.
	Watch(ctx context.Context, after Cursor) iter.Seq2[Change, error]
	// Ack says: I enforce everything up to here. It returns for how long the gateway may go on
	// without word, counted from a moment before it called: 0 when the cursor is no longer good for that.
	Ack(ctx context.Context, at Cursor) (lease time.Duration, err error)
	// Record returns nil once the events are durable in the ledger.
	Record(ctx context.Context, events []ledger.Event) error
	// Credential is asked for; control decides again before it answers. The zero
	// Secret means that the upstream needs none. What the upstream refused of what was
	// answered before is refused; the zero Secret for nothing. The error is a *NoAccount if a
	// person must sign in first.
	Credential(ctx context.Context, upstream string, chain identity.Chain, refused Secret) (Secret, error)
	// Draw takes at least want of each kind from what remains of the task's budget, durably, and
	// returns what was taken; all of it or, with a *Spent, nothing. Whoever draws holds it and counts
	// it down in memory; what a gateway that dies still held is lost to the task, so that it never
	// uses more than its budget. Negative amounts give back what was not used; that is never tried twice.
	Draw(ctx context.Context, task string, want policy.Budget) (policy.Budget, error)
	// Introduce returns a token with which the agent that the upstream is, and nobody else, gets
	// tokens on behalf of those behind access: the access token that a caller of the upstream
	// showed, which is verified again. It ends no later than that one.
	Introduce(ctx context.Context, upstream, access string) (Introduction, error)
}

// NoAccount means that an upstream is used with an owner's account, and that there is none
// or that it is no longer good.
type NoAccount struct {
	Text string // why, and who can do what about it: for people, also for who asked
	URL  string // where that owner signs in to the upstream
}

func (e *NoAccount) Error() string { return e.Text }

// Receipt says which gateways enforce a change, and by when those that have not confirmed
// it have stopped by themselves, since their leases end. Times are of the control plane's
// wall clock, for people: what is promised was measured with a [Clock].
type Receipt struct {
	Cursor    Cursor               `json:"cursor"`
	Committed time.Time            `json:"committed"`
	AsOf      time.Time            `json:"as_of"`             // when this was so
	Confirmed map[string]time.Time `json:"confirmed"`         // gateway → when it confirmed
	Waiting   map[string]time.Time `json:"waiting,omitempty"` // gateway that has not → when it has stopped, unless it confirms before
	Bound     time.Time            `json:"bound,omitzero"`    // the last of those: from then on nobody acts against it
}

// Settled reports whether the change is in force everywhere: each gateway has confirmed it, or has stopped.
func (r *Receipt) Settled() bool { return !r.AsOf.Before(r.Bound) }

// Closed is the Source of a gateway that has not heard from its control plane: it refuses everything.
type Closed struct{}

var errClosed = errors.New("no control plane")

func (Closed) Watch(context.Context, Cursor) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) { yield(Change{}, errClosed) }
}
func (Closed) Ack(context.Context, Cursor) (time.Duration, error) { return 0, errClosed }
func (Closed) Record(context.Context, []ledger.Event) error       { return errClosed }
func (Closed) Credential(context.Context, string, identity.Chain, Secret) (Secret, error) {
	return Secret{}, errClosed
}
func (Closed) Draw(context.Context, string, policy.Budget) (policy.Budget, error) {
	return nil, errClosed
}
func (Closed) Introduce(context.Context, string, string) (Introduction, error) {
	return Introduction{}, errClosed
}

var _ Source = Closed{}
