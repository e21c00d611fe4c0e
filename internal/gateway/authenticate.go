package gateway

import (
	"crypto/sha256"
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
	if err := g.live(); err != nil {
		return err
	}
	if !identity.ValidName(r.name) {
		return &problem{status: http.StatusNotFound, kind: "unknown-upstream", detail: "There is no upstream " + quote(r.name) + "; paths begin with the name of one."}
	}
	r.source, _, _ = net.SplitHostPort(r.in.RemoteAddr)
	scheme, raw, err := token.ParseAuthorization(r.in.Header["Authorization"])
	if err != nil {
		return shown(err)
	}
	if r.claims, err = g.verify(r, raw); err != nil {
		return err
	}
	r.access = raw
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
	subject, ok := g.View.Subject(r.claims.Actor())
	if !ok {
		return unauthorized("invalid_token", "The access token is no longer good: its identity is unknown.")
	}
	r.subject = subject
	return nil
}

// verify judges a token once and remembers the result until the token expires.
// What is remembered never delays a revocation: that is asked on every request.
func (g *Gateway) verify(r *request, raw string) (*token.Claims, error) {
	keys := g.View.Keys()
	if keys == nil {
		return nil, unavailable("The gateway has no keys to verify tokens with yet.")
	}
	key := tokenKey{sha256.Sum256([]byte(raw)), r.name, keys}
	if c := g.verified.get(key); c != nil && r.start.Before(c.Expires) {
		return c, nil
	}
	c, err := keys.Verify(raw, g.Issuer, g.audience(r.name), r.start)
	if err != nil {
		return nil, shown(err)
	}
	g.verified.put(key, &c, r)
	return &c, nil
}

// possession checks that the sender holds the key the token is bound to. What the
// request is we know ourselves: our public URL, never a header of the caller's,
// except for the upstream's own host.
func (g *Gateway) possession(r *request, scheme, raw string) error {
	base := g.URL
	if r.byHost {
		base = g.scheme + "://" + r.in.Host
	}
	path, _, _ := strings.Cut(r.in.RequestURI, "?")
	show := token.Possession{Scheme: scheme, Raw: raw, Proofs: r.in.Header["Dpop"], Method: r.in.Method, URL: base + path,
		Nonce: func(n string) bool { return g.nonces.Valid(n, r.start) }, Replay: g.replay, Now: r.start}
	if r.in.TLS != nil && len(r.in.TLS.PeerCertificates) > 0 {
		show.Peer = token.CertThumbprint(r.in.TLS.PeerCertificates[0].Raw)
	}
	nonce, err := show.Check(r.claims.Key)
	if err != nil {
		return shown(err)
	}
	if current := g.nonces.Make(r.start); r.claims.Key.JKT != "" && current != nonce {
		r.nonce = current
	}
	return nil
}

// shown is what is wrong with what a caller shows of itself.
func shown(err error) error {
	var e *token.Error
	if errors.As(err, &e) {
		return unauthorized(e.Code, "The "+e.Text+".")
	}
	return err
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
