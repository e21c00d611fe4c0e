package feed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// ApprovalState is how a question to people stands.
type ApprovalState string

const (
	Waiting  ApprovalState = "waiting"  // nobody has said enough yet
	Approved ApprovalState = "approved" // for once, and not used yet
	Standing ApprovalState = "standing" // for every such call until it expires
	Denied   ApprovalState = "denied"   // until it expires; then it may be asked again
	Used     ApprovalState = "used"     // the one call was let pass
	Expired  ApprovalState = "expired"  // nobody said enough in time, it was not used in time, or it stood until then
)

// Open reports whether something can still come of it.
func (s ApprovalState) Open() bool { return s != Used && s != Expired }

// Approval is a question to people, as gateways need to know it. What is approved is
// one request, by its hash: with other arguments it is another question.
type Approval struct {
	ID       string             `json:"id"`   // "appr_..."
	Hash     string             `json:"hash"` // of the request, see Question
	Identity identity.ID        `json:"identity"`
	State    ApprovalState      `json:"state"`
	Expires  time.Time          `json:"expires"`
	Of       []policy.Approve   `json:"of"`            // what was, or is to be, agreed to
	Who      string             `json:"who"`           // who is asked, for people
	By       []identity.OwnerID `json:"by,omitempty"`  // who said yes, or no
	Key      string             `json:"key,omitempty"` // of all that it stands for, when it stands: one of the question's keys
}

// Question is what a gateway asks people: may this be done?
type Question struct {
	Hash string         `json:"hash"` // SHA-256 over all below that decides what is done, and the exact request
	Keys Keyed          `json:"keys"`
	Ask  *policy.Asking `json:"ask"`

	Chain    identity.Chain `json:"chain"`
	Task     string         `json:"task,omitempty"` // that it belongs to
	Upstream string         `json:"upstream"`
	Method   string         `json:"method"`
	Action   string         `json:"action"`
	Class    policy.Class   `json:"class"`
	Resource string         `json:"resource"`
	Why      string         `json:"why"`               // why it was stopped, one sentence
	Request  string         `json:"request,omitempty"` // id of the request that was stopped
	Gateway  string         `json:"gateway,omitempty"`
	Source   string         `json:"source,omitempty"` // peer address of who asked

	Shown *Shown `json:"shown,omitempty"` // kept sealed, and apart
}

// Keyed is under which keys an approval of more than one call stands: of the same chain,
// upstream and action, for one task, or on one resource.
type Keyed struct {
	Task     string `json:"task,omitempty"`
	Resource string `json:"resource"`
}

// Shown is what people see of a request. It may hold anything that an upstream is told.
type Shown struct {
	Target  string   `json:"target"`            // path and query
	Headers []string `json:"headers,omitempty"` // that are part of what is approved
	Type    string   `json:"type,omitempty"`    // of the body
	Body    string   `json:"body,omitempty"`    // its text; JSON is indented
	Cut     bool     `json:"cut,omitempty"`     // the text is longer than that
	Binary  bool     `json:"binary,omitempty"`  // it is no text
	To      []string `json:"to,omitempty"`      // whom it goes to, where the request does not say that itself
	Origins []string `json:"origins,omitempty"` // a sentence for each value that is not the user's or the organisation's: where it was first seen
	Size    int      `json:"size"`
	SHA256  string   `json:"sha256,omitempty"` // of the body as it is sent
}

// Desk is where a gateway asks people, and uses up what they said yes to.
type Desk interface {
	// Ask returns the open question about that request, made now if there was none.
	// A *NotAsked says why there is none, for the caller.
	Ask(ctx context.Context, q Question) (Approval, error)
	// Use takes an approval for the request of that hash. Of all who try, wherever they
	// are, one gets nil; the others get ErrUsed.
	Use(ctx context.Context, id, hash, request string) error
}

// ErrUsed means that an approval is not, or no more, good for a request.
var ErrUsed = errors.New("this approval is used up, has expired, or is for another request")

// NotAsked says why people are not asked.
type NotAsked struct{ Why string }

func (e *NotAsked) Error() string { return e.Why }

// Key is one key of an approval, made of what it is about.
func Key(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		for i := range n {
			n[i] = byte(len(p) >> (56 - 8*i))
		}
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Approval finds what people said, or are asked, about what has one of those keys: the
// first that is open. Whether it is still good is for the caller to ask.
func (v *View) Approval(keys ...string) (Approval, bool) {
	of := v.now.Load().approvals
	for _, key := range keys {
		if key == "" {
			continue
		}
		if a, ok := of.get(key); ok {
			return *a, true
		}
	}
	return Approval{}, false
}

// ApprovalOf finds an approval that is open by its id alone, among all there are.
func (v *View) ApprovalOf(id string) (Approval, bool) {
	a, ok := v.now.Load().approvals.find(func(a *Approval) bool { return a.ID == id })
	if !ok {
		return Approval{}, false
	}
	return *a, true
}

// ApprovalChange is closed with the next change of any approval, or of a task that a person was asked for.
func (v *View) ApprovalChange() <-chan struct{} {
	return v.answers.Listen()
}

// Good says why an approval does not let anything pass at now, or nil. What it must
// have been given for is asked as well: a policy may have come to want more.
func (v *View) Good(a Approval, ask *policy.Asking, now time.Time) error {
	switch {
	case a.State != Approved && a.State != Standing:
		return errors.New("it is " + string(a.State))
	case !now.Before(a.Expires):
		return errors.New("it has expired")
	case ask == nil || !ask.Within(a.Of):
		return errors.New("the policies ask for more than was agreed to")
	}
	for _, by := range a.By {
		if strings.HasPrefix(string(by), OperatorPrefix) {
			continue
		}
		if o, ok := v.Owner(by); !ok || o.State != identity.OwnerActive {
			return errors.New(string(by) + ", who approved it, has left")
		}
	}
	return nil
}

// OperatorPrefix begins the name of an operator among those who decided.
const OperatorPrefix = "operator:"

func (st *state) approval(a Approval) (*Stop, error) {
	if a.ID == "" || a.Hash == "" || a.Identity.IsZero() {
		return nil, errors.New("approval without an id, a hash or an identity")
	}
	defer st.view.answers.Ring()
	var stop *Stop
	for _, key := range []string{a.Hash, a.Key} {
		if key == "" {
			continue
		}
		old, had := st.approvals.get(key)
		over := !a.State.Open() || key != a.Hash && a.State != Standing // or it was taken back
		if had && old.ID != a.ID && over {
			continue // another question was asked about the same since
		}
		if had && old.State == Standing {
			stop = &Stop{Identities: []identity.ID{a.Identity}}
		}
		if over || key == a.Hash && a.State == Standing { // then it is under its key
			st.approvals.drop(key)
		} else {
			st.approvals.put(key, &a)
		}
	}
	return stop, nil
}
