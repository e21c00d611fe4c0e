package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// longestIntroduction is how long an agent that is called has for getting tokens of its own.
const longestIntroduction = 5 * time.Minute

// Introduce makes what the agent that an upstream is gets with a call, so that it can act
// on behalf of its callers ([feed.Source]). A gateway's word for who calls is not
// taken: access is verified as if it were shown here, and is for that upstream.
func (i *Issuer) Introduce(ctx context.Context, upstream, access, gateway string) (feed.Introduction, error) {
	now := i.Now()
	none := feed.Introduction{}
	c, err := i.Ring.Verifier().Verify(access, i.URL, "", now)
	if err == nil {
		err = errors.Join(i.View.Live(), i.View.Check(c, now))
	}
	if err != nil {
		return none, fmt.Errorf("introduce who calls %s: %w", upstream, err)
	}
	u, ok := i.View.Upstream(upstream)
	if !ok || u.Killed || u.Agent.IsZero() || !i.leadsTo(c.Audience, upstream) {
		return none, fmt.Errorf("introduce who calls %s: it is no agent, is cut off, or the token is for %s", upstream, c.Audience)
	}
	if _, err := i.View.Line(u.Agent, now); err != nil {
		return none, fmt.Errorf("introduce who calls %s: %w", upstream, err)
	}
	if slices.ContainsFunc(c.Chain, func(l identity.Link) bool { return l.ID == u.Agent }) {
		return none, fmt.Errorf("introduce who calls %s: it is behind the request itself", upstream)
	}
	name, err := i.random()
	if err != nil {
		return none, err
	}
	if len(c.From) >= token.MaxFrom {
		return none, fmt.Errorf("introduce who calls %s: its token comes from too many exchanges in a row", upstream)
	}
	ends := now.Add(longestIntroduction)
	if c.Expires.Before(ends) {
		ends = c.Expires
	}
	n := token.Claims{ID: "tok_" + name, Issuer: i.URL, Audience: i.URL, Client: c.Client, Chain: c.Chain, Scope: c.Scope, Owner: c.Owner, Credential: c.Credential,
		MayAct: u.Agent, Task: c.Task, From: append([]string{c.ID}, c.From...), Issued: now.UTC().Truncate(time.Second), Expires: ends.UTC().Truncate(time.Second)}
	raw, err := i.Ring.Signer().Introduce(n)
	if err != nil {
		return none, err
	}
	id, err := ledger.NewID(i.Rand, now)
	if err != nil {
		return none, err
	}
	e := ledger.Event{ID: id, Time: now.UTC().Truncate(time.Microsecond), Type: "token.introduce", Outcome: ledger.Allowed, Actor: c.Actor().String(), Chain: c.Chain.Texts(),
		Owner: string(c.Owner), Credential: c.Credential, Token: n.ID, Upstream: upstream, Gateway: gateway,
		Detail: map[string]string{"may_act": u.Agent.String(), "for": c.ID, "expires": n.Expires.Format(time.RFC3339)}}
	if err := i.Record(ctx, []ledger.Event{e}); err != nil {
		return none, fmt.Errorf("record: %w", err)
	}
	return feed.Introduction{Token: raw, Expires: n.Expires}, nil
}

// leadsTo reports whether a token for that audience reaches the upstream: it is for it, or for one that joins it.
func (i *Issuer) leadsTo(audience, upstream string) bool {
	name, ours := strings.CutPrefix(audience, i.GatewayURL+"/")
	if !ours || name == upstream {
		return ours
	}
	u, ok := i.View.Upstream(name)
	if !ok || u.Killed || i.Registry == nil {
		return false
	}
	d, err := i.Registry.Describe(*u)
	return err == nil && slices.Contains(d.Joined, upstream)
}
