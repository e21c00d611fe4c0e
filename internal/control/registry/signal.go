package registry

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// The events of CAEP 1.0 that receivers are told, by the ends of their URIs.
const (
	SessionRevoked   = "session-revoked"
	CredentialChange = "credential-change"
	ClaimsChange     = "token-claims-change"
)

// Signal is what receivers are told: one event about each of the identities, or about what has one of the
// other names. It holds no word that a person wrote.
type Signal struct {
	Event      string        `json:"event"`
	Time       time.Time     `json:"time"`
	By         string        `json:"by"`  // admin, user, policy or system (CAEP section 2)
	Why        string        `json:"why"` // one sentence, for people
	Cause      string        `json:"cause,omitempty"`
	Identities []identity.ID `json:"identities,omitempty"` // persons are among them
	Token      string        `json:"token,omitempty"`      // jti
	Task       string        `json:"task,omitempty"`
	Upstream   string        `json:"upstream,omitempty"` // all tokens for it

	Credential string                  `json:"credential,omitempty"`
	Kind       identity.CredentialKind `json:"kind,omitempty"`
	Change     string                  `json:"change,omitempty"` // create or revoke

	Owner     identity.OwnerID `json:"owner,omitempty"`     // the claim's new value
	Upstreams []string         `json:"upstreams,omitempty"` // that it still has grants on: new values of aud
	Grants    bool             `json:"grants,omitempty"`    // it lost one
}

// told is how many identities one signal is about: one that was told halfway is told again from its beginning.
const told = 100

// signal puts into the outbox what receivers are to be told of the change. It looks at what the feed will say, so
// that whatever takes something away from gateways is told elsewhere, too.
func (c *Change) signal() error {
	list, err := c.signals()
	if err != nil || len(list) == 0 {
		return err
	}
	receivers, err := c.Receivers()
	if err != nil || len(receivers) == 0 {
		return err
	}
	for _, s := range list {
		s.Time, s.By = c.Now(), c.initiator()
		id, err := c.newID("sig_")
		if err == nil {
			err = c.PutSignal(id, s)
		}
		for _, r := range receivers {
			n := store.Note{Door: store.ReceiverDoor(r.Name), Approval: id, Made: c.Now()}
			if err == nil {
				n.ID, err = c.newID("set_")
			}
			if err == nil {
				err = c.PutNote(n)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// initiator is who is behind the change, in the words of CAEP.
func (c *Change) initiator() string {
	switch kind, _, _ := strings.Cut(c.by.Name, ":"); kind {
	case "operator":
		return "admin"
	case "owner":
		return "user"
	case "lanyard", "provider":
		return "policy"
	}
	return "system"
}

func (c *Change) signals() (list []Signal, err error) {
	add := func(event, why string, s Signal) {
		s.Event, s.Why = event, why
		list = append(list, s)
	}
	lost := map[identity.ID]bool{}
	for _, ch := range c.Changes() {
		switch {
		case ch.Kill != nil && ch.Kill.Upstream != "":
			add(SessionRevoked, "The cord was pulled on the system that the tokens are for.", Signal{Upstream: ch.Kill.Upstream, Cause: ch.Kill.ID})
		case ch.Kill != nil:
			for some := range slices.Chunk(ch.Kill.Identities, told) {
				add(SessionRevoked, "The cord was pulled.", Signal{Identities: some, Cause: ch.Kill.ID})
			}
		case ch.Upstream != nil && ch.Removed:
			add(SessionRevoked, "The system that the tokens are for was removed.", Signal{Upstream: ch.Upstream.Name})
		case ch.Token != nil:
			add(SessionRevoked, "The token was revoked.", Signal{Token: ch.Token.ID})
		case ch.Task != nil && ch.Task.State == policy.TaskClosed:
			add(SessionRevoked, "The task has ended.", Signal{Task: ch.Task.ID})
		case ch.Identity != nil && !ch.Removed:
			if i := ch.Identity; slices.Contains([]identity.State{identity.Suspended, identity.Expired, identity.Retired}, i.State) {
				add(SessionRevoked, "The identity is "+string(i.State)+".", Signal{Identities: []identity.ID{i.ID}})
			} else if from, ok := c.owned[i.ID]; ok && from != i.Owner && i.State == identity.Active {
				add(ClaimsChange, "The identity has another owner.", Signal{Identities: []identity.ID{i.ID}, Owner: i.Owner})
			}
		case ch.Owner != nil && (ch.Removed || ch.Owner.State != identity.OwnerActive || ch.Owner.Stopped.Equal(c.Now())):
			person, err := identity.PersonID(c.r.Domain, ch.Owner.ID)
			if err != nil {
				return nil, err
			}
			add(SessionRevoked, "Nothing goes on in the name of this person.", Signal{Identities: []identity.ID{person}})
		case ch.Credential != nil:
			k := ch.Credential
			s := Signal{Identities: []identity.ID{k.Identity}, Credential: k.ID, Kind: k.Kind}
			if !k.Revoked.IsZero() {
				s.Change = "revoke"
				add(CredentialChange, "The credential was revoked.", s)
			} else if k.Created.Equal(c.Now()) {
				s.Change = "create"
				add(CredentialChange, "The credential was added.", s)
			}
		case ch.Grant != nil && ch.Removed:
			lost[ch.Grant.Identity] = true
		}
	}
	for _, ch := range c.Changes() { // in their order
		if ch.Grant == nil || !lost[ch.Grant.Identity] {
			continue
		}
		delete(lost, ch.Grant.Identity)
		grants, e := c.Grants(ch.Grant.Identity)
		var left []string
		for _, g := range grants {
			if !slices.Contains(left, g.Upstream) {
				left = append(left, g.Upstream)
			}
		}
		if err = errors.Join(err, e); err == nil {
			add(ClaimsChange, "A grant was taken away.", Signal{Identities: []identity.ID{ch.Grant.Identity}, Upstreams: left, Grants: true})
		}
	}
	return list, err
}

// owns notes whose an identity was before the change.
func (c *Change) owns(i identity.Identity) {
	if c.owned == nil {
		c.owned = map[identity.ID]identity.OwnerID{}
	}
	if _, ok := c.owned[i.ID]; !ok && !i.ID.IsZero() {
		c.owned[i.ID] = i.Owner
	}
}

// Signalled forgets what a receiver was told, or why says why it is not told any more.
func (c *Change) Signalled(receiver string, n store.Note, s Signal, why string) error {
	detail := map[string]string{"event": s.Event, "count": strconv.Itoa(max(1, len(s.Identities)))}
	if s.Cause != "" {
		detail["cause"] = s.Cause
	}
	return errors.Join(c.DeleteSignal(n), c.record("receiver.tell", receiver, "", why, detail))
}
