package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestApproveHandedOver: what was agreed to for one owner is not for the next, of the identity or of the upstream.
func TestApproveHandedOver(t *testing.T) {
	w, p, n := counter(t)
	w.apply(feed.Change{Owner: &identity.Owner{ID: "ben", Name: "Ben Ode", State: identity.OwnerActive}})
	raw := w.mint(w.claims("bot"))
	w.post(raw, "/mail/send", "{}")
	p.say(t, func(a *feed.Approval) { a.State, a.Key = feed.Standing, p.last.Keys.Resource })
	if status, _, _ := w.post(raw, "/mail/send", "{}"); status != 200 {
		t.Fatal(status)
	}
	bot, _ := w.view.Subject(id("bot"))
	theirs := bot.Identity
	theirs.Owner = "ben"
	w.apply(feed.Change{Identity: &theirs})
	if status, d, _ := w.post(raw, "/mail/send", "{}"); status != 403 || d.Approval == "" {
		t.Errorf("of an identity that was handed over: %d %+v", status, d)
	}
	w.apply(feed.Change{Identity: &bot.Identity})
	if status, _, _ := w.post(raw, "/mail/send", "{}"); status != 200 {
		t.Errorf("and back: %d", status)
	}
	u, _ := w.view.Upstream("mail")
	other := *u
	other.Owner = "ben"
	w.apply(feed.Change{Upstream: &other})
	if status, d, _ := w.post(raw, "/mail/send", "{}"); status != 403 || d.Approval == "" || n.Load() != 2 {
		t.Errorf("at an upstream that was: %d %+v", status, d)
	}
}

// TestApproveMoved: what was held for people goes nowhere, and uses nothing up, when its upstream was moved meanwhile.
func TestApproveMoved(t *testing.T) {
	w, p, n := counter(t)
	raw := w.mint(w.claims("bot"))
	answered := make(chan refusalOf, 1)
	go func() {
		_, d, _ := w.post(raw, "/mail/send", "{}", "Prefer", "wait=30")
		answered <- d
	}()
	eventually(t, "asked", func() bool { return p.count() == 1 && len(w.g.holds) == 1 })
	u, _ := w.view.Upstream("mail")
	moved := *u
	moved.URL = "http://127.0.0.1:1/elsewhere"
	w.apply(feed.Change{Upstream: &moved})
	a := p.say(t, yes)
	if d := <-answered; !strings.Contains(d.Detail, "was changed in the midst") || n.Load() != 0 {
		t.Errorf("%+v, %d came through", d, n.Load())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.State != feed.Approved {
		t.Errorf("the approval is %s", a.State)
	}
}

// TestApproverLeft: what runs because of a yes that stands is cut when who said it leaves.
func TestApproverLeft(t *testing.T) {
	p := &people{}
	w := newWorld(t, http.HandlerFunc(ticking), func(c *Config) { p.view, c.Desk = c.View, p })
	w.apply(feed.Change{Owner: &identity.Owner{ID: "kim", Name: "Kim Sato", State: identity.OwnerActive}})
	w.apply(feed.Change{Guardrail: &policy.Guardrail{ID: "asks", Cedar: `@approve("kim") forbid(principal, action, resource);`}})
	raw := w.mint(w.claims("bot"))
	res, err := http.DefaultClient.Do(w.request("GET", "/mail/x", raw, nil))
	if err != nil || res.StatusCode != 403 {
		t.Fatal(res, err)
	}
	res.Body.Close()
	p.say(t, func(a *feed.Approval) {
		a.State, a.Key, a.By = feed.Standing, p.last.Keys.Resource, []identity.OwnerID{"kim"}
	})
	res, err = http.DefaultClient.Do(w.request("GET", "/mail/x", raw, nil))
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	w.apply(feed.Change{Owner: &identity.Owner{ID: "kim", Name: "Kim Sato", State: identity.OwnerGone}})
	if cutShort(t, res.Body) == nil {
		t.Error("the stream ended as if it were whole")
	}
}
