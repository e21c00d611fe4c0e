package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// PutGrant gives an identity a grant of that name, or changes it. Until is, by
// default and at most, the identity's own end.
func (c *Change) PutGrant(ref, name string, g policy.Grant, until End) (policy.Grant, Outcome, error) {
	i, err := FindIdentity(c.Tx, ref)
	if err != nil {
		return g, Outcome{}, err
	}
	g.ID, g.Identity = i.ID.Name()+"/"+name, i.ID
	what := "grant " + g.ID
	bad := func(field, text string) error { return &Invalid{what, field, text} }
	if !identity.ValidName(name) {
		return g, Outcome{}, bad("", "a name is 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit")
	}
	known := c.by.sees(i.Owner) // or it is a name that somebody else's identity has, and no more is told
	if !known && (i.State == identity.Retired || i.Inherits) {
		return g, Outcome{}, &Missing{"identity", ref}
	}
	if i.State == identity.Retired {
		return g, Outcome{}, &Conflict{i.ID.Name() + " is retired and takes no grant"}
	}
	if i.Inherits {
		return g, Outcome{}, &Conflict{fmt.Sprintf("%s may do what %s may, and a grant of its own would change nothing; give it to that", i.ID.Name(), i.Parent.ID.Name())}
	}
	old, err := c.Grant(g.ID)
	created := errors.Is(err, store.ErrNotFound)
	if err != nil && !created {
		return g, Outcome{}, err
	}
	if g.Until = i.Expires; !until.Zero() {
		g.Until = until.Keep(i.Created, old.Until, c.Now())
	}
	if g.Until.After(i.Expires) && !known {
		return g, Outcome{}, bad("until", "it is after the identity itself ends; left out, it ends with that")
	}
	if g.Until.After(i.Expires) {
		return g, Outcome{}, bad("until", fmt.Sprintf("%s is after %s itself ends (%s)", g.Until.Format(time.DateOnly), i.ID.Name(), i.Expires.Format(time.DateOnly)))
	}
	u, err := c.Upstream(g.Upstream)
	if errors.Is(err, store.ErrNotFound) {
		return g, Outcome{}, bad("upstream", fmt.Sprintf("there is no upstream %q", g.Upstream))
	} else if err != nil {
		return g, Outcome{}, err
	}
	if g, err = c.compile(g, u); err != nil {
		return g, Outcome{}, err
	}
	asks, err := g.Asks()
	if err := errors.Join(err, c.checkApprovers(what, "approve", asks)); err != nil {
		return g, Outcome{}, err
	}
	out := compare(old, g, created)
	if !created && g.Plain { // it follows from the others, or from the upstream
		out.Fields = slices.DeleteFunc(out.Fields, func(d Diff) bool { return d.Field == "cedar" && len(out.Fields) > 1 })
	}
	if !out.Changed() {
		return g, out, nil
	}
	detail := out.detail()
	detail["grant"] = g.ID
	return g, out, errors.Join(c.Tx.PutGrant(g), c.record("grant.put", i.ID.String(), string(i.Owner), "", detail))
}

// CheckGrant finds what is wrong with a grant of that id whose identity is not to be had.
func (c *Change) CheckGrant(id string, g policy.Grant) (err error) {
	name, _, _ := strings.Cut(id, "/")
	if g.Identity, err = identity.NewID(c.r.Domain, identity.Agent, name); err != nil {
		return nil // it is said where the identity is
	}
	g.ID, g.Until = id, c.Now()
	u, err := c.Upstream(g.Upstream)
	if errors.Is(err, store.ErrNotFound) {
		return &Invalid{"grant " + id, "upstream", fmt.Sprintf("there is no upstream %q", g.Upstream)}
	} else if err != nil {
		return err
	}
	_, err = c.compile(g, u)
	return err
}

func (c *Change) compile(g policy.Grant, u policy.Upstream) (policy.Grant, error) {
	d, err := c.r.Describe(u)
	if err != nil {
		return g, &Invalid{"upstream " + u.Name, "description", err.Error()}
	}
	compiled, err := policy.Compile(g, d)
	if err != nil {
		field, text, named := strings.Cut(err.Error(), ": ")
		if f, _, _ := strings.Cut(field, " "); named && f != "" && strings.Trim(f, "abcdefghijklmnopqrstuvwxyz_.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-[]") == "" {
			return g, &Invalid{"grant " + g.ID, f, text}
		}
		return g, &Invalid{"grant " + g.ID, "", err.Error()}
	}
	return compiled, nil
}

// RevokeGrant takes a grant away.
func (c *Change) RevokeGrant(id, reason string) error {
	g, err := c.Grant(id)
	if err != nil {
		return missing(err, "grant", id)
	}
	i, err := c.Identity(g.Identity)
	if err != nil {
		return err
	}
	return errors.Join(c.DeleteGrant(id), c.record("grant.revoke", g.Identity.String(), string(i.Owner), reason, map[string]string{"grant": id, "upstream": g.Upstream}))
}

// PutGuardrail adds or changes a guardrail.
func (c *Change) PutGuardrail(g policy.Guardrail) (Outcome, error) {
	what := "guardrail " + g.ID
	if !identity.ValidName(g.ID) || strings.HasPrefix(g.ID, "lanyard.") {
		return Outcome{}, &Invalid{what, "", "a name is 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit, and not with lanyard."}
	}
	old, err := c.Guardrail(g.ID)
	created := errors.Is(err, store.ErrNotFound)
	if err != nil && !created {
		return Outcome{}, err
	}
	out := compare(old, g, created)
	if !out.Changed() {
		return out, nil
	}
	asks, err := policy.Approvers(g.Cedar)
	if err == nil { // what does not parse is said when all is checked
		err = c.checkApprovers(what, "cedar", asks)
		if err != nil {
			return out, err
		}
	}
	c.rails = true
	return out, errors.Join(c.Tx.PutGuardrail(g), c.record("guardrail.put", g.ID, "", "", out.detail()))
}

// RemoveGuardrail removes a guardrail.
func (c *Change) RemoveGuardrail(id string) error {
	if err := c.DeleteGuardrail(id); err != nil {
		return missing(err, "guardrail", id)
	}
	return c.record("guardrail.remove", id, "", "", nil)
}

// Settle checks what depends on several things at once: that every guardrail
// still fits the upstreams, every grant the upstream it is on, and that backups
// are there. It runs before a Change commits in any case.
func (c *Change) Settle() error {
	wrong := c.checkBackups()
	for name := range c.moved {
		u, err := c.Upstream(name)
		if errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		grants, err := c.GrantsOn(name)
		if err != nil {
			return err
		}
		for _, g := range grants {
			again, err := c.compile(g, u)
			if err != nil {
				wrong = append(wrong, err)
			} else if again.Cedar != g.Cedar {
				wrong = append(wrong, c.Tx.PutGrant(again))
			}
		}
	}
	if clear(c.moved); !c.rails {
		return errors.Join(wrong...)
	}
	c.rails = false
	upstreams, err := c.Upstreams()
	if err != nil {
		return err
	}
	var all []policy.Described
	for _, u := range upstreams {
		d, err := c.r.Describe(u)
		if err != nil {
			return &Invalid{"upstream " + u.Name, "description", err.Error()}
		}
		all = append(all, d)
	}
	rails, err := c.Guardrails()
	if err != nil {
		return err
	}
	for _, g := range rails {
		if err := policy.CompileGuardrail(g, all...); err != nil {
			wrong = append(wrong, &Invalid{"guardrail " + g.ID, "cedar", strings.TrimPrefix(err.Error(), "cedar: ")})
		}
	}
	return errors.Join(wrong...)
}
