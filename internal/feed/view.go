package feed

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// maxUnpacked is how many identities are unpacked at one time, with their policies compiled. One
// that is not is when it next asks, in tens of microseconds.
const maxUnpacked = 1 << 14

// View is what a gateway knows, in memory: the whole of the feed so far. One
// goroutine applies changes, any number read, and no reader waits for another.
// Until a snapshot is complete, after a change that could not be applied, and when its
// lease has ended, it is not [View.Live] and nothing may be decided from it.
type View struct {
	Now   func() time.Time // to forget revoked tokens that have expired
	Lease *Lease           // without which nothing is decided from it; nil: nobody could say that it is out of date
	Keep  *Keep            // where it is on disk; nil: nowhere

	applying sync.Mutex
	onStop   []func(Stop)
	next     *state // a snapshot being read beside the one in use; nil if there is none

	now      atomic.Pointer[state]
	enforced atomic.Pointer[Cursor] // all up to there is in now
	version  atomic.Uint64          // grows with the beginning and the end of each Apply
	trouble  atomic.Pointer[error]  // why it is not live; nil if it is
	unpacked unpacked
	answers  Bell // rings with each change of an approval
	changes  Bell // rings with each change
}

// state is one history of the feed from its snapshot on.
type state struct {
	view       *View
	subjects   *subjects
	words      *words
	prints     prints
	owners     *table[identity.OwnerID, *identity.Owner]
	addresses  *table[string, identity.OwnerID] // of owners, in lower case
	people     *table[identity.ID, *Subject]    // owners as links of chains, once one was asked for
	revoked    *table[string, time.Time]        // jti → when it can be forgotten
	tasks      *table[string, *Task]
	taskCount  int // how many changes of tasks before the next sweep
	revocation int // how many revoked tokens before the next sweep
	upstreams  atomic.Pointer[map[string]*policy.Upstream]
	guardrails atomic.Pointer[map[string]policy.Guardrail]
	rails      atomic.Pointer[policy.Guardrails] // compiled; nil until synced
	keys       atomic.Pointer[token.Verifier]
	jwks       atomic.Pointer[[]byte]    // as they came
	approvals  *table[string, *Approval] // by hash, or by key when they stand
	packer     packer                    // Apply's own, as opened
	opened     opened
	failed     error // a change that could not be applied: only another snapshot makes that good
}

var errNotSynced = errors.New("the view has not been filled yet")

// NewView returns a view that knows nothing and is not live.
func NewView() *View {
	v := &View{Now: time.Now, unpacked: unpacked{ring: make([]*held, maxUnpacked)}}
	v.now.Store(v.newState())
	v.enforced.Store(&Cursor{})
	v.trouble.Store(&errNotSynced)
	return v
}

func (v *View) newState() *state {
	w := newWords()
	subjects := newSubjects()
	s := &state{view: v, subjects: subjects, words: w, packer: packer{words: w}, prints: newPrints(subjects),
		owners: newTable[identity.OwnerID, *identity.Owner](), addresses: newTable[string, identity.OwnerID](), people: newTable[identity.ID, *Subject](), revoked: newTable[string, time.Time](), revocation: 1024,
		tasks: newTable[string, *Task](), taskCount: 1024, approvals: newTable[string, *Approval]()}
	s.upstreams.Store(&map[string]*policy.Upstream{})
	s.guardrails.Store(&map[string]policy.Guardrail{})
	return s
}

// OnStop has f called by Apply, in its goroutine, for every change that may take
// something away. f must be quick and must not call Apply.
func (v *View) OnStop(f func(Stop)) {
	v.applying.Lock()
	defer v.applying.Unlock()
	v.onStop = append(v.onStop, f)
}

// Changed is closed with the next change of what is read.
func (v *View) Changed() <-chan struct{} { return v.changes.Listen() }

// Live returns nil when decisions may be made from v, else why not. The wall clock changes nothing of it.
func (v *View) Live() error {
	if err := v.trouble.Load(); err != nil {
		return *err
	}
	return v.Leased()
}

// Leased returns nil while the lease runs, else [ErrLapsed].
func (v *View) Leased() error {
	if v.Lease != nil && v.Lease.Left() <= 0 {
		return ErrLapsed
	}
	return nil
}

// Enforced is the place in the feed up to which all is in force; the zero Cursor when there was no snapshot.
func (v *View) Enforced() Cursor { return *v.enforced.Load() }

// Subject returns the identity of that ID, or the person, with all that decides about it.
func (v *View) Subject(id identity.ID) (*Subject, bool) { return v.now.Load().subject(id) }

func (st *state) subject(id identity.ID) (*Subject, bool) {
	if id.Kind() == identity.Person {
		return st.person(id)
	}
	h, ok := st.subjects.get(id)
	if !ok || !h.known() {
		return nil, false
	}
	return st.unpacked(h), true
}

// person is an owner as a link of a chain. A team, which nobody can act for, is none.
func (st *state) person(id identity.ID) (*Subject, bool) {
	o, ok := st.owners.get(id.Owner())
	if !ok || o.Team {
		return nil, false
	}
	if s, ok := st.people.get(id); ok && s.is == o {
		return s, true
	}
	s := &Subject{of: st, is: o, Identity: identity.Identity{ID: id, Owner: o.ID, State: identity.Active, Expires: forever, Generation: o.Generation}}
	if o.State != identity.OwnerActive {
		s.Identity.State = identity.Retired
	}
	st.people.put(id, s)
	return s, true
}

// forever is when people expire.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Credential finds a credential by thumbprint. Whether it may still be used is its own question.
func (v *View) Credential(thumbprint string) (identity.Credential, bool) {
	return v.now.Load().proof(thumbprint)
}

func (st *state) proof(thumbprint string) (identity.Credential, bool) {
	for _, h := range st.prints.get(thumbprint) {
		s := st.unpacked(h)
		for i := range s.Credentials {
			if s.Credentials[i].Thumbprint == thumbprint {
				return s.Credentials[i], true
			}
		}
	}
	return identity.Credential{}, false
}

// CredentialByID finds a credential of one identity.
func (v *View) CredentialByID(of identity.ID, id string) (identity.Credential, bool) {
	if s, ok := v.Subject(of); ok {
		return s.Credential(id)
	}
	return identity.Credential{}, false
}

// Upstream returns the upstream of that name: the same pointer until it changes.
func (v *View) Upstream(name string) (*policy.Upstream, bool) {
	u, ok := (*v.now.Load().upstreams.Load())[name]
	return u, ok
}

// Upstreams lists them by name.
func (v *View) Upstreams() []*policy.Upstream {
	var list []*policy.Upstream
	for _, u := range *v.now.Load().upstreams.Load() {
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b *policy.Upstream) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Guardrails lists them by id.
func (v *View) Guardrails() []policy.Guardrail { return v.now.Load().listGuardrails() }

func (st *state) listGuardrails() []policy.Guardrail {
	var list []policy.Guardrail
	for _, g := range *st.guardrails.Load() {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b policy.Guardrail) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Owner returns an owner.
func (v *View) Owner(id identity.OwnerID) (identity.Owner, bool) {
	if o, ok := v.now.Load().owners.get(id); ok {
		return *o, true
	}
	return identity.Owner{}, false
}

// Address reports whether an email address, in lower case, is that of an owner who is there.
func (v *View) Address(email string) bool {
	st := v.now.Load()
	id, ok := st.addresses.get(email)
	if !ok {
		return false
	}
	o, ok := st.owners.get(id)
	return ok && o.State == identity.OwnerActive && strings.EqualFold(o.Email, email)
}

// Keys are what tokens are verified with: the same pointer until they change, nil before there are any.
func (v *View) Keys() *token.Verifier { return v.now.Load().keys.Load() }

// TokenRevoked reports whether the token of that jti was ended before its time.
func (v *View) TokenRevoked(jti string) bool {
	_, ok := v.now.Load().revoked.get(jti)
	return ok
}

// Check says whether a token that was verified is still good at now: the one
// place that knows what ends a token before its time. The error says why, for people.
func (v *View) Check(c token.Claims, now time.Time) error {
	st := v.now.Load()
	if !now.Before(c.Expires) {
		return errors.New("it has expired")
	}
	if _, gone := st.revoked.get(c.ID); gone {
		return errors.New("it was revoked")
	}
	for _, from := range c.From {
		if _, gone := st.revoked.get(from); gone {
			return errors.New("a token that it came from was revoked")
		}
	}
	if len(c.Chain) == 0 {
		return identity.ErrUnknown
	}
	for i, l := range c.Chain {
		s, err := st.usable(l, now)
		if err != nil && i > 0 {
			return fmt.Errorf("it acts for another: %w", err)
		} else if err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		k, _ := s.Credential(c.Credential)
		if err := k.Usable(now); err != nil {
			return fmt.Errorf("it was obtained with another proof than is good now: %w", err)
		}
	}
	for _, from := range c.From {
		if strings.HasPrefix(from, identity.CredentialPrefix) && !st.proves(from, c.Chain, now) {
			return errors.New("a token that it came from was obtained with another proof than is good now")
		}
	}
	return st.working(&c, now)
}

// proves reports whether a credential is good, and of one of a chain.
func (st *state) proves(credential string, c identity.Chain, now time.Time) bool {
	for _, l := range c {
		if s, ok := st.subject(l.ID); ok {
			if k, ok := s.Credential(credential); ok {
				return k.Usable(now) == nil
			}
		}
	}
	return false
}

// Line is the identity with those that started it, itself first; an error says why
// none of them may act at now. A child is of its parent's generation: what was killed
// with its parent stays dead when that is restored.
func (v *View) Line(id identity.ID, now time.Time) (identity.Chain, error) {
	st := v.now.Load()
	s, ok := st.subject(id)
	if !ok {
		return nil, identity.ErrUnknown
	}
	line := identity.Alone(id, s.Identity.Generation)
	for {
		s, err := st.usable(line[len(line)-1], now)
		parent := identity.Link{}
		if s != nil {
			parent = s.Identity.Parent
		}
		switch {
		case err != nil && len(line) > 1:
			return nil, fmt.Errorf("%s was started by another: %w", id.Name(), err)
		case err != nil:
			return nil, err
		case parent.ID.IsZero():
			return line, nil
		case len(line) == identity.MaxChain:
			return nil, fmt.Errorf("%s is of more than %d generations", id.Name(), identity.MaxChain)
		}
		line = append(line, parent)
	}
}

// usable finds a link of a chain, if it may act and was not stopped since the chain was made.
func (st *state) usable(l identity.Link, now time.Time) (*Subject, error) {
	s, ok := st.subject(l.ID)
	if !ok {
		return nil, identity.ErrUnknown
	}
	if err := s.Identity.Usable(now); err != nil {
		return s, err
	}
	if s.Identity.Generation != l.Generation {
		return s, fmt.Errorf("%s was stopped since it was issued", l.ID.Name())
	}
	return s, nil
}
