package registry

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/oauth"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Account is what an owner signed in to an upstream for. It is secret as a whole.
type Account struct {
	Upstream string             `json:"upstream"`
	Owner    identity.OwnerID   `json:"owner"`
	ID       string             `json:"id"`    // of this sign-in: the next is another
	Place    string             `json:"place"` // where the token may be shown, see policy.Upstream.Place
	Since    time.Time          `json:"since"`
	Renewed  time.Time          `json:"renewed"`          // when the token was got
	Scope    []string           `json:"scope,omitempty"`  // that was asked for
	Lapsed   string             `json:"lapsed,omitempty"` // why it is no longer good; the token is gone then
	Named    []string           `json:"named"`            // addresses that the operator named: of the upstream, of its server
	Client   oauth.Registration `json:"client"`           // who Lanyard was at the server
	Token    oauth.Token        `json:"token"`
}

func (a Account) String() string   { return "[account of " + string(a.Owner) + " at " + a.Upstream + "]" }
func (a Account) GoString() string { return a.String() }

// FindAccount returns an owner's account at u, ErrNotFound when there is none that may be used there as u is now.
func FindAccount(tx *store.Tx, u policy.Upstream, owner identity.OwnerID) (a Account, err error) {
	if u.OAuth == nil || owner == "" {
		return a, store.ErrNotFound
	}
	if err = tx.Account(u.Name, owner, &a); err == nil && (a.Place != u.Place() || a.Owner != owner || a.Upstream != u.Name) {
		a, err = Account{}, store.ErrNotFound
	}
	return a, err
}

// MayConnect reports whether o may connect an account at u: the upstream's owner, and, where each has their own, who
// has an identity with a grant on it, or may connect clients to it.
func MayConnect(tx *store.Tx, u policy.Upstream, o identity.OwnerID) (bool, error) {
	switch {
	case u.OAuth == nil || o == "":
		return false, nil
	case o == u.Owner:
		return true, nil
	case u.OAuth.Account != policy.Own:
		return false, nil
	case len(u.Limit(o)) > 0:
		return true, nil
	}
	mine, err := tx.GrantsOf(o, u.Name)
	return slices.ContainsFunc(mine, func(g policy.Grant) bool { return !g.Ended(tx.Now()) }), err
}

// Begun is a sign-in at an upstream that its owner's browser is sent to. It is of the session it was begun in.
type Begun struct {
	Upstream string           `json:"upstream"`
	Owner    identity.OwnerID `json:"owner"`
	Place    string           `json:"place"`
	Session  string           `json:"session"` // hash
	Sealed   []byte           `json:"sealed"`  // oauth.Pending
}

// beginning is how long a sign-in at an upstream may take.
const beginning = 10 * time.Minute

// BeginSignIn keeps a sign-in until its answer comes to the session that it was begun in.
func (c *Change) BeginSignIn(u policy.Upstream, owner identity.OwnerID, session string, p oauth.Pending) error {
	if err := c.mayConnect(u, owner); err != nil {
		return err
	}
	plain, err := json.Marshal(p)
	if err != nil {
		return err
	}
	b := Begun{Upstream: u.Name, Owner: owner, Place: u.Place(), Session: store.TicketHash(session)}
	if b.Sealed, err = c.r.Store.Seal.Seal(plain, signInAt(b, p.State)); err != nil {
		return err
	}
	return errors.Join(c.PutTicket(store.UpstreamSignIn, p.State, c.Now().Add(beginning), b),
		c.record("account.begin", u.Name, string(owner), "", map[string]string{"server": p.Server.Issuer}))
}

func signInAt(b Begun, state string) string {
	return "sign-in/" + b.Upstream + "/" + string(b.Owner) + "/" + b.Session + "/" + store.TicketHash(state)
}

// mayConnect looks again at what the caller saw of u outside this transaction.
func (c *Change) mayConnect(u policy.Upstream, owner identity.OwnerID) error {
	now, err := c.Upstream(u.Name)
	if err != nil {
		return missing(err, "upstream", u.Name)
	}
	if _, err := c.livingOwner(owner); err != nil {
		return err
	}
	ok, err := MayConnect(c.Tx, now, owner)
	switch {
	case err != nil:
		return err
	case now.Place() != u.Place():
		return &Conflict{u.Name + " has changed meanwhile; begin again"}
	case now.Killed:
		return &Conflict{u.Name + " is cut off: the cord was pulled on it"}
	case !ok:
		return &Conflict{fmt.Sprintf("%s has no identity with a grant on %s, so no account there is needed", owner, u.Name)}
	}
	return nil
}

// ErrNoSignIn means that an answer belongs to no sign-in that this session began and is still waiting for.
var ErrNoSignIn = errors.New("this answers no sign-in that was begun in this browser session in the last ten minutes, or one that was answered before")

// TakeSignIn ends the wait for a sign-in: whoever shows its state, it is good no more. It is
// given only to the session that it was begun in, to the owner and at the upstream that it was begun for.
func (c *Change) TakeSignIn(state, session, upstream string, owner identity.OwnerID) (b Begun, p oauth.Pending, err error) {
	if _, err := c.Ticket(store.UpstreamSignIn, state, &b); errors.Is(err, store.ErrNotFound) {
		return b, p, ErrNoSignIn
	} else if err != nil {
		return b, p, err
	}
	if err := c.DeleteTicket(store.UpstreamSignIn, state); err != nil {
		return b, p, err
	}
	if b.Owner != owner || b.Upstream != upstream || subtle.ConstantTimeCompare([]byte(b.Session), []byte(store.TicketHash(session))) != 1 {
		b.Session = ""
		return b, p, c.record("account.foreign", b.Upstream, string(b.Owner), "The answer to a sign-in came with another session, or to another place, than it was begun for; it was thrown away.", nil)
	}
	plain, err := c.Unseal(b.Sealed, signInAt(b, state))
	if err == nil {
		err = json.Unmarshal(plain, &p)
	}
	return b, p, errors.Join(err, c.record("account.answer", b.Upstream, string(owner), "", nil))
}

// ConnectAccount keeps what an owner signed in for. What was kept before is forgotten, and its server not
// told: many a server would end all that this client has of that account, and so what has just come.
func (c *Change) ConnectAccount(u policy.Upstream, a Account) error {
	if err := c.mayConnect(u, a.Owner); err != nil {
		return err
	}
	var err error
	if a.ID, err = c.newID("acc_"); err != nil {
		return err
	}
	a.Upstream, a.Place, a.Since, a.Renewed, a.Lapsed = u.Name, u.Place(), c.Now(), c.Now(), ""
	return errors.Join(c.PutAccount(u.Name, a.Owner, a),
		c.record("account.connect", u.Name, string(a.Owner), "", map[string]string{"account": a.ID, "server": a.Token.Server.Issuer, "scope": strings.Join(a.Scope, " ")}))
}

// Renew keeps the token that came for that of a. It reports false if a is no longer what is kept,
// and then keeps nothing.
func (c *Change) Renew(a Account, next oauth.Token) (bool, error) {
	now, ok, err := c.still(a)
	if err != nil || !ok {
		return false, err
	}
	now.Token, now.Renewed = next, c.Now()
	return true, errors.Join(c.RenewAccount(a.Upstream, a.Owner, now), c.record("account.renew", a.Upstream, string(a.Owner), "", map[string]string{"account": a.ID}))
}

// Lapse notes that a is no longer good: its owner has to sign in again.
func (c *Change) Lapse(a Account, why string) error {
	now, ok, err := c.still(a)
	if err != nil || !ok {
		return err
	}
	now.Lapsed, now.Token, now.Client = why, oauth.Token{}, oauth.Registration{}
	return errors.Join(c.PutAccount(a.Upstream, a.Owner, now), c.record("account.lapse", a.Upstream, string(a.Owner), why, map[string]string{"account": a.ID}))
}

// still is a as it is kept, if it is the same sign-in and its token is the same.
func (c *Change) still(a Account) (now Account, ok bool, err error) {
	err = c.Account(a.Upstream, a.Owner, &now)
	if errors.Is(err, store.ErrNotFound) {
		return now, false, nil
	}
	return now, now.ID == a.ID && now.Lapsed == "" && now.Token.Access == a.Token.Access, err
}

// Disconnect forgets an owner's account at an upstream.
func (c *Change) Disconnect(upstream string, owner identity.OwnerID) error {
	u, err := c.Upstream(upstream)
	if err != nil && !(c.by.Sees != nil && errors.Is(err, store.ErrNotFound)) { // or it is as with one that is there
		return missing(err, "upstream", upstream)
	}
	var a Account
	if err := c.Account(u.Name, owner, &a); errors.Is(err, store.ErrNotFound) {
		return &Conflict{fmt.Sprintf("%s has no account connected at %s", owner, upstream)}
	} else if err != nil {
		return err
	}
	return c.forget(u.Name, owner, "")
}

// forget ends an owner's account at an upstream, if there is one.
func (c *Change) forget(upstream string, owner identity.OwnerID, why string) error {
	var a Account
	err := c.Account(upstream, owner, &a)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil { // one that cannot be read is forgotten as well
		c.given = append(c.given, a)
	}
	return errors.Join(c.DeleteAccount(upstream, owner), c.record("account.disconnect", upstream, string(owner), why, nil))
}

// forgetAll ends all accounts at an upstream that is changed, killed or removed with it, so gateways need not
// hear of each: one statement and one event, however many.
func (c *Change) forgetAll(upstream, why string) error {
	owners, err := c.Accounts(upstream)
	if err != nil || len(owners) == 0 {
		return err
	}
	names := make([]string, 0, 100)
	for _, o := range owners {
		var a Account
		if c.Account(upstream, o, &a) == nil { // one that cannot be read is forgotten as well
			c.given = append(c.given, a)
		}
		if len(names) < cap(names) {
			names = append(names, string(o))
		}
	}
	return errors.Join(c.DeleteAccounts(upstream), c.record("account.disconnect", upstream, "", why, map[string]string{"count": strconv.Itoa(len(owners)), "owners": strings.Join(names, " ")}))
}

// forgetOwner ends all accounts of an owner.
func (c *Change) forgetOwner(owner identity.OwnerID, why string) error {
	list, err := c.Upstreams()
	for _, u := range list {
		err = errors.Join(err, c.forget(u.Name, owner, why))
	}
	return err
}
