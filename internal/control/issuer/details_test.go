package issuer

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// TestDetails: what is asked for in authorization_details is understood whole or refused.
func TestDetails(t *testing.T) {
	for text, want := range map[string]bool{
		`[{"type":"lanyard_task","task":"task_1"}]`:                                                         true,
		`[{"type":"lanyard_task","purpose":"p","locations":["x"],"actions":["read"],"budget":{"calls":1}}]`: true,
		`[{"type":"lanyard_task","purpose":"p","conditions":{"id":{"one_of":["1"]}},"until":"8h"}]`:         true,
		`{"type":"lanyard_task","task":"task_1"}`:                                                           false,
		`[]`: false,
		`[{"type":"lanyard_task","task":"task_1"},{"type":"lanyard_task","task":"task_2"}]`: false,
		`[{"type":"payment_initiation","task":"task_1"}]`:                                   false,
		`[{"task":"task_1"}]`:       false,
		`[{"type":"lanyard_task"}]`: false,
		`[{"type":"lanyard_task","task":"task_1","privileges":["admin"]}]`:              false,
		`[{"type":"lanyard_task","task":"task_1","Task":"task_2"}]`:                     false,
		`[{"type":"lanyard_task","task":"task_1","task":"task_2"}]`:                     false,
		`[{"type":"lanyard_task","task":"task_1","actions":["read"]}]`:                  false,
		`[{"type":"lanyard_task","task":"task_1","budget":{"calls":9}}]`:                false,
		`[{"type":"lanyard_task","purpose":"p","budget":{"calls":1.5}}]`:                false,
		`[{"type":"lanyard_task","purpose":"p","budget":{"calls":"1"}}]`:                false,
		`[{"type":"lanyard_task","purpose":"p","on":"maya"}]`:                           true,
		`[{"type":"lanyard_task","task":"task_1","on":"maya"}]`:                         false,
		`[{"type":"lanyard_task","task":"task_1"}] x`:                                   false,
		`[{"type":"lanyard_task","purpose":"` + strings.Repeat("p", maxDetails) + `"}]`: false,
		"[{\"type\":\"lanyard_task\",\"purpose\":\"\xff\"}]":                            false,
	} {
		if _, err := parseDetails(text); (err == nil) != want {
			t.Errorf("%.80s: %v", text, err)
		} else if code, _, status := status(err); err != nil && (code != "invalid_authorization_details" || status != 400) {
			t.Errorf("%.80s: %s %d", text, code, status)
		}
	}
}

func FuzzDetails(f *testing.F) {
	f.Add(`[{"type":"lanyard_task","task":"task_1"}]`)
	f.Add(`[{"type":"lanyard_task","on":"maya","purpose":"p","locations":["x"],"actions":["read"]}]`)
	f.Add(`[{"type":"lanyard_task","purpose":"p","locations":["x"],"actions":["read"],"conditions":{"a":{"min":1}},"budget":{"calls":1},"until":"8h"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDetails(text)
		if err == nil && (d.Type != "lanyard_task" || (d.Task == "") == (d.Purpose == "")) {
			t.Errorf("%q gave %+v", text, d)
		}
	})
}

// TestTaskOfToken: a token for a task says so in both ways, ends with it, and is for whom the task is for.
func TestTaskOfToken(t *testing.T) {
	o := newOffice(t)
	put := func(change func(*policy.Task)) {
		k := policy.Task{ID: "task_1", Identity: bot, Purpose: "p", Scope: []policy.Grant{{Upstream: "mail"}}, State: policy.TaskOpen, Until: o.now.Add(time.Minute)}
		change(&k)
		if err := o.View.Apply(feed.Change{Task: &k}); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(resource string) answer {
		form := o.form(o.assertion(o.key, nil))
		form.Set("authorization_details", `[{"type":"lanyard_task","task":"task_1"}]`)
		form.Set("resource", resource)
		return o.post(t, "/oauth/token", form, "DPoP", o.proof(o.nonces.Make(o.now)))
	}
	put(func(*policy.Task) {})
	a := ask(mail)
	if a.status != 200 || a.body["expires_in"] != 60.0 || !strings.Contains(toJSON(t, a.body["authorization_details"]), `"task":"task_1"`) {
		t.Fatal(a)
	}
	c, err := o.Ring.Verifier().Verify(a.body["access_token"].(string), o.URL, mail, o.now)
	if err != nil || c.Task != "task_1" || len(c.Chain) != 1 || o.events[len(o.events)-1].Detail["task"] != "task_1" {
		t.Fatal(c, err, o.events[len(o.events)-1])
	}
	put(func(k *policy.Task) { k.On = "maya" })
	a = ask(mail)
	if a.status != 200 {
		t.Fatal(a)
	}
	if c, err := o.Ring.Verifier().Verify(a.body["access_token"].(string), o.URL, mail, o.now); err != nil || c.Chain.Root() != identity.MustID("spiffe://lanyard.local/person/maya") || c.Actor() != bot {
		t.Error(c, err)
	}
	other := identity.MustID("spiffe://lanyard.local/agent/other")
	for name, c := range map[string]struct {
		change   func(*policy.Task)
		resource string
	}{
		"of another identity":       {func(k *policy.Task) { k.Identity = other }, mail},
		"for nothing there":         {func(k *policy.Task) { k.Scope[0].Upstream = "drive" }, mail},
		"ended":                     {func(k *policy.Task) { k.Until = o.now }, mail},
		"closed":                    {func(k *policy.Task) { k.State, k.Closed = policy.TaskClosed, o.now }, mail},
		"on behalf of nobody there": {func(k *policy.Task) { k.On = "nobody" }, mail},
		"for the control plane":     {func(k *policy.Task) {}, o.URL},
	} {
		put(c.change)
		if a := ask(c.resource); a.status != 400 || a.body["error"] != "invalid_authorization_details" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if err := o.View.Apply(feed.Change{Identity: &identity.Identity{ID: bot, Owner: "maya", Purpose: "p", State: identity.Active, Environment: "production", Expires: o.now.Add(time.Hour), Generation: 1, Tasks: identity.TasksRequired}}); err != nil {
		t.Fatal(err)
	}
	put(func(*policy.Task) {})
	form := o.form(o.assertion(o.key, nil))
	if a := o.post(t, "/oauth/token", form, "DPoP", o.proof(o.nonces.Make(o.now))); a.status != 400 || a.body["error"] != "invalid_authorization_details" {
		t.Errorf("for no task, by one that acts under tasks alone: %+v", a)
	}
	if a := ask(mail); a.status != 200 {
		t.Error(a)
	}
	form = o.form(o.assertion(o.key, nil))
	form.Set("resource", o.URL)
	if a := o.post(t, "/oauth/token", form, "DPoP", o.proof(o.nonces.Make(o.now))); a.status != 200 {
		t.Errorf("to open one: %+v", a)
	}
}

func toJSON(t *testing.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
