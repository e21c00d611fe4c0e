package client

import (
	"errors"
	"net/http"

	"github.com/lanyard-dev/lanyard/internal/token"
)

// The types of what says for whom a client acts (RFC 8693 section 3).
const (
	IDToken     = token.TypeID     // an identity provider's, about who signed in
	AccessToken = token.TypeAccess // an identity provider's, or one of the client's own that is for another resource
	JWT         = token.TypeJWT    // what a called agent finds in the header Lanyard-On-Behalf-Of
)

// OnBehalf returns a Source of the same identity whose tokens are on behalf of whom
// subject is about (token exchange, RFC 8693): the identity stays who acts, and each who is
// behind it must be allowed. They end no later than subject does; then another is needed.
func (s *Source) OnBehalf(subject, kind string) *Source {
	return &Source{config: s.config, endpoint: s.endpoint, identity: s.identity, proofs: s.proofs, nonces: s.nonces, tokens: map[string]Token{}, subject: subject, kind: kind}
}

// errNobody is what [Source.Called] returns for a request that did not come through a gateway as it should.
var errNobody = errors.New("client: the request has not exactly one Lanyard-On-Behalf-Of header: it did not come through the gateway, or the upstream is not this agent")

// Called returns what an agent uses to do what it is asked in r, a request that came
// through the gateway: tokens on behalf of its caller. What the caller may not, nobody
// can have the agent do with them. Its own Source is for what it does of itself.
func (s *Source) Called(r *http.Request) (*Source, error) {
	given := r.Header.Values("Lanyard-On-Behalf-Of")
	if len(given) != 1 || given[0] == "" {
		return nil, errNobody
	}
	return s.OnBehalf(given[0], JWT), nil
}
