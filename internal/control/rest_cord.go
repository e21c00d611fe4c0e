package control

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/issuer"
	"github.com/lanyard-dev/lanyard/internal/control/manifest"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// shown is how many identities an answer names.
const shown = 1000

func (p *Plane) cordRoutes(api door) {
	const tag = "cord"
	handle(api, "POST", "/kill", "kill", tag, "Pull the cord: on an identity, an owner's, an upstream, or all", func(ctx context.Context, in *body[KillRequest]) (KillResult, error) {
		b := in.Body
		var k registry.Killed
		kill := func(c *registry.Change) (err error) {
			k, err = c.Kill(registry.Aim{Identity: b.Identity, Owner: identity.OwnerID(b.Owner), Upstream: b.Upstream, All: b.All}, b.Reason)
			return err
		}
		all := registry.Killed{}
		below := func(c *registry.Change) (err error) {
			all, err = c.KillBelow(k, b.Reason)
			return err
		}
		receipt, err := feed.Receipt{}, error(nil)
		if b.DryRun {
			err = p.registry.Try(ctx, in.actor(), func(c *registry.Change) error {
				if err := kill(c); err != nil {
					return err
				}
				return below(c)
			})
		} else {
			receipt, err = p.kill(ctx, in.Caller, kill, below)
		}
		if err != nil {
			return KillResult{}, err
		}
		if all.ID != "" {
			k = all
		}
		out := KillResult{ID: k.ID, DryRun: b.DryRun, Identities: k.Identities[:min(len(k.Identities), shown)], Count: len(k.Identities), Credentials: k.Credentials, Upstream: k.Upstream, Providers: k.Providers, Reason: b.Reason}
		if out.Identities == nil {
			out.Identities = []identity.ID{}
		}
		if out.Receipt = receipt; b.DryRun {
			out.ID = ""
		}
		return out, nil
	})
	handle(api, "POST", "/restore", "restore", tag, "Bring back what was killed, with new credentials only", func(ctx context.Context, in *body[RestoreRequest]) (RestoreResult, error) {
		b := in.Body
		var r registry.Restored
		at, err := p.doOrTry(ctx, in.Caller, b.DryRun, func(c *registry.Change) (err error) {
			r, err = c.Restore(registry.Aim{Identity: b.Identity, Owner: identity.OwnerID(b.Owner), Upstream: b.Upstream, Kill: b.Kill, All: b.All}, b.Reason)
			return err
		})
		if err != nil {
			return RestoreResult{}, err
		}
		out := RestoreResult{DryRun: b.DryRun, Restored: append([]identity.ID{}, r.Identities[:min(len(r.Identities), shown)]...), Count: len(r.Identities), Upstream: r.Upstream}
		for _, l := range r.Left[:min(len(r.Left), shown)] {
			out.Left = append(out.Left, NotRestored(l))
		}
		if !b.DryRun {
			out.Receipt = p.receipt(ctx, at, in.patience)
		}
		return out, nil
	})
	handle(api, "POST", "/revoke", "revoke", tag, "Revoke one token, credential or grant", func(ctx context.Context, in *body[RevokeRequest]) (RevokeResult, error) {
		b := in.Body
		out := RevokeResult{}
		var f func(*registry.Change) error
		n := 0
		if b.Credential != "" {
			n++
			out.What, out.ID = "credential", b.Credential
			f = func(c *registry.Change) error { return c.RevokeCredential(b.Credential, b.Reason) }
		}
		if b.Grant != "" {
			n++
			out.What, out.ID = "grant", b.Grant
			f = func(c *registry.Change) error { return c.RevokeGrant(b.Grant, b.Reason) }
		}
		if b.Token != "" {
			n++
			jti, expires, subject, err := p.tokenOf(b.Token)
			if err != nil {
				return out, err
			}
			out.What, out.ID = "token", jti
			f = func(c *registry.Change) error { return c.RevokeToken(jti, expires, subject, b.Reason) }
		}
		if n != 1 {
			return out, invalid("give exactly one of token, credential and grant")
		}
		at, err := p.do(ctx, in.actor(), f)
		if err != nil {
			return out, err
		}
		out.Receipt = p.receipt(ctx, at, in.patience)
		return out, nil
	})
	handle(api, "POST", "/apply", "apply", "manifests", "Bring the state to what manifests say, or show what that would change", func(ctx context.Context, in *body[ApplyRequest]) (PlanResult, error) {
		return p.apply(ctx, in)
	})
}

// kill stops what the cord was pulled on, which stops all that it had started: the receipt
// is for that. What is left is to write it down for each of them, however many. If that
// cannot be, Run does it later.
func (p *Plane) kill(ctx context.Context, who Caller, kill, below func(*registry.Change) error) (feed.Receipt, error) {
	at, err := p.registry.DoRegardless(ctx, who.actor(), kill)
	if err != nil {
		return feed.Receipt{}, err
	}
	r := p.receipt(ctx, at, 0)
	p.counters.killed(r)
	if _, err := p.registry.DoRegardless(context.WithoutCancel(ctx), who.actor(), below); err != nil {
		p.Log.Error("stopping what was started by it", "error", err)
	}
	if who.patience > 0 {
		p.await(ctx, &r, who.patience, r.Settled)
	}
	return r, nil
}

func (p *Plane) doOrTry(ctx context.Context, who Caller, dry bool, f func(*registry.Change) error) (feed.Cursor, error) {
	if dry {
		return feed.Cursor{}, p.registry.Try(ctx, who.actor(), f)
	}
	return p.do(ctx, who.actor(), f)
}

// tokenOf finds what is needed to revoke a token: all of it from the token itself, or its jti alone.
func (p *Plane) tokenOf(s string) (jti string, expires time.Time, subject identity.ID, err error) {
	now := p.Now()
	if strings.HasPrefix(s, "tok_") {
		return s, now.Add(issuer.LongestTTL), subject, nil // whenever it was minted, it has ended by then
	}
	c, err := p.ring.Verifier().Verify(s, p.URL, "", now)
	if err != nil {
		return "", expires, subject, invalid("this is no token of ours that is still good (" + err.Error() + "): there is nothing to revoke")
	}
	return c.ID, c.Expires, c.Actor(), nil
}

func (p *Plane) apply(ctx context.Context, in *body[ApplyRequest]) (PlanResult, error) {
	m, wrong := manifest.Parse(manifest.Inputs{Files: in.Body.Files, Attachments: in.Body.Attachments, Secrets: in.Body.Secrets})
	var plan manifest.Plan
	apply := func(c *registry.Change) (err error) {
		plan, err = m.Apply(c)
		return err
	}
	if wrong != nil { // what else is wrong comes with it, and not in a round of its own
		var all manifest.Mistakes
		if err := p.registry.Try(ctx, in.actor(), apply); errors.As(err, &all) {
			wrong = all
		}
		return PlanResult{}, wrong
	}
	at, err := p.doOrTry(ctx, in.Caller, in.Body.DryRun, apply)
	if err != nil {
		return PlanResult{}, err
	}
	out := PlanResult{Sets: plan.Sets, Steps: plan.Steps, Notes: plan.Notes, Applied: !in.Body.DryRun}
	if out.Steps == nil {
		out.Steps = []manifest.Step{}
	}
	for _, s := range plan.Steps {
		switch s.Op {
		case manifest.Create:
			out.Create++
		case manifest.Change:
			out.Change++
		case manifest.Remove:
			out.Remove++
		}
	}
	if out.Applied {
		r := p.receipt(ctx, at, in.patience)
		out.Receipt = &r
	}
	return out, nil
}
