// Package token makes and judges everything Lanyard signs or is shown as a proof.
//
// An access token (RFC 9068) is minted by a [Signer] from [Claims] and judged by
// a [Verifier]. A [Proof] (DPoP, RFC 9449) shows that the sender holds the key
// that a token is bound to; [Replay] and [Nonces] make it fresh. An [Assertion]
// (RFC 7523) and an API key show which client asks for a token; a [Voucher] (ID-JAG)
// is an identity provider's word on whose client it is.
//
// All of them are compact JWS with JSON inside, and all are read by one strict
// reader: exactly three unpadded base64url segments, only the header members
// that belong there, no duplicate or case-variant member, no NUL, no excess
// depth or size. A reader that refuses what is ambiguous cannot disagree with
// another reader about what a token says.
//
// Nothing here opens a socket, a file or a clock.
package token

import "time"

// Error says why a token, proof, assertion or key was refused. Code is an OAuth
// error code of the RFC concerned; Text is for people and holds no secret.
type Error struct{ Code, Text string }

func (e *Error) Error() string { return e.Text }

// The codes of Error.
const (
	InvalidToken  = "invalid_token"      // RFC 6750 section 3.1
	InvalidProof  = "invalid_dpop_proof" // RFC 9449 section 5
	UseNonce      = "use_dpop_nonce"     // RFC 9449 section 8
	InvalidClient = "invalid_client"     // RFC 6749 section 5.2
	InvalidGrant  = "invalid_grant"      // RFC 6749 section 5.2
)

// Limits, the same for everybody.
const (
	MaxToken     = 8 << 10          // bytes of an access token, proof or assertion
	Skew         = 30 * time.Second // tolerated on iat and nbf; none on exp
	ProofWindow  = 60 * time.Second // a proof is accepted for so long after its iat
	ReplayWindow = ProofWindow + 2*Skew
	MaxAssertion = 5 * time.Minute // an assertion may expire this far ahead
	MaxVoucher   = time.Hour       // a voucher is good for so long after its iat, at most
	MaxFrom      = 16              // exchanges in a row that a token can come from
	maxID        = 256             // bytes of a jti
)
