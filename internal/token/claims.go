package token

import (
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Claims is what an access token says (RFC 9068).
type Claims struct {
	ID         string           // jti, RFC 9068 section 2.2
	Issuer     string           // iss
	Chain      identity.Chain   // never empty. sub is its root, act (RFC 8693 section 4.1) the others, the actor outermost; "chain" and "gen" say all of it
	Client     string           // client_id: what the actor calls itself; the SPIFFE ID, or for one that a person connected its OAuth client_id
	Audience   string           // aud: exactly one (RFC 8707)
	Scope      string           // scope, space separated, may be empty
	Issued     time.Time        // iat, whole seconds
	Expires    time.Time        // exp, whole seconds
	Owner      identity.OwnerID // "owner", of the actor
	Credential string           // "cred": id of the credential that obtained it
	Task       string           // "task": the task it is for, empty for none; "authorization_details" (RFC 9396 section 9.1) says the same
	Key        Confirmation     // cnf
	From       []string         // "from": jti of the tokens it came from by exchange, and the credentials they were obtained with; it ends with each of them
	Status     Place            // status: where its audience reads whether it is still good, if that wants to
	MayAct     identity.ID      // may_act (RFC 8693 section 4.4), of an introduction and of nothing else: who may act for all of the chain
}

// Actor is who acts with the token.
func (c *Claims) Actor() identity.ID { return c.Chain.Actor() }

// Confirmation is the key a token is bound to. The zero value is an unbound bearer token.
type Confirmation struct {
	JKT     string `json:"jkt,omitempty"`      // RFC 9449 section 6.1: DPoP key thumbprint
	X5TS256 string `json:"x5t#S256,omitempty"` // RFC 8705 section 3.1: certificate thumbprint
}
