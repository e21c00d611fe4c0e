package registry

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
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
	upstreams, err := c.ofUpstreams(upstreams)
	if err != nil {
		return err
	}
	return errors.Join(c.PutTicket(store.GatewayJoin, secret, c.Now().Add(JoinLife), invitation{name, upstreams, replace}),
		c.record("gateway.invite", name, "", "", upstreamDetail(upstreams)))
}

func (c *Change) ofUpstreams(names []string) ([]string, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for _, u := range names {
		if _, err := c.Upstream(u); err != nil {
			return nil, missing(err, "upstream", u)
		}
	}
	return names, nil
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
	if err := c.nameFree(in.Name, in.Replace); err != nil {
		return g, false, err
	}
	g, replaced, err = c.enter(store.Gateway{Name: in.Name, Upstreams: in.Upstreams}, map[string]string{}, certify)
	return g, replaced, errors.Join(err, c.DeleteTicket(store.GatewayJoin, secret))
}

// enter makes g one of the fleet, in the place of who has its name.
func (c *Change) enter(g store.Gateway, detail map[string]string, certify func(name string) (store.GatewayCertificate, error)) (_ store.Gateway, replaced bool, err error) {
	c.by = Actor{Name: "gateway:" + g.Name, Source: c.by.Source}
	old, err := c.Gateway(g.Name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return g, false, err
	}
	if replaced = err == nil && old.State == store.GatewayJoined; replaced {
		if err := c.record("gateway.evict", g.Name, "", "Another took its place.", map[string]string{"serial": old.Current.Serial}); err != nil {
			return g, false, err
		}
	}
	g.State, g.Joined, g.From, g.Seen = store.GatewayJoined, c.Now(), c.by.Source, c.Now()
	if g.Current, err = certify(g.Name); err != nil {
		return g, false, err
	}
	maps.Copy(detail, upstreamDetail(g.Upstreams))
	detail["serial"] = g.Current.Serial
	return g, replaced, errors.Join(c.PutGateway(g), c.record("gateway.join", g.Name, "", "", detail))
}

// AdmitGateway lets the workload that a provider attests to be subject join as the gateway of that name, whenever it
// comes, until it is evicted. One that is joined goes on.
func (c *Change) AdmitGateway(name string, a store.Admission) error {
	bad := func(field, text string) error { return &Invalid{"gateway " + name, field, text} }
	switch {
	case !identity.ValidName(name):
		return bad("", "a name is 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit")
	case a.Subject == "" || len(a.Subject) > 512:
		return bad("subject", "it is to be exactly what the provider writes in sub, as system:serviceaccount:edge:lanyard")
	}
	if err := c.nameFree(name, true); err != nil {
		return err
	}
	p, err := c.Provider(a.Provider)
	if err != nil {
		return missing(err, "provider", a.Provider)
	}
	if !slices.Contains(p.Uses, identity.Attest) {
		return bad("provider", a.Provider+" is not trusted for attest: lanyard provider put")
	}
	if a.Upstreams, err = c.ofUpstreams(a.Upstreams); err != nil {
		return err
	}
	g, err := c.Gateway(name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if g.State != store.GatewayJoined {
		g = store.Gateway{Name: name, State: store.GatewayAdmitted, Seen: g.Seen}
	}
	g.Admit = &a
	detail := upstreamDetail(a.Upstreams)
	detail["provider"], detail["subject"] = a.Provider, a.Subject
	return errors.Join(c.PutGateway(g), c.record("gateway.admit", name, "", "", detail))
}

// ErrAttestation means that what attests a gateway is not, or no more, good for that name.
var ErrAttestation = errors.New("what attests this gateway is not accepted: see the log of the control plane, and lanyard gateway admit")

// Attested is what a provider said of a workload.
type Attested struct {
	Provider identity.Provider // as its word was judged
	Subject  string
	Key      string    // of that word: it is good once
	Ends     time.Time // of that word
}

// JoinAttested takes a gateway into the fleet by a provider's word, which is used up, in the place of the one that
// had its name. Like [Change.JoinGateway] otherwise. The error is an ErrAttestation with why, for the log.
func (c *Change) JoinAttested(name string, a Attested, certify func(name string) (store.GatewayCertificate, error)) (g store.Gateway, replaced bool, err error) {
	no := func(why string) error { return fmt.Errorf("%w (%s)", ErrAttestation, why) }
	old, err := c.Gateway(name)
	if errors.Is(err, store.ErrNotFound) || err == nil && old.Admit == nil {
		return g, false, no("no gateway of that name is admitted")
	} else if err != nil {
		return g, false, err
	}
	p, err := c.Provider(a.Provider.Name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return g, false, err
	}
	var used bool
	switch {
	case err != nil || !reflect.DeepEqual(p, a.Provider) || !p.May(identity.Attest):
		return g, false, no("the provider was changed meanwhile")
	case old.Admit.Provider != p.Name || old.Admit.Subject != a.Subject:
		return g, false, no(fmt.Sprintf("the gateway %s is another workload than %q of %s", name, a.Subject, p.Name))
	}
	if _, err := c.Ticket(store.UsedAssertion, a.Key, &used); err == nil {
		return g, false, no("it was used before")
	} else if !errors.Is(err, store.ErrNotFound) {
		return g, false, err
	}
	g, replaced, err = c.enter(store.Gateway{Name: name, Upstreams: old.Admit.Upstreams, Admit: old.Admit}, map[string]string{"provider": p.Name, "subject": a.Subject}, certify)
	return g, replaced, errors.Join(err, c.PutTicket(store.UsedAssertion, a.Key, a.Ends, true))
}

// RotateGateway gives a gateway whose current certificate has that thumbprint another one, which is the current one from when it is first shown.
func (c *Change) RotateGateway(name, print string, next store.GatewayCertificate) error {
	g, err := c.Gateway(name)
	if err != nil {
		return missing(err, "gateway", name)
	}
	if g.State != store.GatewayJoined {
		return &Conflict{"gateway " + name + " is evicted"}
	}
	if g.Current.Print != print { // since it asked another has joined by its name, or it has shown a newer one
		return fmt.Errorf("%w: it is not the current one of %s any more", feed.ErrCertificate, name)
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
	detail := map[string]string{}
	if g.Current.Serial != "" {
		detail["serial"] = g.Current.Serial
	}
	g.State, g.Evicted, g.Reason, g.Admit = store.GatewayEvicted, c.Now(), reason, nil // it is to be admitted anew
	return errors.Join(c.PutGateway(g), c.record("gateway.evict", name, "", reason, detail))
}
