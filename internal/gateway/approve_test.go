package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// people is a desk in memory. What they say reaches the view as it does from the control plane.
type people struct {
	mu   sync.Mutex
	view *feed.View
	all  []*feed.Approval
	last feed.Question
	fail error
	late bool // another gateway was quicker, and the view has not heard of it
}

func (p *people) Ask(_ context.Context, q feed.Question) (feed.Approval, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return feed.Approval{}, p.fail
	}
	p.last = q
	for _, a := range p.all {
		if a.Hash == q.Hash && a.State.Open() {
			return *a, nil
		}
	}
	a := &feed.Approval{ID: fmt.Sprint("appr_", len(p.all)+1), Hash: q.Hash, Identity: q.Chain.Actor(), State: feed.Waiting, Expires: time.Now().Add(time.Hour), Of: q.Ask.Of, Who: "Maya Lind"}
	p.all = append(p.all, a)
	return *a, p.tell(a)
}

func (p *people) Use(_ context.Context, id, hash, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.late {
		p.late = false
		for _, a := range p.all {
			a.State = feed.Used
		}
		return feed.ErrUsed
	}
	for _, a := range p.all {
		if a.ID == id && a.Hash == hash && a.State == feed.Approved {
			a.State = feed.Used
			return p.tell(a)
		}
	}
	return feed.ErrUsed
}

func (p *people) tell(a *feed.Approval) error {
	b := *a
	return p.view.Apply(feed.Change{Approval: &b})
}

// say changes how the last question stands.
func (p *people) say(t *testing.T, change func(*feed.Approval)) *feed.Approval {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.all[len(p.all)-1]
	a.By = []identity.OwnerID{"maya"}
	change(a)
	if err := p.tell(a); err != nil {
		t.Fatal(err)
	}
	return a
}

func yes(a *feed.Approval) { a.State = feed.Approved }

func (p *people) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}

// counter asks for the yes of the owner before anything is written, and counts what comes through.
func counter(t *testing.T, change ...func(*Config)) (*world, *people, *atomic.Int64) {
	p, n := &people{}, &atomic.Int64{}
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); r.Method != "GET" {
			n.Add(1)
			w.Header().Set("X-Got", string(b))
		}
	}), append(change, func(c *Config) { p.view, c.Desk = c.View, p })...)
	w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `@approve("owner") forbid(principal, action in Lanyard::Action::"write", resource);`}})
	return w, p, n
}

// refusal is what a caller hears of a question.
type refusalOf struct {
	Type, Detail, Approval, Who string
	URL                         string `json:"approve_at"`
	Expires                     time.Time
	Error                       struct{ Message string }
}

func (w *world) post(raw, path, body string, header ...string) (int, refusalOf, http.Header) {
	w.t.Helper()
	r := w.request("POST", path, raw, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, text := w.do(r)
	var d refusalOf
	if res.StatusCode != 200 {
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			w.t.Errorf("%d %s: %v", res.StatusCode, text, err)
		}
	}
	return res.StatusCode, d, res.Header
}

// TestApprove: what needs people's yes waits for it, goes through once with it, and is asked about anew after.
func TestApprove(t *testing.T) {
	w, p, n := counter(t)
	raw := w.mint(w.claims("bot"))
	const body = `{"to":"ben","text":"hello"}`
	status, d, h := w.post(raw, "/mail/send?x=1", body)
	if status != 403 || d.Type != "urn:lanyard:problem:approval-needed" || d.Approval != "appr_1" || d.URL != issuer+"/approvals/appr_1" || d.Who != "Maya Lind" || d.Expires.Before(time.Now()) ||
		!strings.Contains(d.Detail, "guardrail asks asks for the yes of owner") || !strings.Contains(d.Error.Message, d.URL) || h.Get("Www-Authenticate") != "" {
		t.Fatalf("%d %+v %v", status, d, h)
	}
	if again := func() string { _, d, _ := w.post(raw, "/mail/send?x=1", body); return d.Approval }(); again != "appr_1" || p.count() != 1 {
		t.Errorf("asked twice: %s of %d", again, p.count())
	}
	if s := p.last.Shown; s.Target != "/send?x=1" || s.Body != "{\n  \"to\": \"ben\",\n  \"text\": \"hello\"\n}" || s.Size != len(body) || s.Type != "application/json" || p.last.Action != "things.write" || len(p.last.Chain) != 1 {
		t.Errorf("people see %+v", s)
	}
	p.say(t, yes)
	if status, d, h := w.post(raw, "/mail/send?x=1", body); status != 200 || h.Get("X-Got") != body || n.Load() != 1 {
		t.Fatalf("approved: %d %+v", status, d)
	}
	if status, d, _ := w.post(raw, "/mail/send?x=1", body); status != 403 || d.Approval != "appr_2" || n.Load() != 1 {
		t.Errorf("used twice: %d %+v", status, d)
	}
	p.say(t, func(a *feed.Approval) { a.State = feed.Denied })
	if status, d, _ := w.post(raw, "/mail/send?x=1", body); status != 403 || d.Type != "urn:lanyard:problem:approval-denied" || !strings.Contains(d.Detail, "maya denied it") {
		t.Errorf("denied: %d %+v", status, d)
	}
	if res, _ := w.do(w.request("GET", "/mail/x", raw, nil)); res.StatusCode != 200 {
		t.Errorf("what nobody has to approve: %d", res.StatusCode)
	}
	eventually(t, "the approval is on record with what it let pass", func() bool {
		for _, e := range w.plane.recorded() {
			if e.Outcome == ledger.Allowed && strings.Join(e.Policies, " ") == "bot/all asks appr_1" {
				return true
			}
		}
		return false
	})
	if w.plane.intents.Load() != 1 {
		t.Errorf("%d intents, want one, of what went through", w.plane.intents.Load())
	}
}

// TestApproveAnother: whatever is not exactly what was approved is another question; what may differ may.
func TestApproveAnother(t *testing.T) {
	w, p, n := counter(t)
	w.enrol("cat")
	w.apply(feed.Change{Grant: func() *policy.Grant { g := all("bot"); g.ID, g.Upstream = "bot/drive", "drive"; return g }()})
	raw := w.mint(w.claims("bot"))
	drive := w.claims("bot")
	drive.Audience = testScope + "/drive"
	try := func(raw, method, path, body string, header ...string) int {
		r := w.request(method, path, raw, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, _ := w.do(r)
		return res.StatusCode
	}
	if got := try(raw, "POST", "/mail/send", `{"n":1}`); got != 403 {
		t.Fatal(got)
	}
	p.say(t, yes)
	for name, status := range map[string]int{
		"body": try(raw, "POST", "/mail/send", `{"n":2}`), "blanks in the body": try(raw, "POST", "/mail/send", `{"n": 1}`), "empty body": try(raw, "POST", "/mail/send", ``),
		"path": try(raw, "POST", "/mail/send2", `{"n":1}`), "query": try(raw, "POST", "/mail/send?force=1", `{"n":1}`), "method": try(raw, "PUT", "/mail/send", `{"n":1}`),
		"type": try(raw, "POST", "/mail/send", `{"n":1}`, "Content-Type", "text/plain"), "header": try(raw, "POST", "/mail/send", `{"n":1}`, "If-Match", "*"),
		"an API's header": try(raw, "POST", "/mail/send", `{"n":1}`, "X-Delete-All", "1"), "a preference": try(raw, "POST", "/mail/send", `{"n":1}`, "Prefer", "wait=1, handling=lenient"),
		"upstream": try(w.mint(drive), "POST", "/drive/send", `{"n":1}`), "identity": try(w.mint(w.claims("cat")), "POST", "/mail/send", `{"n":1}`),
	} {
		if status != 403 {
			t.Errorf("another %s: %d", name, status)
		}
	}
	if n.Load() != 0 {
		t.Fatalf("%d came through", n.Load())
	}
	if p.count() != 13 {
		t.Errorf("%d questions, want 13", p.count())
	}
	if got := try(w.mint(w.claims("bot")), "POST", "/mail/send", `{"n":1}`, "User-Agent", "other", "X-Request-Id", "2", "Accept", "text/html"); got != 200 || n.Load() != 1 {
		t.Errorf("the same, with another token and by another client: %d", got)
	}
}

// TestApproveOnce: of many at once, one gets through.
func TestApproveOnce(t *testing.T) {
	w, p, n := counter(t)
	raw := w.mint(w.claims("bot"))
	for round := range 5 {
		n.Store(0)
		body := fmt.Sprintf(`{"round":%d}`, round)
		w.post(raw, "/mail/send", body)
		p.say(t, yes)
		var passed atomic.Int64
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				r := w.request("POST", "/mail/send", raw, strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
				if res.StatusCode == 200 {
					passed.Add(1)
				} else if res.StatusCode != 403 {
					t.Error(res.StatusCode)
				}
			})
		}
		all.Wait()
		if passed.Load() != 1 || n.Load() != 1 || p.count() != 2*(round+1) {
			t.Fatalf("%d of 64 passed, %d came through, %d questions", passed.Load(), n.Load(), p.count())
		}
		p.say(t, func(a *feed.Approval) { a.State = feed.Expired })
	}
}

// TestApproveLate: what was used elsewhere a moment ago is asked about anew.
func TestApproveLate(t *testing.T) {
	w, p, n := counter(t)
	raw := w.mint(w.claims("bot"))
	w.post(raw, "/mail/send", "{}")
	p.say(t, yes)
	p.late = true
	if status, d, _ := w.post(raw, "/mail/send", "{}"); status != 403 || d.Approval != "appr_2" || n.Load() != 0 {
		t.Errorf("%d %+v", status, d)
	}
}

// TestApproveRunning: what runs with people's yes runs on while they would be asked no more than they agreed to.
func TestApproveRunning(t *testing.T) {
	for name, c := range map[string]struct {
		rail string
		cut  bool
	}{
		"nothing of it":  {`forbid(principal, action in Lanyard::Action::"delete", resource);`, false},
		"more is asked":  {`@approve("ben") forbid(principal, action in Lanyard::Action::"read", resource);`, true},
		"it is refused":  {`forbid(principal, action in Lanyard::Action::"read", resource);`, true},
		"asked no more":  {"", false},
		"another answer": {`@approve("2 of maya ben") forbid(principal, action in Lanyard::Action::"read", resource);`, true},
	} {
		for _, scope := range []string{"once", "standing", "ended"} {
			p := &people{}
			w := newWorld(t, http.HandlerFunc(ticking), func(c *Config) { p.view, c.Desk = c.View, p })
			w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `@approve("owner") forbid(principal, action in Lanyard::Action::"read", resource);`}})
			raw := w.mint(w.claims("bot"))
			w.do(w.request("GET", "/mail/x", raw, nil))
			stands := p.say(t, func(a *feed.Approval) {
				if a.State = feed.Approved; scope != "once" {
					a.State, a.Key = feed.Standing, p.last.Keys.Resource
				}
			})
			res, err := http.DefaultClient.Do(w.request("GET", "/mail/x", raw, nil))
			if err != nil || res.StatusCode != 200 {
				t.Fatal(name, scope, res.StatusCode, err)
			}
			if scope == "ended" {
				p.mu.Lock()
				stands.State = feed.Expired
				err = p.tell(stands)
				p.mu.Unlock()
				if err != nil || cutShort(t, res.Body) == nil {
					t.Errorf("%s: what stood has ended, and it runs on (%v)", name, err)
				}
				res.Body.Close()
				continue
			}
			if w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "more", Cedar: c.rail}, Removed: c.rail == ""}); c.rail == "" {
				w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks"}, Removed: true})
			}
			if c.cut {
				if cutShort(t, res.Body) == nil {
					t.Errorf("%s, %s: it runs on", name, scope)
				}
			} else if w.g.streams.running() != 1 {
				t.Errorf("%s, %s: it was cut", name, scope)
			}
			res.Body.Close()
		}
	}
}

// TestApproveNoMore: a yes is worth nothing once it has expired, who gave it has left, the policy wants more,
// or who asked was stopped.
func TestApproveNoMore(t *testing.T) {
	for name, end := range map[string]func(*world, *people){
		"expired": func(_ *world, p *people) { p.all[0].Expires = time.Now().Add(-time.Second); _ = p.tell(p.all[0]) },
		"left": func(w *world, _ *people) {
			w.apply(feed.Change{Owner: &identity.Owner{ID: "maya", Name: "Maya Lind", State: identity.OwnerGone}})
		},
		"more": func(w *world, _ *people) {
			w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `@approve("2 of maya ben") forbid(principal, action in Lanyard::Action::"write", resource);`}})
		},
		"another": func(w *world, _ *people) {
			w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "also", Cedar: `@approve("ben") forbid(principal, action in Lanyard::Action::"write", resource);`}})
		},
		"forbidden": func(w *world, _ *people) {
			w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "no", Cedar: `forbid(principal, action in Lanyard::Action::"write", resource);`}})
		},
		"ungranted": func(w *world, _ *people) { w.apply(feed.Change{Grant: all("bot"), Removed: true}) },
		"moved": func(w *world, _ *people) {
			w.apply(feed.Change{Upstream: &policy.Upstream{Name: "mail", URL: w.back.URL + "/elsewhere", Owner: "maya", Environment: "production", Family: "any", Version: 9}})
		},
		"killed": func(w *world, _ *people) {
			w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: ids("bot"), At: time.Now()}})
		},
	} {
		for _, scope := range []string{"once", "standing"} {
			w, p, n := counter(t)
			raw := w.mint(w.claims("bot"))
			w.post(raw, "/mail/send", "{}")
			p.say(t, func(a *feed.Approval) {
				if a.State = feed.Approved; scope == "standing" {
					a.State, a.Key = feed.Standing, p.last.Keys.Resource
				}
			})
			end(w, p)
			if status, d, _ := w.post(raw, "/mail/send", "{}"); status == 200 || n.Load() != 0 {
				t.Errorf("%s, %s: %d %+v", name, scope, status, d)
			}
		}
	}
}

// TestApproveStanding: a lasting yes is for the action on the resource whatever is sent, and no further.
func TestApproveStanding(t *testing.T) {
	w, p, n := counter(t)
	raw := w.mint(w.claims("bot"))
	w.post(raw, "/mail/send", "{}")
	stands := p.say(t, func(a *feed.Approval) { a.State, a.Key = feed.Standing, p.last.Keys.Resource })
	for i := range 3 {
		if status, d, _ := w.post(raw, "/mail/send", fmt.Sprint(i)); status != 200 {
			t.Errorf("%d: %d %+v", i, status, d)
		}
	}
	if status, _, _ := w.post(raw, "/mail/other", "{}"); status != 403 || n.Load() != 3 {
		t.Errorf("another resource: %d", status)
	}
	p.mu.Lock()
	stands.State = feed.Expired
	err := p.tell(stands)
	p.mu.Unlock()
	if status, _, _ := w.post(raw, "/mail/send", "{}"); err != nil || status != 403 {
		t.Errorf("after its end: %d %v", status, err)
	}
}

// TestApproveWait: who waits gets its answer when it is there, no later than it waits, and cannot hold up others.
func TestApproveWait(t *testing.T) {
	w, p, n := counter(t, func(c *Config) { c.Limits.Holds = 1 })
	raw := w.mint(w.claims("bot"))
	answered := make(chan int, 1)
	go func() {
		status, _, _ := w.post(raw, "/mail/send", "{}", "Prefer", "wait=30")
		answered <- status
	}()
	eventually(t, "asked", func() bool { return p.count() == 1 && len(w.g.holds) == 1 })
	if status, d, _ := w.post(raw, "/mail/send", "{}", "Prefer", "wait=30"); status != 403 || d.Approval != "appr_1" {
		t.Errorf("one too many waits: %d %+v", status, d)
	}
	p.say(t, yes)
	if status := <-answered; status != 200 || n.Load() != 1 {
		t.Errorf("who waited: %d", status)
	}
	go func() {
		status, d, _ := w.post(raw, "/mail/send2", "{}", "Prefer", "wait=30")
		if !strings.Contains(d.Detail, "denied") {
			t.Errorf("%+v", d)
		}
		answered <- status
	}()
	eventually(t, "asked", func() bool { return p.count() == 2 && len(w.g.holds) == 1 })
	p.say(t, func(a *feed.Approval) { a.State = feed.Denied })
	if status := <-answered; status != 403 {
		t.Errorf("who was denied while waiting: %d", status)
	}
	if status, _, _ := w.post(raw, "/mail/send3", "{}", "Prefer", "wait=1"); status != 403 || len(w.g.holds) != 0 {
		t.Errorf("whom nobody answered: %d", status)
	}
	go func() {
		status, _, _ := w.post(raw, "/mail/send4", "{}", "Prefer", "wait=30")
		answered <- status
	}()
	eventually(t, "asked", func() bool { return p.count() == 4 && len(w.g.holds) == 1 })
	w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: ids("bot"), At: time.Now()}})
	p.say(t, yes)
	if status := <-answered; status == 200 || n.Load() != 1 {
		t.Errorf("killed while waiting: %d", status)
	}
}

// TestApproveRefused: what nobody can be asked about is refused, with the reason.
func TestApproveRefused(t *testing.T) {
	w, p, n := counter(t)
	raw := w.mint(w.claims("bot"))
	if status, d, _ := w.post(raw, "/mail/send", strings.Repeat("x", maxPut+1)); status != 413 || !strings.Contains(d.Detail, "cannot be approved") {
		t.Errorf("too large: %d %+v", status, d)
	}
	if status, d, _ := w.post(raw, "/mail/send", "xx", "Content-Encoding", "gzip"); status != 400 || !strings.Contains(d.Detail, "compressed") {
		t.Errorf("compressed: %d %+v", status, d)
	}
	p.fail = &feed.NotAsked{Why: "bot has 20 questions waiting."}
	if status, d, _ := w.post(raw, "/mail/send", "{}"); status != 403 || !strings.Contains(d.Detail, "20 questions") || d.Approval != "" {
		t.Errorf("not asked: %d %+v", status, d)
	}
	p.fail = errors.New("secret words")
	if status, d, _ := w.post(raw, "/mail/send", "{}"); status != 503 || strings.Contains(d.Detail, "secret") {
		t.Errorf("no answer from the desk: %d %+v", status, d)
	}
	w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `@approve("owner") @fresh("5m") forbid(principal, action, resource);`}})
	p.fail = nil
	if status, _, h := w.post(raw, "/mail/send", "{}"); status != 403 || !strings.Contains(h.Get("Www-Authenticate"), `error="insufficient_user_authentication"`) || !strings.Contains(h.Get("Www-Authenticate"), `max_age="300"`) {
		t.Errorf("fresh: %d %v", status, h)
	}
	if status, answer := w.raw("GET /mail/ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + raw + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"); status != 403 || !strings.Contains(answer, "WebSocket") {
		t.Errorf("a WebSocket: %d %s", status, answer)
	}
	scoped := w.claims("bot")
	scoped.Scope = "read"
	before := p.count()
	if status, d, _ := w.post(w.mint(scoped), "/mail/send", "{}"); status != 403 || p.count() != before || !strings.Contains(d.Detail, "scope") {
		t.Errorf("out of the token's scope: %d %+v", status, d)
	}
	nobody, _, m := counter(t, func(c *Config) { c.Desk = nil })
	nobody.g.Desk = nil
	if status, d, _ := nobody.post(nobody.mint(nobody.claims("bot")), "/mail/send", "{}"); status != 403 || !strings.Contains(d.Detail, "nobody to ask") {
		t.Errorf("without a desk: %d %+v", status, d)
	}
	if n.Load()+m.Load() != 0 {
		t.Error("something came through")
	}
}

// TestApproveChain: what any link of a chain must have people's yes for, all of it must; and what any may not do, nobody is asked about.
func TestApproveChain(t *testing.T) {
	w, p, n := counter(t)
	w.enrol("parent")
	w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `@approve("ben") forbid(principal == Lanyard::Agent::"` + id("parent").String() + `", action in Lanyard::Action::"write", resource);`}})
	c := w.claims("bot")
	c.Chain = append(c.Chain, identity.Link{ID: id("parent")})
	raw := w.mint(c)
	if status, d, _ := w.post(raw, "/mail/send", "{}"); status != 403 || d.Approval != "appr_1" || len(p.last.Chain) != 2 {
		t.Errorf("%d %+v", status, d)
	}
	if status, _, _ := w.post(w.mint(w.claims("bot")), "/mail/send", "{}"); status != 200 {
		t.Errorf("bot for itself: %d", status)
	}
	p.say(t, yes)
	if status, _, _ := w.post(raw, "/mail/send", "{}"); status != 200 || n.Load() != 2 {
		t.Errorf("approved: %d", status)
	}
	w.apply(feed.Change{Grant: all("parent"), Removed: true})
	if status, d, _ := w.post(raw, "/mail/send", "{}"); status != 403 || d.Approval != "" || p.count() != 1 {
		t.Errorf("the parent may not at all: %d %+v", status, d)
	}
}
