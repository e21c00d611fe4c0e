package feed

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// Apply makes a change part of the view. When it returns, every later read sees
// the change, and everyone in OnStop has been told. After an error the view is not
// live until a new snapshot is complete: what it has missed might be a kill.
// Changes may come in any order that keeps those of one thing in order. What a
// change points to must not be changed afterwards.
func (v *View) Apply(c Change) error {
	v.applying.Lock()
	defer v.applying.Unlock()
	v.version.Add(1)
	defer v.version.Add(1)
	st := v.next
	if st == nil {
		st = v.now.Load()
	}
	if c.Identity == nil && c.Credential == nil && c.Grant == nil || c.Removed || v.next == nil {
		st.close()
	}
	stop, err := v.apply(st, &c)
	if v.next == nil {
		st.close()
	}
	if err != nil {
		err = fmt.Errorf("applying change %d: %w", c.Cursor.Seq, err)
		st.failed = err
		v.trouble.Store(&err)
		v.tell(&Stop{Everything: true})
	} else if v.next == nil {
		if stop != nil {
			v.tell(stop)
		}
		if at := c.Cursor; at != (Cursor{}) {
			v.enforced.Store(&at)
		}
	}
	if v.next == nil {
		v.changes.Ring()
	}
	return err
}

// Restart prepares for a snapshot that replaces all the view knows. Until it is
// complete the view is read as it was.
func (v *View) Restart() {
	v.applying.Lock()
	defer v.applying.Unlock()
	v.next = v.newState()
}

// Doubt ends what the view knows: it is not live until a new snapshot is complete.
func (v *View) Doubt(err error) {
	v.applying.Lock()
	defer v.applying.Unlock()
	v.now.Load().failed = err
	v.trouble.Store(&err)
	v.tell(&Stop{Everything: true})
}

func (v *View) apply(st *state, c *Change) (*Stop, error) {
	if c.kinds() != 1 {
		return nil, fmt.Errorf("it says %d things, not one; is the gateway older than its control plane?", c.kinds())
	}
	if c.Removed && c.Grant == nil && c.Guardrail == nil && c.Upstream == nil && c.Owner == nil && c.Identity == nil {
		return nil, errors.New("a thing that cannot be removed is removed")
	}
	switch {
	case c.Identity != nil && c.Removed:
		return st.forget(c.Identity.ID)
	case c.Identity != nil:
		return st.identity(*c.Identity)
	case c.Credential != nil:
		return st.credential(*c.Credential)
	case c.Grant != nil:
		return st.grant(*c.Grant, c.Removed)
	case c.Kill != nil:
		return st.kill(c.Kill)
	case c.Token != nil:
		return st.token(c.Token)
	case c.Task != nil:
		return st.task(*c.Task)
	case c.Upstream != nil:
		return st.upstream(*c.Upstream, c.Removed)
	case c.Guardrail != nil:
		return st.guardrail(*c.Guardrail, c.Removed)
	case c.Owner != nil:
		return st.owner(*c.Owner, c.Removed)
	case c.Account != nil:
		if c.Account.Upstream == "" || c.Account.Owner == "" {
			return nil, errors.New("account without an upstream or an owner")
		}
		return &Stop{Account: c.Account}, nil
	case c.Approval != nil:
		return st.approval(*c.Approval)
	case c.Keys != nil:
		keys, err := token.ParseJWKS(c.Keys.JWKS)
		if err == nil {
			st.keys.Store(keys)
			st.jwks.Store(&c.Keys.JWKS)
		}
		return nil, err
	}
	return v.synced(st)
}

func (c *Change) kinds() (n int) {
	for _, set := range []bool{c.Owner != nil, c.Identity != nil, c.Credential != nil, c.Upstream != nil, c.Grant != nil,
		c.Guardrail != nil, c.Task != nil, c.Token != nil, c.Kill != nil, c.Keys != nil, c.Account != nil, c.Approval != nil, c.Synced} {
		if set {
			n++
		}
	}
	return n
}

// synced ends a snapshot: from here on st is what is read.
func (v *View) synced(st *state) (*Stop, error) {
	if st.failed != nil {
		return nil, fmt.Errorf("the snapshot is not whole: %w", st.failed)
	}
	if err := st.compile(); err != nil {
		return nil, err
	}
	v.now.Store(st)
	v.next = nil
	v.trouble.Store(nil)
	v.answers.Ring()
	go settle(st.subjects.len())
	return &Stop{Everything: true}, nil
}

// settle gives back to the system what it took to read or to write so many identities: as much again as they take, else for ever.
func settle(identities int) {
	if identities >= 1<<15 {
		debug.FreeOSMemory()
	}
}

// compile makes the guardrails of now those that every set is compiled with.
func (st *state) compile() error {
	rails, err := policy.NewGuardrails(st.listGuardrails())
	if err == nil {
		st.rails.Store(rails)
	}
	return err
}

func (st *state) identity(i identity.Identity) (*Stop, error) {
	if i.ID.IsZero() {
		return nil, errors.New("identity without an id")
	}
	o := st.open(i.ID)
	known := o.known()
	o.identity, o.changed = st.packer.identity(&i), true
	if i.State == identity.Retired { // over for good: there is nothing left to hold
		st.dropPrints(*o.theirCredentials(st))
		*o.theirCredentials(st), *o.theirGrants(st) = nil, nil
	}
	if !known {
		return nil, nil
	}
	return &Stop{Identities: []identity.ID{i.ID}}, nil
}

func (st *state) dropPrints(list []identity.Credential) {
	for i := range list {
		st.prints.drop(list[i].Thumbprint, list[i].Identity)
	}
}

func (st *state) credential(c identity.Credential) (*Stop, error) {
	if c.ID == "" || c.Identity.IsZero() || c.Thumbprint == "" {
		return nil, errors.New("credential without an id, an identity or a thumbprint")
	}
	o := st.open(c.Identity)
	retired := st.retired(o.parts)
	claimed := !retired && st.prints.claim(c.Thumbprint, o.at)
	if !claimed {
		for _, h := range st.prints.get(c.Thumbprint) {
			if !h.is(c.Identity) && st.has(h, c.Thumbprint) {
				return nil, fmt.Errorf("credential %s is of %s and of %s: one credential, one identity", c.ID, h.id(), c.Identity)
			}
		}
	}
	if retired {
		return nil, nil
	}
	list := o.theirCredentials(st)
	var before identity.Credential
	if i := slices.IndexFunc(*list, func(o identity.Credential) bool { return o.ID == c.ID }); i >= 0 {
		before, (*list)[i] = (*list)[i], c
	} else {
		*list = append(*list, c)
	}
	o.changed = true
	if before.ID != "" && before.Thumbprint != c.Thumbprint {
		st.prints.drop(before.Thumbprint, c.Identity)
	}
	if before.Thumbprint != c.Thumbprint && !claimed {
		st.prints.put(c.Thumbprint, o.at, c.Identity)
	}
	if before.ID == "" || before.Revoked.Equal(c.Revoked) && before.Expires.Equal(c.Expires) {
		return nil, nil
	}
	return &Stop{Identities: []identity.ID{c.Identity}, Credential: c.ID}, nil
}

// has reports whether an identity has a credential of that thumbprint.
func (st *state) has(h *held, thumbprint string) bool {
	return slices.ContainsFunc(st.credentials(h.parts(), h.id()), func(c identity.Credential) bool { return c.Thumbprint == thumbprint })
}

func (st *state) grant(g policy.Grant, removed bool) (*Stop, error) {
	if g.ID == "" || g.Identity.IsZero() {
		return nil, errors.New("grant without an id or an identity")
	}
	same := func(o policy.Grant) bool { return o.ID == g.ID }
	o := st.open(g.Identity)
	if st.retired(o.parts) || removed && !o.known() {
		return nil, nil
	}
	list := o.theirGrants(st)
	had := slices.IndexFunc(*list, same)
	switch {
	case removed:
		*list = slices.DeleteFunc(*list, same)
	case had >= 0:
		(*list)[had] = g
	default:
		*list = append(*list, g)
	}
	o.changed = true
	if had < 0 {
		return nil, nil
	}
	return &Stop{Identities: []identity.ID{g.Identity}, Grant: g.ID}, nil
}

// kill does what it can even if it cannot do all.
func (st *state) kill(k *Kill) (*Stop, error) {
	if k.ID == "" || (len(k.Identities) == 0) == (k.Upstream == "") {
		return nil, errors.New("kill without an id, or not of either identities or an upstream")
	}
	var unknown error
	if k.Upstream != "" {
		u, ok := (*st.upstreams.Load())[k.Upstream]
		if !ok {
			return nil, fmt.Errorf("kill of upstream %s, which is unknown", k.Upstream)
		}
		killed := *u
		killed.Killed = true
		st.putUpstream(&killed)
		return &Stop{Upstream: k.Upstream}, nil
	}
	for _, id := range k.Identities {
		h, at := st.subjects.find(id)
		if h == nil || !h.known() {
			unknown = fmt.Errorf("kill of %s, which is unknown", id)
			continue
		}
		if s := st.copyOf(h); s.Identity.KilledBy != k.ID {
			s.kill(k)
			st.hold(at, id, parts{st.packer.identity(&s.Identity), st.packer.credentials(s.Credentials), h.parts().grants}, h)
		}
	}
	return &Stop{Identities: k.Identities}, unknown
}

func (s *Subject) kill(k *Kill) {
	s.Identity.KilledFrom = s.Identity.State
	s.Identity.State, s.Identity.KilledBy = identity.Killed, k.ID
	s.Identity.Generation++
	for i := range s.Credentials {
		if s.Credentials[i].Revoked.IsZero() {
			s.Credentials[i].Revoked = k.At
		}
	}
}

// token keeps what was revoked a minute longer than it could be used, for clocks that differ.
func (st *state) token(r *TokenRevocation) (*Stop, error) {
	if r.ID == "" {
		return nil, errors.New("revocation of a token without an id")
	}
	st.revoked.put(r.ID, r.Expires.Add(time.Minute))
	if st.revocation--; st.revocation <= 0 {
		now := st.view.Now()
		st.revocation = 1024 + st.revoked.sweep(func(until time.Time) bool { return now.After(until) })
	}
	return &Stop{Token: r.ID}, nil
}

func (st *state) upstream(u policy.Upstream, removed bool) (*Stop, error) {
	if u.Name == "" {
		return nil, errors.New("upstream without a name")
	}
	_, had := (*st.upstreams.Load())[u.Name]
	if removed {
		m := maps.Clone(*st.upstreams.Load())
		delete(m, u.Name)
		st.upstreams.Store(&m)
	} else {
		st.putUpstream(&u)
	}
	if !had {
		return nil, nil
	}
	return &Stop{Upstream: u.Name}, nil
}

func (st *state) putUpstream(u *policy.Upstream) {
	m := maps.Clone(*st.upstreams.Load())
	m[u.Name] = u
	st.upstreams.Store(&m)
}

func (st *state) guardrail(g policy.Guardrail, removed bool) (*Stop, error) {
	if g.ID == "" {
		return nil, errors.New("guardrail without an id")
	}
	m := maps.Clone(*st.guardrails.Load())
	if removed {
		delete(m, g.ID)
	} else {
		m[g.ID] = g
	}
	st.guardrails.Store(&m)
	if st.rails.Load() == nil {
		return nil, nil // the end of the snapshot compiles all at once
	}
	return &Stop{Everything: true}, st.compile()
}

func (st *state) owner(o identity.Owner, removed bool) (*Stop, error) {
	if o.ID == "" {
		return nil, errors.New("owner without an id")
	}
	old, known := st.owners.get(o.ID)
	if removed {
		st.owners.drop(o.ID)
	} else {
		st.owners.put(o.ID, &o)
		st.addresses.put(strings.ToLower(o.Email), o.ID) // one that is no longer theirs is told by the owner
	}
	if !known {
		return nil, nil
	}
	left := old.State == identity.OwnerActive && (removed || o.State != identity.OwnerActive)
	return &Stop{Person: o.ID, Everything: left}, nil // who left may have approved anything
}
