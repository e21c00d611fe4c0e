package gateway

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// What an upstream is told of who is behind a request. Both are ours to say: what a
// caller sends in a header of these names goes no further (clean.go).

// onBehalfOf is where an agent that is called finds its introduction. It is never the caller's own token.
const onBehalfOf = "Lanyard-On-Behalf-Of"

const (
	maxIntroductions = 4096             // remembered of one upstream
	spare            = 30 * time.Second // an introduction that ends sooner is made anew, if the caller's token lasts
)

// tell sees to what the upstream is told. The headers themselves are set in rewrite.
func (g *Gateway) tell(r *request) error {
	u := r.backend.upstream
	if u.ChainHeader != "" {
		if _, taken := r.in.Trailer[u.ChainHeader]; taken {
			return malformed("A trailer must not be called " + quote(u.ChainHeader) + ".")
		}
		r.behind = structured(r.claims.Chain)
	}
	if u.Agent.IsZero() {
		return nil
	}
	if err := mayCall(r.claims.Chain, u.Agent); err != nil {
		return err
	}
	if agent, ok := g.View.Subject(u.Agent); !ok || agent.Identity.Usable(g.Now()) != nil {
		return &problem{status: http.StatusForbidden, kind: "killed", oauth: "insufficient_scope", detail: r.name + " cannot be asked: the agent that it is, " + u.Agent.Name() + ", was stopped, has expired or is unknown."}
	}
	i, err := g.introduction(r)
	if err != nil {
		g.Log.Warn("introduction", "upstream", r.name, "request", r.id, "error", err)
		return unavailable("What " + u.Agent.Name() + " needs to act on behalf of its caller is not to be had right now.")
	}
	r.introduction = i
	return nil
}

// mayCall refuses a call of which nothing could come: what the agent did for its caller
// would need a chain that there cannot be.
func mayCall(chain identity.Chain, agent identity.ID) error {
	loop := func(detail string) error { return &problem{status: http.StatusForbidden, kind: "loop", detail: detail} }
	if slices.ContainsFunc(chain, func(l identity.Link) bool { return l.ID == agent }) {
		return loop(agent.Name() + " is behind this request itself, so it cannot be asked: nobody acts for itself by way of another.")
	}
	if len(chain) >= identity.MaxChain {
		return loop(fmt.Sprintf("%d are behind this request already, which is the most: no further agent can be asked.", len(chain)))
	}
	return nil
}

// structured is the chain as a list of strings (RFC 9651 section 3.1), the actor first.
func structured(c identity.Chain) string {
	quoted := make([]string, len(c))
	for i, l := range c {
		quoted[i] = strconv.Quote(l.ID.String()) // a SPIFFE ID of ours is printable ASCII without quote or backslash
	}
	return strings.Join(quoted, ", ")
}

// introductions are those of one upstream, by the id of the caller's token.
type introductions struct {
	mu sync.Mutex
	of map[string]feed.Introduction
}

// introduction is remembered for as long as it lasts: it says no more than the token that it was made for.
func (g *Gateway) introduction(r *request) (feed.Introduction, error) {
	kept := &r.backend.introductions
	kept.mu.Lock()
	i, ok := kept.of[r.claims.ID]
	kept.mu.Unlock()
	now := g.Now() // r may have waited for people
	if ok && (now.Add(spare).Before(i.Expires) || now.Before(i.Expires) && i.Expires.Equal(r.claims.Expires)) {
		return i, nil
	}
	ctx, cancel := context.WithTimeout(r.in.Context(), g.Limits.Record)
	defer cancel()
	i, err := g.Source.Introduce(ctx, r.name, r.access)
	if err != nil {
		return i, err
	}
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if kept.of == nil || len(kept.of) >= maxIntroductions {
		kept.of = map[string]feed.Introduction{}
	}
	kept.of[r.claims.ID] = i
	return i, nil
}

// setTold puts what the upstream is told on the outgoing headers.
func (r *request) setTold(h http.Header) {
	if name := r.backend.upstream.ChainHeader; name != "" {
		h[name] = []string{r.behind}
	}
	if r.introduction.Token != "" {
		h[onBehalfOf] = []string{r.introduction.Token}
	}
}
