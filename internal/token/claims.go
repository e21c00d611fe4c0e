package token

import (
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
)

// Claims is what an access token says (RFC 9068).
type Claims struct {
	ID         string           // jti, RFC 9068 section 2.2
	Issuer     string           // iss
	Subject    identity.ID      // sub: the SPIFFE ID
	Client     string           // client_id: what the client calls itself; the SPIFFE ID, or for one that a person connected its OAuth client_id
	Audience   string           // aud: exactly one (RFC 8707)
	Scope      string           // scope, space separated, may be empty
	Issued     time.Time        // iat, whole seconds
	Expires    time.Time        // exp, whole seconds
	Chain      identity.Chain   // "chain": actor first; without it, the subject alone
	Owner      identity.OwnerID // "owner"
	Credential string           // "cred": id of the credential that obtained it
	Generation uint64           // "gen": identity's generation when minted
	Key        Confirmation     // cnf
}

// Confirmation is the key a token is bound to. The zero value is an unbound bearer token.
type Confirmation struct {
	JKT     string `json:"jkt,omitempty"`      // RFC 9449 section 6.1: DPoP key thumbprint
	X5TS256 string `json:"x5t#S256,omitempty"` // RFC 8705 section 3.1: certificate thumbprint
}
