package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// ApprovalView is a question to people, and what they said.
type ApprovalView struct {
	ID        string             `json:"id" example:"appr_..."`
	State     feed.ApprovalState `json:"state" enum:"waiting,approved,standing,denied,used,expired"`
	URL       string             `json:"url" doc:"Where people decide"`
	Identity  identity.ID        `json:"identity" doc:"Who asked"`
	Chain     identity.Chain     `json:"chain" doc:"All who are behind it, who asked first"`
	Task      string             `json:"task,omitempty"`
	Upstream  string             `json:"upstream"`
	Method    string             `json:"method"`
	Action    string             `json:"action"`
	Class     policy.Class       `json:"class"`
	Resource  string             `json:"resource"`
	Hash      string             `json:"hash" doc:"SHA-256 over the request and who is behind it: what is approved is that"`
	Why       string             `json:"why"`
	Who       string             `json:"who" doc:"Who can decide"`
	Policies  []ApprovePolicy    `json:"policies"`
	Asked     time.Time          `json:"asked"`
	Expires   time.Time          `json:"expires"`
	Decisions []ApprovalDecision `json:"decisions"`
	Grant     string             `json:"grant,omitempty" doc:"The grant that was given instead of asking again"`
	Shown     *feed.Shown        `json:"shown,omitempty" doc:"The request itself: only for who may decide"`
}

// ApprovePolicy is a policy that asks for people's yes.
type ApprovePolicy struct {
	ID        string `json:"id"`
	Guardrail bool   `json:"guardrail,omitempty"`
	Approve   string `json:"approve" example:"2 of ben kim maya"`
	Fresh     string `json:"fresh,omitempty" example:"5m0s"`
}

// ApprovalDecision is what one person said.
type ApprovalDecision struct {
	By    string      `json:"by" example:"maya"`
	At    time.Time   `json:"at"`
	Yes   bool        `json:"yes"`
	Scope store.Scope `json:"scope,omitempty" enum:"once,task,lasting"`
	Until time.Time   `json:"until,omitzero"`
	Note  string      `json:"note,omitempty"`
}

// ApproveInput is POST /v1/approvals/{approval}/approve.
type ApproveInput struct {
	Scope string `json:"scope,omitempty" enum:"once,task,lasting" doc:"For what the yes is; default once"`
	Until string `json:"until,omitempty" doc:"The end of a lasting one" example:"7d" maxLength:"64"`
	Note  string `json:"note,omitempty" doc:"For who asked, and for the record" maxLength:"500"`
}

// DenyInput is POST /v1/approvals/{approval}/deny.
type DenyInput struct {
	Note string `json:"note,omitempty" doc:"For who asked, and for the record" maxLength:"500"`
	Kill bool   `json:"kill,omitempty" doc:"And pull the cord on who asked"`
}

// ApprovalAnswered is the answer to both.
type ApprovalAnswered struct {
	ApprovalView
	Receipt feed.Receipt `json:"receipt"`
}

// ApprovalStats says how often people are asked, and how they answer.
type ApprovalStats struct {
	Since     time.Time       `json:"since"`
	Asked     int             `json:"asked"`
	Approvers []ApproverStats `json:"approvers"`
}

// ApproverStats is of one person.
type ApproverStats struct {
	By       string `json:"by"`
	Asked    int    `json:"asked" doc:"Questions that this person could answer"`
	Approved int    `json:"approved"`
	Denied   int    `json:"denied"`
	Expired  int    `json:"expired" doc:"Of those asked: nobody answered in time"`
	Median   string `json:"median,omitempty" doc:"From question to answer" example:"1m12s"`
	Fastest  string `json:"fastest,omitempty"`
	Hasty    int    `json:"hasty" doc:"Yes within three seconds of seeing the page"`
}

func (p *Plane) approvalView(a store.Approval) ApprovalView {
	q := a.Question
	v := ApprovalView{ID: a.ID, State: a.State, URL: p.URL + "/approvals/" + a.ID, Identity: a.Identity, Chain: q.Chain, Task: q.Task, Upstream: q.Upstream, Method: q.Method,
		Action: q.Action, Class: q.Class, Resource: q.Resource, Hash: a.Hash, Why: q.Why, Who: a.Who, Policies: []ApprovePolicy{}, Asked: a.Asked, Expires: a.Expires,
		Decisions: []ApprovalDecision{}, Grant: a.Grant}
	if v.State.Open() && !p.Now().Before(a.Expires) { // it is written down a moment later
		v.State = feed.Expired
	}
	for _, one := range a.Of {
		w := ApprovePolicy{ID: one.Policy, Guardrail: one.Guardrail, Approve: one.String()}
		if one.Fresh > 0 {
			w.Fresh = one.Fresh.String()
		}
		v.Policies = append(v.Policies, w)
	}
	for _, d := range a.Decisions {
		v.Decisions = append(v.Decisions, ApprovalDecision{By: string(d.By), At: d.At, Yes: d.Yes, Scope: d.Scope, Until: d.Until, Note: d.Note})
	}
	return v
}

type approvalList struct {
	Caller
	State string `query:"state" enum:"waiting,approved,standing,denied,used,expired"`
	Mine  bool   `query:"mine" doc:"Of those that wait, the ones that count on the caller's home: theirs to answer, or, for who answers nothing, any"`
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
}

type approvalWait struct {
	Caller
	Name string `path:"name" maxLength:"64"`
	Wait string `query:"wait" doc:"Wait so long for an answer, 60s at most" example:"30s" maxLength:"16"`
}

type statsSince struct {
	Caller
	Since string `query:"since" doc:"How far back: 7d, a date, or RFC 3339; default 30d" maxLength:"64"`
}

const (
	waiters     = 256 // may wait for answers at one time
	waitersEach = 16  // of one caller
)

// waiting counts who waits for answers.
type waiting struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

// enter has one more wait, if there is a place for it.
func (w *waiting) enter(who string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= waiters || w.of[who] >= waitersEach {
		return false
	}
	if w.of == nil {
		w.of = map[string]int{}
	}
	w.all++
	w.of[who]++
	return true
}

func (w *waiting) leave(who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.of[who]--; w.of[who] == 0 {
		delete(w.of, who)
	}
}

func (w *waiting) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}

func (p *Plane) approvalRoutes(api door) {
	const tag = "approvals"
	handleList(api, "GET", "/approvals", "list-approvals", tag, "Questions to people, the newest first", func(ctx context.Context, in *approvalList) (Page[ApprovalView], error) {
		return read(ctx, p, func(tx *store.Tx) (Page[ApprovalView], error) {
			limit := in.Limit
			if in.only != nil || in.Mine { // others are left out of it
				limit = maxStats
			}
			list, err := tx.Approvals(feed.ApprovalState(in.State), time.Time{}, limit)
			out := page[ApprovalView](nil)
			for _, a := range list {
				if len(out.Items) == in.Limit {
					break
				}
				if in.Mine {
					if mine, e := waitsFor(tx, in.visitor, a); e != nil || !mine || a.State != feed.Waiting || !tx.Now().Before(a.Expires) {
						err = errors.Join(err, e)
						continue
					}
				}
				if in.only != nil {
					if o, e := approvalObject(tx, in.visitor, a); e != nil || !permits(in.visitor, "get-approval", o) {
						err = errors.Join(err, e)
						continue
					}
				}
				out.Items = append(out.Items, p.approvalView(a))
			}
			return out, err
		})
	})
	handle(api, "GET", "/approvals/stats", "approval-stats", tag, "How often people are asked, and how fast they say yes", func(ctx context.Context, in *statsSince) (ApprovalStats, error) {
		since, err := sinceOrUntil(in.Since, p.Now())
		if err != nil {
			return ApprovalStats{}, err
		}
		if since.IsZero() {
			since = p.Now().AddDate(0, 0, -30)
		}
		return read(ctx, p, func(tx *store.Tx) (ApprovalStats, error) { return approvalStats(tx, since) })
	})
	handleOwn(api, "GET", "/approvals/{name}", "get-approval", tag, "A question to people, and what they said; an identity sees its own", func(ctx context.Context, in *approvalWait) (ApprovalView, error) {
		wait, err := waitFor(in.Wait)
		if err != nil {
			return ApprovalView{}, err
		}
		return await(ctx, p, in.actor().Name, wait, func(tx *store.Tx) (ApprovalView, bool, error) {
			a, err := tx.Approval(in.Name)
			if id, own := in.self(); err == nil && own && id != a.Identity { // nobody learns of another's
				err = store.ErrNotFound
			}
			if err != nil {
				return ApprovalView{}, false, missing(err, "approval", in.Name)
			}
			v := p.approvalView(a)
			decides, err := decidesAbout(tx, &in.Caller, a)
			if err != nil {
				return v, false, err
			}
			if decides {
				s, err := tx.Shown(a.ID)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return v, false, err
				}
				v.Shown = &s
			}
			return v, v.State == feed.Waiting, nil
		})
	})
	handle(api, "POST", "/approvals/{name}/approve", "approve", tag, "Say yes as an operator, where a policy names operators", func(ctx context.Context, in *namedBody[ApproveInput]) (ApprovalAnswered, error) {
		until, err := registry.ParseEnd(in.Body.Until)
		if err != nil {
			return ApprovalAnswered{}, invalid("until: " + err.Error())
		}
		return p.answer(ctx, in.Caller, registry.Answer{Approval: in.Name, Yes: true, Scope: store.Scope(in.Body.Scope), Until: until, Note: in.Body.Note})
	})
	handle(api, "POST", "/approvals/{name}/deny", "deny", tag, "Say no", func(ctx context.Context, in *namedBody[DenyInput]) (ApprovalAnswered, error) {
		return p.answer(ctx, in.Caller, registry.Answer{Approval: in.Name, Note: in.Body.Note, Kill: in.Body.Kill})
	})
}

func (p *Plane) answer(ctx context.Context, who Caller, w registry.Answer) (ApprovalAnswered, error) {
	by := who.actor()
	as, err := p.approver(ctx, &who, w.Approval)
	if err != nil {
		return ApprovalAnswered{}, err
	}
	a, at, err := p.registry.Answer(ctx, as, by.Source, w)
	var stale *registry.Stale
	if errors.As(err, &stale) {
		return ApprovalAnswered{}, &Problem{Type: "urn:lanyard:sign-in-again", Title: http.StatusText(http.StatusForbidden), Status: http.StatusForbidden, Detail: capital(stale.Error()) + "."}
	}
	var no *registry.Refusal
	if errors.As(err, &no) {
		return ApprovalAnswered{}, refusal(http.StatusForbidden, no.Text)
	}
	if err != nil {
		return ApprovalAnswered{}, err
	}
	p.stir()
	return ApprovalAnswered{p.approvalView(a), p.receipt(ctx, at, who.patience)}, nil
}

// decidesAbout reports whether the caller may say yes to a question, and so sees what it is about.
func decidesAbout(tx *store.Tx, c *Caller, a store.Approval) (bool, error) {
	v := c.visitor
	if v == nil {
		_, own := c.self()
		return !own && asksOperators(a), nil
	}
	if asksOperators(a) && operates(v) {
		return true, nil
	}
	if v.Owner == "" {
		return false, nil
	}
	mine, err := registry.MayAnswer(tx, a, v.Owner)
	return len(mine) > 0, err
}

// operates reports whether a person may answer where a policy names operators.
func operates(v *registry.Visitor) bool {
	return slices.ContainsFunc(v.Roles, func(r identity.Role) bool {
		return r == identity.RoleAdmin || r == identity.RoleSecurity || r == identity.RoleOperator
	})
}

// approver says as whom the caller answers a question: a person as themselves when they are asked, else as an operator, if they are one.
func (p *Plane) approver(ctx context.Context, c *Caller, approval string) (as registry.Approver, err error) {
	v := c.visitor
	if v == nil {
		return registry.Approver{Operator: c.actor().Name}, nil
	}
	as.Session, as.Still = c.Session, c.still
	if !operates(v) {
		return as, nil
	}
	return as, p.Store.Read(ctx, func(tx *store.Tx) error {
		a, err := tx.Approval(approval)
		if err != nil {
			return missing(err, "approval", approval)
		}
		mine := []policy.Approve(nil)
		if v.Owner != "" {
			mine, err = registry.MayAnswer(tx, a, v.Owner)
		}
		if len(mine) == 0 {
			name := string(v.Owner)
			if name == "" {
				name = strings.TrimPrefix(v.Person, feed.OperatorPrefix)
			}
			as.Operator = feed.OperatorPrefix + name
		}
		return err
	})
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// waitFor reads how long somebody wants to wait for an answer.
func waitFor(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(s)
	if err != nil || wait < 0 || wait > time.Minute {
		return 0, invalid("wait: write how long to wait for an answer, 60s at most, as in 30s")
	}
	return wait, nil
}

// await looks until what it looks at waits no more, or the time is over; at once, when too many wait.
func await[T any](ctx context.Context, p *Plane, who string, wait time.Duration, look func(*store.Tx) (v T, waits bool, err error)) (T, error) {
	if wait > 0 {
		if p.waiting.enter(who) {
			defer p.waiting.leave(who)
		} else {
			wait = 0
		}
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		more, waits := p.View.ApprovalChange(), false // before the look, so that nothing falls between
		v, err := read(ctx, p, func(tx *store.Tx) (v T, err error) { v, waits, err = look(tx); return v, err })
		if err != nil || !waits || wait == 0 {
			return v, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return v, ctx.Err()
		case <-timeout.C:
			wait = 0
		}
	}
}

func asksOperators(a store.Approval) bool {
	for _, one := range a.Of {
		for _, word := range one.Words {
			if word == policy.ByOperator {
				return true
			}
		}
	}
	return false
}
