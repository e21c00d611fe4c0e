package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/layer"
)

// Plan is what applying a manifest does.
type Plan struct {
	Sets  []string
	Steps []Step
	Notes []string // what the files cannot change
}

// Apply brings the state to what the files say. When the error is a [Mistakes],
// nothing may be kept of what c did.
func (m *Manifest) Apply(c *registry.Change) (Plan, error) {
	a := &applying{m: m, c: c, places: map[string]func(string) place{}, seen: map[string]bool{}, broken: map[string]bool{}}
	for _, k := range m.mistakes {
		a.seen[fmt.Sprint(k.File, k.Line)] = true
	}
	a.plan.Sets = slices.Sorted(maps.Keys(m.sets))
	for _, part := range []func() error{a.owners, a.providers, a.receivers, a.upstreams, a.guardrails, a.identities, a.remove, a.settle} {
		if err := part(); err != nil {
			return Plan{}, err
		}
	}
	return a.plan, a.m.err()
}

type applying struct {
	m      *Manifest
	c      *registry.Change
	plan   Plan
	places map[string]func(field string) place // by what, as in "identity invoice-bot"
	seen   map[string]bool                     // lines with a mistake that reading found: another would only follow from it
	broken map[string]bool                     // owners and upstreams that are not as the files say, as "upstream mail": what refers to them is not to blame
}

// note keeps what was wrong, with its place. It returns an error only when the
// trouble is not the file's.
func (a *applying) note(err error, what string) error {
	if err == nil {
		return nil
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			if err := a.note(e, what); err != nil {
				return err
			}
		}
		return nil
	}
	var invalid *registry.Invalid
	if errors.As(err, &invalid) && a.follows(invalid) {
		return nil
	}
	var conflict *registry.Conflict
	var missing *registry.Missing
	var state *identity.TransitionError
	switch {
	case errors.As(err, &invalid):
		if at := a.places[invalid.What]; at != nil {
			a.wrong(at(invalid.Field), invalid)
		} else if at := a.places[what]; at != nil {
			a.wrong(at(invalid.Field), invalid)
		} else {
			a.m.mistakes = append(a.m.mistakes, Mistake{File: a.m.inputs.Files[0].Name, Text: "with these changes, " + invalid.Error()})
		}
	case errors.As(err, &conflict), errors.As(err, &missing), errors.As(err, &state):
		if at := a.places[what]; at != nil {
			a.wrong(at(""), err)
		} else {
			a.m.mistakes = append(a.m.mistakes, Mistake{File: a.m.inputs.Files[0].Name, Text: err.Error()})
		}
	default:
		return err
	}
	return nil
}

// follows reports whether something is wrong only because what it refers to is.
func (a *applying) follows(e *registry.Invalid) bool {
	for what := range a.broken {
		noun, name, _ := strings.Cut(what, " ")
		if strings.Contains(e.Text, "there is no "+noun+` "`+name+`"`) {
			return true
		}
	}
	return false
}

func (a *applying) wrong(at place, err error) {
	if !a.seen[fmt.Sprint(at.file, at.line)] {
		a.m.mistakes.add(at, "%s", err)
	}
}

// put adds the step of an outcome, or keeps what was wrong.
func (a *applying) put(noun, name string, out registry.Outcome, err error) error {
	if err != nil {
		a.broken[noun+" "+name] = true
		return a.note(err, noun+" "+name)
	}
	if out.Changed() {
		op := Change
		if out.Created {
			op = Create
		}
		a.plan.Steps = append(a.plan.Steps, Step{Op: op, Noun: noun, Name: name, Fields: out.Fields})
	}
	return nil
}

func (a *applying) owners() error {
	for _, o := range a.m.owners {
		name := string(o.value.ID)
		a.places["owner "+name] = fieldPlaces(o.at, map[string]place{"backup": o.backupAt})
		if old, err := a.c.Owner(o.value.ID); err == nil && old.State == identity.OwnerGone {
			a.plan.Notes = append(a.plan.Notes, fmt.Sprintf("owner %s has left; apply does not bring anyone back", name))
			continue
		}
		out, err := a.c.PutOwner(o.value)
		if err := a.put("owner", name, out, err); err != nil {
			return err
		}
	}
	return nil
}

func fieldPlaces(at place, fields map[string]place) func(string) place {
	return func(field string) place {
		for field != "" {
			if p, ok := fields[field]; ok && p.line > 0 {
				return p
			}
			i := strings.LastIndexByte(field, '.')
			field = field[:max(i, 0)]
		}
		return at
	}
}

func (a *applying) upstreams() error {
	coming := map[string]identity.Kind{}
	for _, d := range a.m.identities {
		coming[d.name] = d.kind
	}
	for _, u := range a.m.upstreams {
		a.places["upstream "+u.value.Name] = fieldPlaces(u.at, map[string]place{"owner": u.ownerAt, "description": u.descriptionAt, "oauth": u.oauthAt})
		var secret *registry.Secret
		if v, ok := a.value(u.secret, "credential", "upstream", u.value.Name, store.UpstreamSecret(u.value.Name)); ok {
			secret = &registry.Secret{Header: u.secret.header, Value: u.secret.prefix + v}
		}
		id, err := a.c.AgentID(u.agent, coming)
		if err != nil {
			a.m.mistakes.add(u.agentAt, "agent %q of upstream %s is no identity, neither here nor registered", u.agent, u.value.Name)
			continue
		}
		u.value.Agent = id
		var client *string
		if v, ok := a.value(u.client, "client_secret", "upstream", u.value.Name, store.UpstreamClient(u.value.Name)); ok {
			client = &v
		}
		out, err := a.c.PutUpstreamOAuth(u.value, secret, client)
		if err := a.put("upstream", u.value.Name, out, err); err != nil {
			return err
		}
		if now, err := a.c.Upstream(u.value.Name); err == nil && now.Killed {
			a.plan.Notes = append(a.plan.Notes, fmt.Sprintf("upstream %s is killed and stays so; lanyard restore --upstream %s brings it back", u.value.Name, u.value.Name))
		}
	}
	return nil
}

// value is a secret of an upstream's or a receiver's, if the files name one and it is to be had.
func (a *applying) value(s *secret, what, noun, name, kept string) (string, bool) {
	if s == nil {
		return "", false
	}
	if v, ok := a.m.inputs.Secrets[s.ref.Name]; ok {
		return strings.TrimSpace(v), true
	}
	if _, err := a.c.Secret(kept); err == nil {
		a.plan.Notes = append(a.plan.Notes, fmt.Sprintf("the %s of %s stays as it is: %s is not to be had here", what, name, s.ref.what()))
	} else {
		a.m.mistakes.add(s.at, "%s %s needs its %s, and %s is not to be had here", noun, name, what, s.ref.what())
	}
	return "", false
}

func (r SecretRef) what() string {
	if r.Env != "" {
		return "the environment variable " + r.Env
	}
	return "the file " + r.File
}

func (a *applying) guardrails() error {
	for _, g := range a.m.guardrails {
		a.places["guardrail "+g.value.ID] = fieldPlaces(g.at, map[string]place{"cedar": g.cedarAt})
		out, err := a.c.PutGuardrail(g.value)
		if err := a.put("guardrail", g.value.ID, out, err); err != nil {
			return err
		}
	}
	return nil
}

func (a *applying) identities() error {
	for _, d := range a.m.identities {
		a.places["identity "+d.name] = fieldPlaces(d.at, map[string]place{"owner": d.ownerAt, "backup": d.backupAt, "expires": d.expiresAt, "children": d.childrenAt})
		v := d.value
		if err := a.unpack(&d); err != nil {
			return err
		}
		i, out, err := a.c.PutIdentity(registry.Wanted{Kind: d.kind, Name: d.name, Owner: v.Owner, Backup: v.Backup,
			Purpose: v.Purpose, Environment: v.Environment, Expires: d.expires, Set: v.Set, Tasks: v.Tasks, Children: v.Children})
		if failed := err != nil; failed {
			if err := a.put("identity", d.name, out, err); err != nil {
				return err
			}
			if err := a.checkGrants(d); err != nil {
				return err
			}
			continue
		}
		if err := a.put("identity", d.name, out, nil); err != nil {
			return err
		}
		switch i.State {
		case identity.Killed:
			a.plan.Notes = append(a.plan.Notes, fmt.Sprintf("%s is killed, and apply does not bring it back; lanyard restore %s does", d.name, d.name))
		case identity.Expired:
			a.plan.Notes = append(a.plan.Notes, fmt.Sprintf("%s has expired; lanyard identity renew %s lets it act again", d.name, d.name))
		}
		if i.State != identity.Killed {
			if err := a.credentials(d, i); err != nil {
				return err
			}
		}
		if err := a.grants(d, i); err != nil {
			return err
		}
	}
	return nil
}

// unpack puts the grants of packs in place of what names them.
func (a *applying) unpack(d *subject) error {
	var all []grant
	for _, g := range d.grants {
		if g.pack == "" {
			all = append(all, g)
			continue
		}
		what := "grant " + d.name + "/" + g.name
		a.places[what] = fieldPlaces(g.at, g.fieldAt)
		var more layer.Layers
		if g.value.Layers != nil {
			more = *g.value.Layers
		}
		list, err := a.c.Unpack(what, g.pack, g.value.Upstream, more)
		if err := a.note(err, what); err != nil {
			return err
		}
		for _, v := range list {
			one := g
			one.name, one.value = g.name+"."+v.ID, v
			all = append(all, one)
		}
	}
	d.grants = all
	return nil
}

// checkGrants finds the mistakes in the grants of an identity that has its own.
func (a *applying) checkGrants(d subject) error {
	for _, g := range d.grants {
		id := d.name + "/" + g.name
		a.places["grant "+id] = fieldPlaces(g.at, g.fieldAt)
		if err := a.note(a.c.CheckGrant(id, g.value), "grant "+id); err != nil {
			return err
		}
	}
	return nil
}

func (a *applying) credentials(d subject, i identity.Identity) error {
	listed := map[string]bool{}
	for _, k := range d.credentials {
		what := "credential of " + d.name
		a.places[what] = fieldPlaces(k.at, nil)
		proof := registry.Proof{PublicKey: k.publicKey, Certificate: k.pem, Expires: k.expires}
		print, err := proof.Thumbprint()
		if err != nil {
			a.m.mistakes.add(k.at, "%s", err)
			continue
		}
		if listed[print] {
			a.m.mistakes.add(k.at, "this key is listed twice")
			continue
		}
		listed[print] = true
		old, err := a.c.CredentialByThumbprint(print)
		switch {
		case err == nil && old.Identity == i.ID && old.Revoked.IsZero():
			continue
		case err == nil && old.Identity == i.ID:
			a.plan.Notes = append(a.plan.Notes, fmt.Sprintf("%s of %s is revoked and stays so; make a new key and put it in %s", old.ID, d.name, k.at))
			continue
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
		added, _, err := a.c.AddCredential(i.ID.String(), proof)
		if err := a.put("credential", d.name+"/"+string(added.Kind), registry.Outcome{Created: true, Fields: []Diff{{Field: "thumbprint", To: added.Thumbprint}}}, err); err != nil {
			return err
		}
	}
	if !d.declared || i.Set == "" {
		return nil
	}
	have, err := a.c.Credentials(i.ID)
	if err != nil {
		return err
	}
	for _, k := range have {
		if k.Revoked.IsZero() && k.Kind != identity.Key && !listed[k.Thumbprint] {
			if err := a.c.RevokeCredential(k.ID, "It is no longer in the manifest."); err != nil {
				return err
			}
			a.plan.Steps = append(a.plan.Steps, Step{Op: Remove, Noun: "credential", Name: d.name + "/" + k.ID, Note: "the tokens got with it die"})
		}
	}
	return nil
}

func (a *applying) grants(d subject, i identity.Identity) error {
	listed := map[string]bool{}
	for _, g := range d.grants {
		id := d.name + "/" + g.name
		listed[id] = true
		a.places["grant "+id] = fieldPlaces(g.at, g.fieldAt)
		_, out, err := a.c.PutGrant(i.ID.String(), g.name, g.value, g.until)
		if err := a.put("grant", id, out, err); err != nil {
			return err
		}
	}
	have, err := a.c.Grants(i.ID)
	if err != nil {
		return err
	}
	for _, g := range have {
		if a.m.sets[g.Set] && !listed[g.ID] {
			if err := a.c.RevokeGrant(g.ID, "It is no longer in the manifest."); err != nil {
				return err
			}
			a.plan.Steps = append(a.plan.Steps, Step{Op: Remove, Noun: "grant", Name: g.ID})
		}
	}
	return nil
}

// remove takes away what belongs to one of the sets and is in no file any more,
// in the order in which nothing refers to what goes.
func (a *applying) remove() error {
	if len(a.m.sets) == 0 {
		return nil
	}
	gone := func(noun, name, note string, remove func() error) error {
		if err := remove(); err != nil {
			return a.note(err, noun+" "+name)
		}
		a.plan.Steps = append(a.plan.Steps, Step{Op: Remove, Noun: noun, Name: name, Note: note})
		return nil
	}
	if err := errors.Join(a.dropProviders(), a.dropReceivers()); err != nil {
		return err
	}
	rails, err1 := a.c.Guardrails()
	subjects, err2 := a.c.Identities(store.Filter{})
	upstreams, err3 := a.c.Upstreams()
	owners, err4 := a.c.Owners()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	var err error
	for _, g := range rails {
		if a.m.sets[g.Set] && !slices.ContainsFunc(a.m.guardrails, func(o guardrail) bool { return o.value.ID == g.ID }) {
			err = errors.Join(err, gone("guardrail", g.ID, "", func() error { return a.c.RemoveGuardrail(g.ID) }))
		}
	}
	for _, i := range subjects {
		if a.m.sets[i.Set] && i.State != identity.Retired && !slices.ContainsFunc(a.m.identities, func(d subject) bool { return d.name == i.ID.Name() }) {
			err = errors.Join(err, gone("identity", i.ID.Name(), "retired for good: its credentials and grants end, its name stays taken", func() error {
				_, err := a.c.Transition(i.ID.String(), identity.Retired, "retire", "It is no longer in the manifest.", registry.End{})
				return err
			}))
		}
	}
	for _, u := range upstreams {
		if a.m.sets[u.Set] && !slices.ContainsFunc(a.m.upstreams, func(o upstream) bool { return o.value.Name == u.Name }) {
			err = errors.Join(err, gone("upstream", u.Name, "", func() error { return a.c.RemoveUpstream(u.Name) }))
		}
	}
	slices.SortStableFunc(owners, func(a, b identity.Owner) int { return rank(a) - rank(b) })
	for _, o := range owners {
		if a.m.sets[o.Set] && o.State == identity.OwnerActive && !slices.ContainsFunc(a.m.owners, func(m owner) bool { return m.value.ID == o.ID }) {
			n, countErr := a.c.CountIdentities(o.ID)
			if err = errors.Join(err, countErr); len(n) > 0 {
				a.plan.Notes = append(a.plan.Notes, fmt.Sprintf("owner %s stays: identities in the record are its own", o.ID))
				continue
			}
			err = errors.Join(err, gone("owner", string(o.ID), "", func() error { return a.c.RemoveOwner(o.ID) }))
		}
	}
	return err
}

// rank has teams go before who is in them.
func rank(o identity.Owner) int {
	if o.Team {
		return 0
	}
	return 1
}

func (a *applying) settle() error {
	for what := range a.broken {
		if strings.HasPrefix(what, "upstream ") {
			return nil // it could say only what follows from that
		}
	}
	return a.note(a.c.Settle(), "")
}
