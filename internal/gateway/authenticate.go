package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// authenticate says who is asking: one token, ours, for this upstream, still
// good, and shown by the holder of the key it is bound to.
func (g *Gateway) authenticate(r *request, from *caller) error {
	if from != nil {
		return g.vouched(r, from)
	}
	if err := g.View.Live(r.start); err != nil {
		return unavailable("The gateway has not heard from its control plane, so nothing may pass.")
	}
	if !identity.ValidName(r.name) {
		return &problem{status: http.StatusNotFound, kind: "unknown-upstream", detail: "There is no upstream " + quote(r.name) + "; paths begin with the name of one."}
	}
	r.source, _, _ = net.SplitHostPort(r.in.RemoteAddr)
	scheme, raw, err := credentials(r.in)
	if err != nil {
		return err
	}
	if r.claims, err = g.verify(r, raw); err != nil {
		return err
	}
	if err := g.possession(r, scheme, raw); err != nil {
		return err
	}
	return g.admit(r)
}

// admit asks whether who asks is still good, and finds what is known of it.
func (g *Gateway) admit(r *request) error {
	if err := g.View.Check(*r.claims, r.start); err != nil {
		return unauthorized("invalid_token", "The access token is no longer good: "+err.Error()+".")
	}
	subject, ok := g.View.Subject(r.claims.Subject)
	if !ok {
		return unauthorized("invalid_token", "The access token is no longer good: its identity is unknown.")
	}
	r.subject = subject
	return nil
}

// credentials returns the one token of the request (RFC 6750 section 2.1, RFC 9449 section 7.1).
func credentials(in *http.Request) (scheme, raw string, err error) {
	values := in.Header["Authorization"]
	if len(values) == 0 {
		return "", "", unauthorized("", "The request carries no access token.")
	}
	scheme, raw, ok := strings.Cut(values[0], " ")
	dpop := strings.EqualFold(scheme, "DPoP")
	if !ok || raw == "" || strings.ContainsAny(raw, " ,") || !dpop && !strings.EqualFold(scheme, "Bearer") {
		return "", "", unauthorized("", "The request carries no access token in a form that is accepted.")
	}
	if dpop {
		return "DPoP", raw, nil
	}
	return "Bearer", raw, nil
}

// verify judges a token once and remembers the result until the token expires.
// What is remembered never delays a revocation: that is asked on every request.
func (g *Gateway) verify(r *request, raw string) (*token.Claims, error) {
	keys := g.View.Keys()
	if keys == nil {
		return nil, unavailable("The gateway has no keys to verify tokens with yet.")
	}
	if len(raw) > token.MaxToken {
		return nil, unauthorized("invalid_token", "The access token is too long.")
	}
	key := tokenKey{sha256.Sum256([]byte(raw)), r.name, keys}
	if c := g.verified.get(key); c != nil && r.start.Before(c.Expires) {
		return c, nil
	}
	c, err := keys.Verify(raw, g.Issuer, g.audience(r.name), r.start)
	if err != nil {
		var e *token.Error
		if errors.As(err, &e) {
			return nil, unauthorized(e.Code, "The "+e.Text+".")
		}
		return nil, err
	}
	g.verified.put(key, &c, r)
	return &c, nil
}

// possession checks that the sender holds the key the token is bound to (RFC
// 9449 section 7.1, RFC 8705 section 3).
func (g *Gateway) possession(r *request, scheme, raw string) error {
	bound := r.claims.Key
	if (bound.JKT != "") != (scheme == "DPoP") {
		if bound.JKT != "" {
			return unauthorized("invalid_token", "The access token is bound to a key: send it with the DPoP scheme and a proof.")
		}
		return unauthorized("invalid_token", "The access token is not bound to a DPoP key, so it cannot be sent with the DPoP scheme.")
	}
	if bound.X5TS256 != "" && !samePeer(r.in, bound.X5TS256) {
		return unauthorized("invalid_token", "The access token is bound to a certificate that this connection did not show.")
	}
	if bound.JKT == "" {
		return nil
	}
	proofs := r.in.Header["Dpop"]
	if len(proofs) != 1 {
		return unauthorized("invalid_dpop_proof", "A bound access token needs exactly one DPoP proof.")
	}
	if err := g.proof(r, proofs[0], raw); err != nil {
		var e *token.Error
		if errors.As(err, &e) {
			return unauthorized(e.Code, "The "+e.Text+".")
		}
		return err
	}
	return nil
}

func samePeer(in *http.Request, thumbprint string) bool {
	if in.TLS == nil || len(in.TLS.PeerCertificates) == 0 {
		return false
	}
	have := token.CertThumbprint(in.TLS.PeerCertificates[0].Raw)
	return subtle.ConstantTimeCompare([]byte(have), []byte(thumbprint)) == 1
}

// proof judges a DPoP proof against what we know the request to be: our public
// URL, never a header of the caller's, except for the upstream's own host.
func (g *Gateway) proof(r *request, raw, access string) error {
	p, err := token.ParseProof(raw)
	if err != nil {
		return err
	}
	base := g.URL
	if r.byHost {
		base = g.scheme + "://" + r.in.Host
	}
	path, _, _ := strings.Cut(r.in.RequestURI, "?")
	jkt, err := p.Check(token.ProofWant{
		Method: r.in.Method, URL: base + path, TokenHash: token.TokenHash(access), Now: r.start,
		Nonce: func(n string) bool { return g.nonces.Valid(n, r.start) },
	})
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(jkt), []byte(r.claims.Key.JKT)) != 1 {
		return &token.Error{Code: token.InvalidProof, Text: "DPoP proof is made with another key than the token is bound to"}
	}
	if g.replay.Seen(p.Key(), r.start) {
		return &token.Error{Code: token.InvalidProof, Text: "DPoP proof was used before; make a new one for each request"}
	}
	if current := g.nonces.Make(r.start); current != p.Nonce {
		r.nonce = current
	}
	return nil
}

// tokenKey is everything that the verification of a token depends on, but time.
type tokenKey struct {
	hash     [sha256.Size]byte
	upstream string
	keys     *token.Verifier
}

// verified remembers tokens that were found good, in shards, bounded.
type verified struct {
	limit int
	shard [64]struct {
		sync.RWMutex
		m map[tokenKey]*token.Claims
	}
}

func newVerified(limit int) *verified {
	v := &verified{limit: limit/64 + 1}
	for i := range v.shard {
		v.shard[i].m = map[tokenKey]*token.Claims{}
	}
	return v
}

func (v *verified) get(k tokenKey) *token.Claims {
	s := &v.shard[k.hash[0]%64]
	s.RLock()
	defer s.RUnlock()
	return s.m[k]
}

// put remembers c. In a full shard the expired go, then whichever comes first.
func (v *verified) put(k tokenKey, c *token.Claims, r *request) {
	s := &v.shard[k.hash[0]%64]
	s.Lock()
	defer s.Unlock()
	if len(s.m) >= v.limit {
		for old, claims := range s.m {
			if !r.start.Before(claims.Expires) {
				delete(s.m, old)
			}
		}
		for old := range s.m {
			if len(s.m) < v.limit {
				break
			}
			delete(s.m, old)
		}
	}
	s.m[k] = c
}
