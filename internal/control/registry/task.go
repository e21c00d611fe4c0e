package registry

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

const (
	maxOpenTasks = 1000 // of one identity
	maxScope     = 50   // parts of a task's scope
	maxPurpose   = 500
	maxWords     = 4000
	taskLife     = 24 * time.Hour // when no end is said
)

// Work is a task as somebody wants it.
type Work struct {
	Identity string           // who works on it: name, kind/name or SPIFFE ID
	On       identity.OwnerID // on whose behalf; the caller has made sure that this person wants it
	Purpose  string
	Words    string         // the user's own
	Scope    []policy.Grant // Upstream and the plain fields
	Budget   policy.Budget
	Until    End // default in 24 hours, and at most the identity's end
}

// Beyond says why a token on a person's behalf opens no task on that person's behalf that needs scope, or "": tokens for the task
// rest on the task, and not on what came before it. Behind are those behind the token, the person last; line is who works on the
// task, with those that started it; limit is the scope of the token, empty for all that is granted.
func Beyond(behind []string, line identity.Chain, limit string, scope []policy.Grant) string {
	if !slices.Equal(behind[:len(behind)-1], line.Texts()) {
		return "A task on somebody's behalf is opened by whoever that person asked; others are behind this token, and a task would leave them out."
	}
	classes := strings.Fields(limit)
	if len(classes) == 0 || !slices.ContainsFunc(policy.Classes, func(c policy.Class) bool { return !slices.Contains(classes, string(c)) }) {
		return ""
	}
	for _, g := range scope {
		if slices.ContainsFunc(g.Actions, func(action string) bool { return !slices.Contains(classes, action) }) {
			return fmt.Sprintf("The token is limited to the scope %q, so a task on somebody's behalf that is opened with it names no other actions than that.", limit)
		}
	}
	return ""
}

// OpenTask opens a task. It names only upstreams on which the identity holds a
// grant; whether that covers what is named is decided call by call.
func (c *Change) OpenTask(w Work) (policy.Task, error) {
	i, err := FindIdentity(c.Tx, w.Identity)
	if err != nil {
		return policy.Task{}, err
	}
	t, err := c.draft(w, i)
	if err != nil {
		return t, err
	}
	t.State = policy.TaskOpen
	return t, errors.Join(c.PutTask(t), c.record("task.open", i.ID.String(), string(i.Owner), "", says(t)))
}

// room says why an identity takes no task, or nil.
func (c *Change) room(i identity.Identity) error {
	if err := i.Usable(c.Now()); err != nil {
		return &Conflict{err.Error() + " and takes no task"}
	}
	n, err := c.CountTasks(i.ID)
	if err == nil && n >= maxOpenTasks {
		err = &Conflict{fmt.Sprintf("%s has %d open tasks; close some first", i.ID.Name(), n)}
	}
	return err
}

// draft is a task as it was wanted, which nobody has opened yet.
func (c *Change) draft(w Work, i identity.Identity) (t policy.Task, err error) {
	if err := c.room(i); err != nil {
		return t, err
	}
	if t.ID, err = c.newID("task_"); err != nil {
		return t, err
	}
	t.Identity, t.On, t.Budget, t.Created, t.By = i.ID, w.On, w.Budget, c.Now(), c.by.Name
	t.Purpose, t.Words = strings.TrimSpace(w.Purpose), strings.TrimSpace(w.Words)
	if t.Until = c.Now().Add(taskLife); !w.Until.Zero() {
		t.Until = w.Until.From(c.Now())
	} else if i.Expires.Before(t.Until) {
		t.Until = i.Expires
	}
	return t, errors.Join(c.checkTask(t, i), c.name(&t, w.Scope, i), checkBudget(t))
}

// says is what the record has of a task.
func says(t policy.Task) map[string]string {
	detail := map[string]string{"task": t.ID, "purpose": t.Purpose, "until": t.Until.Format(time.RFC3339), "upstreams": strings.Join(upstreams(t), " ")}
	for name, value := range map[string]string{"words": clip(t.Words), "on": string(t.On), "budget": budgetWords(t.Budget)} {
		if value != "" {
			detail[name] = value
		}
	}
	return detail
}

func (c *Change) checkTask(t policy.Task, i identity.Identity) error {
	var wrong []error
	bad := func(field, text string) { wrong = append(wrong, &Invalid{"task", field, text}) }
	switch {
	case t.Purpose == "":
		bad("purpose", "say in one sentence what it is for")
	case len(t.Purpose) > maxPurpose || !utf8.ValidString(t.Purpose):
		bad("purpose", fmt.Sprintf("it has %d bytes of UTF-8 at most", maxPurpose))
	}
	if len(t.Words) > maxWords || !utf8.ValidString(t.Words) {
		bad("words", fmt.Sprintf("they have %d bytes of UTF-8 at most", maxWords))
	}
	if !t.Until.After(c.Now()) {
		bad("until", fmt.Sprintf("%s has passed; give a later time", t.Until.Format(time.RFC3339)))
	} else if t.Until.After(i.Expires) {
		bad("until", fmt.Sprintf("%s is after %s itself ends (%s)", t.Until.Format(time.RFC3339), i.ID.Name(), i.Expires.Format(time.DateOnly)))
	}
	if t.On != "" {
		o, err := c.Owner(t.On)
		switch {
		case err != nil:
			wrong = append(wrong, missing(err, "owner", string(t.On)))
		case o.State != identity.OwnerActive:
			bad("on", fmt.Sprintf("%s has left", t.On))
		case o.Team:
			bad("on", fmt.Sprintf("%s is a team; nobody acts for a team", t.On))
		}
	}
	return errors.Join(wrong...)
}

// name fills in what the task names, and how that is counted.
func (c *Change) name(t *policy.Task, scope []policy.Grant, i identity.Identity) error {
	if len(scope) == 0 || len(scope) > maxScope {
		return &Invalid{"task", "scope", fmt.Sprintf("say what it needs, of at least one upstream and in %d parts at most", maxScope)}
	}
	line, err := c.line(i.ID)
	if err != nil {
		return err
	}
	held, err := c.held(line)
	if err != nil {
		return err
	}
	basic := map[string]bool{}
	for n, g := range scope {
		what := fmt.Sprintf("task: scope[%d]", n)
		u, err := c.Upstream(g.Upstream)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err != nil || !slices.Contains(held, g.Upstream) {
			// The same whether there is no such upstream or no grant: what exists is not everybody's to know.
			return &Invalid{what, "upstream", fmt.Sprintf("%s holds no grant on %.80q that is still in force", i.ID.Name(), g.Upstream)}
		}
		d, err := c.r.Describe(u)
		if err != nil {
			return err
		}
		g = policy.Grant{ID: t.ID + "/" + strconv.Itoa(n), Identity: i.ID, Upstream: g.Upstream, Actions: g.Actions, Resources: g.Resources, Where: g.Where, Plain: true, Until: t.Until}
		if g, err = c.compile(g, u); err != nil {
			var bad *Invalid
			if errors.As(err, &bad) {
				bad.What = what
			}
			return err
		}
		t.Scope = append(t.Scope, g)
		if basic[u.Name] {
			continue
		}
		basic[u.Name] = true
		steps := policy.Grant{ID: t.ID + "/" + u.Name, Identity: i.ID, Upstream: u.Name, Plain: true, Until: t.Until}
		for _, a := range d.Actions {
			if a.Basic {
				steps.Actions = append(steps.Actions, a.Name)
			}
		}
		if len(steps.Actions) > 0 { // of no use alone, and without them nothing else is
			if steps, err = c.compile(steps, u); err != nil {
				return err
			}
			t.Scope = append(t.Scope, steps)
		}
		for _, counter := range slices.Sorted(maps.Keys(u.Counters)) {
			if _, limited := t.Budget[counter]; limited {
				t.Counts = append(t.Counts, policy.Count{Name: counter, Upstream: u.Name, Counter: u.Counters[counter]})
			}
		}
	}
	return nil
}

func checkBudget(t policy.Task) error {
	for _, kind := range slices.Sorted(maps.Keys(t.Budget)) {
		counted := kind == policy.Calls || kind == policy.Bytes || slices.ContainsFunc(t.Counts, func(n policy.Count) bool { return n.Name == kind })
		if !counted {
			return &Invalid{"task", "budget", fmt.Sprintf("none of its upstreams counts %.80q; there are calls, bytes, and the counters that an upstream has", kind)}
		}
		if n := t.Budget[kind]; n < 1 || n > policy.MaxBudget {
			return &Invalid{"task", "budget." + kind, fmt.Sprintf("%d is no limit: it is from 1 to %d; leave it out for none", n, int64(policy.MaxBudget))}
		}
	}
	return nil
}

func upstreams(t policy.Task) (names []string) {
	for _, g := range t.Scope {
		if !slices.Contains(names, g.Upstream) {
			names = append(names, g.Upstream)
		}
	}
	return names
}

// clip is what of the user's words the record holds; all of them are with the task.
func clip(s string) string {
	if len(s) > 1000 {
		s = strings.ToValidUTF8(s[:1000], "") + "…"
	}
	return s
}

func budgetWords(b policy.Budget) string {
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(b)) {
		words = append(words, fmt.Sprintf("%s=%d", kind, b[kind]))
	}
	return strings.Join(words, " ")
}

// CloseTask ends a task: its tokens are good for nothing any more. One that is closed stays as it is.
func (c *Change) CloseTask(id, reason string) error {
	t, err := c.Task(id)
	if err != nil {
		return missing(err, "task", id)
	}
	if t.State != policy.TaskOpen && t.State != policy.TaskWaiting {
		return nil
	}
	if t.State == policy.TaskWaiting && c.by.Name == t.Identity.String() { // or it could ask anew as often as it liked
		return &Conflict{fmt.Sprintf("task %s waits for %s, who was told of it; it ends by itself at %s", id, t.On, t.AnswerBy.Format(time.RFC3339))}
	}
	return c.closeTask(t, reason)
}

func (c *Change) closeTask(t policy.Task, reason string) error {
	i, err := c.Identity(t.Identity)
	if err != nil {
		return err
	}
	given, err := c.Given(t.ID)
	if err != nil {
		return err
	}
	detail := map[string]string{"task": t.ID}
	if len(given) > 0 {
		detail["given"] = budgetWords(given.All())
	}
	t.State, t.Closed = policy.TaskClosed, c.Now()
	return errors.Join(c.PutTask(t), c.record("task.close", t.Identity.String(), string(i.Owner), reason, detail))
}

// endTasks closes those whose end has come, as many as others should have to wait for; more may be left.
func (c *Change) endTasks() (more bool, err error) {
	list, err := c.EndingTasks(tidied)
	for _, t := range list {
		reason := "Its end has come."
		if t.State == policy.TaskWaiting {
			reason = fmt.Sprintf("%s did not answer in time.", t.On)
		}
		if err := c.closeTask(t, reason); err != nil {
			return false, err
		}
	}
	return len(list) == tidied, err
}

// DrawBudget takes of a task's budget, for a gateway, at least what it wants of each
// kind, or takes back what it did not use, of what it was given itself. Too little left is a [*feed.Spent].
func (c *Change) DrawBudget(gateway, id string, want policy.Budget) (policy.Budget, error) {
	t, err := c.Task(id)
	if err != nil {
		return nil, missing(err, "task", id)
	}
	given, err := c.Given(id)
	if err != nil {
		return nil, err
	}
	all, mine := given.All(), given[gateway]
	if mine == nil {
		mine = policy.Budget{}
		given[gateway] = mine
	}
	going, got := t.Going(c.Now()), policy.Budget{}
	for _, kind := range slices.Sorted(maps.Keys(want)) {
		limit, limited := t.Budget[kind]
		n := want[kind]
		switch {
		case !limited:
			return nil, &Invalid{"task " + id, "budget", fmt.Sprintf("%.80q is not in it", kind)}
		case n < 0:
			n = -min(-max(n, -policy.MaxBudget), mine[kind])
		case going != nil:
			return nil, &Conflict{going.Error()}
		default:
			if n = policy.Slice(kind, limit-all[kind], n); n < want[kind] {
				return nil, &feed.Spent{Task: id, Kind: kind, Limit: limit, Left: limit - all[kind]}
			}
		}
		if n != 0 {
			got[kind], mine[kind] = n, mine[kind]+n
		}
	}
	if len(got) == 0 {
		return got, nil
	}
	kind := "task.draw"
	if slices.ContainsFunc(slices.Collect(maps.Values(got)), func(n int64) bool { return n < 0 }) {
		kind = "task.return"
	}
	return got, errors.Join(c.PutGiven(id, given), c.record(kind, t.Identity.String(), "", "", map[string]string{"task": id, "gateway": gateway, "budget": budgetWords(got)}))
}
