package ledger

import "time"

// Outcome is how something ended.
type Outcome string

const (
	Allowed Outcome = "allowed"
	Refused Outcome = "refused"
	Failed  Outcome = "failed"  // allowed, and then the upstream or the network failed
	Pending Outcome = "pending" // the durable intent of a privileged request, written before it is forwarded
)

// OfGateways reports whether gateways put events of that type on record. Of those elsewhere the control plane takes no others.
func OfGateways(kind string) bool {
	return kind == "request" || kind == "request.ask" || kind == "upstream.differ"
}

// Event is one fact of what happened. Names are plain strings, so that an
// auditor needs nothing else of Lanyard's to read one.
type Event struct {
	ID         string    // unique: "evt_" + UUIDv7; the same event recorded twice counts once
	Time       time.Time // microseconds, UTC
	Type       string    // what happened, noun.verb: request, token.issue, token.revoke, identity.register, identity.kill, grant.put, key.rotate, ...
	Outcome    Outcome
	Actor      string   // who did it: a SPIFFE ID, or "operator:<name>"
	Chain      []string // who was behind it, actor first
	Owner      string   // the accountable owner of the actor (or of the object, for an operator's change)
	Credential string   // id of the credential, never a secret
	Token      string   // jti, for token events and requests
	Action     string   // the upstream's own action: gmail.users.messages.send
	Class      string   // read, write, delete, admin
	Upstream   string
	Resource   string            // what it was done to
	Reason     string            // one sentence
	Policies   []string          // ids of the grants and guardrails that decided
	Request    string            // id that joins the events of one request
	Trace      string            // W3C trace id
	Source     string            // peer address
	Gateway    string            // which gateway saw it
	Status     int               // HTTP status of the reply
	Duration   time.Duration     // of the request
	Detail     map[string]string // anything else worth knowing; never secrets
}
