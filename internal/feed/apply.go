package feed

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unique"

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
	stop, err := v.apply(st, &c)
	if err != nil {
		err = fmt.Errorf("applying change %d: %w", c.Cursor.Seq, err)
		st.failed = err
		v.trouble.Store(&err)
		v.tell(&Stop{Everything: true})
	} else if v.next == nil {
		if stop != nil {
			v.tell(stop)
		}
		if c.Cursor != (Cursor{}) {
			v.enforced.Store(&c.Cursor)
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
	return &Stop{Everything: true}, nil
}

// compile makes the guardrails of now those that every set is compiled with.
func (st *state) compile() error {
	rails, err := policy.NewGuardrails(st.listGuardrails())
	if err == nil {
		st.rails.Store(rails)
	}
	return err
}

// replace puts in another Subject for id, made of the one that was.
func (st *state) replace(id identity.ID, edit func(*Subject)) {
	next := &Subject{of: st}
	old, ok := st.subjects.get(id)
	if ok {
		next.Identity, next.Credentials, next.Grants = old.Identity, old.Credentials, old.Grants
	}
	edit(next)
	st.subjects.put(id, next)
	if ok {
		old.memo.Store(nil)
	}
}

func (st *state) identity(i identity.Identity) (*Stop, error) {
	if i.ID.IsZero() {
		return nil, errors.New("identity without an id")
	}
	share(&i.Owner, &i.Backup)
	share(&i.Purpose, &i.Environment, &i.Set)
	share(&i.State, &i.KilledFrom)
	old, known := st.subjects.get(i.ID)
	if known && !old.Identity.ID.IsZero() {
		i.ID = old.Identity.ID
	}
	if known && i.State == identity.Retired { // over for good: there is nothing left to hold
		for _, c := range old.Credentials {
			st.prints.drop(c.Thumbprint)
		}
	}
	st.replace(i.ID, func(s *Subject) {
		s.Identity = i
		if i.State == identity.Retired {
			s.Credentials, s.Grants = nil, nil
		}
	})
	if !known {
		return nil, nil
	}
	return &Stop{Identities: []identity.ID{i.ID}}, nil
}

func (st *state) credential(c identity.Credential) (*Stop, error) {
	if c.ID == "" || c.Identity.IsZero() || c.Thumbprint == "" {
		return nil, errors.New("credential without an id, an identity or a thumbprint")
	}
	if id, ok := st.prints.get(c.Thumbprint); ok && id != c.Identity {
		return nil, fmt.Errorf("credential %s is of %s and of %s: one credential, one identity", c.ID, id, c.Identity)
	}
	share(&c.Kind)
	old, known := st.subjects.get(c.Identity)
	if known && old.Identity.State == identity.Retired {
		return nil, nil
	}
	var before identity.Credential
	st.replace(c.Identity, func(s *Subject) {
		if known {
			c.Identity = old.name(c.Identity)
			before, _ = old.Credential(c.ID)
		}
		s.Credentials = with(s.Credentials, c, func(o identity.Credential) bool { return o.ID == c.ID })
	})
	if before.ID != "" && before.Thumbprint != c.Thumbprint {
		st.prints.drop(before.Thumbprint)
	}
	st.prints.put(c.Thumbprint, c.Identity)
	if before.ID == "" || before.Revoked.Equal(c.Revoked) && before.Expires.Equal(c.Expires) {
		return nil, nil
	}
	return &Stop{Identities: []identity.ID{c.Identity}, Credential: c.ID}, nil
}

func (st *state) grant(g policy.Grant, removed bool) (*Stop, error) {
	if g.ID == "" || g.Identity.IsZero() {
		return nil, errors.New("grant without an id or an identity")
	}
	st.alike(&g)
	same := func(o policy.Grant) bool { return o.ID == g.ID }
	old, known := st.subjects.get(g.Identity)
	if known && old.Identity.State == identity.Retired || removed && !known {
		return nil, nil
	}
	had := known && slices.ContainsFunc(old.Grants, same)
	st.replace(g.Identity, func(s *Subject) {
		if removed {
			s.Grants = slices.DeleteFunc(slices.Clone(s.Grants), same)
			return
		}
		if known {
			g.Identity = old.name(g.Identity)
		}
		s.Grants = with(s.Grants, g, same)
	})
	if !had {
		return nil, nil
	}
	return &Stop{Identities: []identity.ID{g.Identity}, Grant: g.ID}, nil
}

// alike has g hold what it has in common with another grant in the same memory.
func (st *state) alike(g *policy.Grant) {
	share(&g.Upstream, &g.Record, &g.Approve, &g.Fresh, &g.Set)
	g.Cedar = g.Common()
	o, ok := st.shapes[g.Cedar]
	if ok && slices.Equal(o.Actions, g.Actions) && slices.Equal(o.Resources, g.Resources) && reflect.DeepEqual(o.Where, g.Where) {
		g.Cedar, g.Actions, g.Resources, g.Where = o.Cedar, o.Actions, o.Resources, o.Where
		return
	}
	if st.shapes == nil || len(st.shapes) >= 4096 { // so many are not alike; do not hold on to them
		st.shapes = map[string]policy.Grant{}
	}
	st.shapes[g.Cedar] = policy.Grant{Cedar: g.Cedar, Actions: g.Actions, Resources: g.Resources, Where: g.Where}
}

// name is id in the memory that the identity itself uses, so that each is held once.
func (s *Subject) name(id identity.ID) identity.ID {
	if s.Identity.ID == id {
		return s.Identity.ID
	}
	return id
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
		s, ok := st.subjects.get(id)
		if !ok || s.Identity.ID.IsZero() {
			unknown = fmt.Errorf("kill of %s, which is unknown", id)
			continue
		}
		if s.Identity.KilledBy != k.ID {
			st.replace(id, func(s *Subject) { s.kill(k) })
		}
	}
	return &Stop{Identities: k.Identities}, unknown
}

func (s *Subject) kill(k *Kill) {
	s.Identity.KilledFrom = s.Identity.State
	s.Identity.State, s.Identity.KilledBy = identity.Killed, k.ID
	s.Identity.Generation++
	s.Credentials = slices.Clone(s.Credentials)
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

// with is list with v in the place of what it replaces, or at the end.
func with[T any](list []T, v T, same func(T) bool) []T {
	next := make([]T, len(list), len(list)+1)
	copy(next, list)
	if i := slices.IndexFunc(next, same); i >= 0 {
		next[i] = v
		return next
	}
	return append(next, v)
}

// share makes strings that many things hold one string in memory.
func share[S ~string](list ...*S) {
	for _, s := range list {
		*s = unique.Make(*s).Value()
	}
}
