package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// JoinLife is how long a join token is good.
const JoinLife = 15 * time.Minute

// invitation is what is kept under the secret of a join token.
type invitation struct {
	Name      string   `json:"name"`
	Upstreams []string `json:"upstreams,omitempty"`
	Replace   bool     `json:"replace,omitempty"`
}

// InviteGateway lets whoever knows secret join as the gateway of that name, once, within 15 minutes. Of one
// that is joined already only with replace, which then ends it.
func (c *Change) InviteGateway(name string, upstreams []string, replace bool, secret string) error {
	if !identity.ValidName(name) {
		return &Invalid{"gateway " + name, "", "a name is 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit"}
	}
	if err := c.nameFree(name, replace); err != nil {
		return err
	}
	upstreams = slices.Compact(slices.Sorted(slices.Values(upstreams)))
	for _, u := range upstreams {
		if _, err := c.Upstream(u); err != nil {
			return missing(err, "upstream", u)
		}
	}
	return errors.Join(c.PutTicket(store.GatewayJoin, secret, c.Now().Add(JoinLife), invitation{name, upstreams, replace}),
		c.record("gateway.invite", name, "", "", upstreamDetail(upstreams)))
}

func upstreamDetail(upstreams []string) map[string]string {
	if len(upstreams) == 0 {
		return map[string]string{"upstreams": "all"}
	}
	return map[string]string{"upstreams": strings.Join(upstreams, " ")}
}

func (c *Change) nameFree(name string, replace bool) error {
	if slices.Contains(c.r.Gateways, name) {
		return &Conflict{fmt.Sprintf("%s is the name of what runs in the control plane's own process; choose another", name)}
	}
	g, err := c.Gateway(name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && g.State == store.GatewayJoined && !replace {
		err = &Conflict{fmt.Sprintf("a gateway %s is joined already; choose another name, or let this one take its place with --replace, which evicts it", name)}
	}
	return err
}

// ErrToken means that a join token is not, or no more, good.
var ErrToken = errors.New("this join token is not good: it was used, has expired, or never was; an operator can make another: lanyard gateway token")

// JoinGateway takes a gateway into the fleet with a join token for that name, which is used up. certify issues its certificate;
// when that fails nothing has happened. replaced is whether one of its name was evicted for it.
func (c *Change) JoinGateway(name, secret string, certify func(name string) (store.GatewayCertificate, error)) (g store.Gateway, replaced bool, err error) {
	var in invitation
	if _, err := c.Ticket(store.GatewayJoin, secret, &in); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = ErrToken
		}
		return g, false, err
	}
	if in.Name != name {
		return g, false, &Conflict{"this join token is for a gateway of another name"}
	}
	c.by = Actor{Name: "gateway:" + in.Name, Source: c.by.Source}
	if err := c.nameFree(in.Name, in.Replace); err != nil {
		return g, false, err
	}
	old, err := c.Gateway(in.Name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return g, false, err
	}
	if replaced = err == nil && old.State == store.GatewayJoined; replaced {
		if err := c.record("gateway.evict", in.Name, "", "Another took its place.", map[string]string{"serial": old.Current.Serial}); err != nil {
			return g, false, err
		}
	}
	g = store.Gateway{Name: in.Name, State: store.GatewayJoined, Upstreams: in.Upstreams, Joined: c.Now(), From: c.by.Source, Seen: c.Now()}
	if g.Current, err = certify(in.Name); err != nil {
		return g, false, err
	}
	detail := upstreamDetail(g.Upstreams)
	detail["serial"] = g.Current.Serial
	return g, replaced, errors.Join(c.DeleteTicket(store.GatewayJoin, secret), c.PutGateway(g), c.record("gateway.join", g.Name, "", "", detail))
}

// RotateGateway gives a gateway another certificate, which is the current one from when it is first shown.
func (c *Change) RotateGateway(name string, next store.GatewayCertificate) error {
	g, err := c.Gateway(name)
	if err != nil {
		return missing(err, "gateway", name)
	}
	if g.State != store.GatewayJoined {
		return &Conflict{"gateway " + name + " is evicted"}
	}
	g.Next = next
	return errors.Join(c.PutGateway(g), c.record("gateway.rotate", name, "", "A certificate was given out; it is good from when it is first shown.", map[string]string{"serial": next.Serial}))
}

// ShownGateway makes the certificate that was given out last the current one, now that it was shown: the one before ends.
func (c *Change) ShownGateway(name, print string) (g store.Gateway, err error) {
	if g, err = c.Gateway(name); err != nil || g.State != store.GatewayJoined || g.Next.Print != print {
		return g, err // somebody else was quicker
	}
	ended := g.Current
	g.Previous, g.Current, g.Next = ended, g.Next, store.GatewayCertificate{}
	return g, errors.Join(c.PutGateway(g), c.record("gateway.rotate", name, "", "The new certificate was shown; the one before ended.", map[string]string{"serial": g.Current.Serial, "ended": ended.Serial}))
}

// EvictGateway ends a gateway: nothing that it asks for is answered any more.
func (c *Change) EvictGateway(name, reason string) error {
	g, err := c.Gateway(name)
	if err != nil {
		return missing(err, "gateway", name)
	}
	if g.State == store.GatewayEvicted {
		return &Conflict{"gateway " + name + " is evicted already"}
	}
	serial := g.Current.Serial
	g.State, g.Evicted, g.Reason = store.GatewayEvicted, c.Now(), reason
	return errors.Join(c.PutGateway(g), c.record("gateway.evict", name, "", reason, map[string]string{"serial": serial}))
}
