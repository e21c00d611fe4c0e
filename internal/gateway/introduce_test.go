package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// introducer is a control plane that introduces callers.
type introducer struct {
	*plane
	asked  atomic.Int64
	access atomic.Value
	fails  atomic.Bool
	life   time.Duration
}

func (p *introducer) Introduce(_ context.Context, upstream, access string) (feed.Introduction, error) {
	p.access.Store(access)
	if p.fails.Load() {
		return feed.Introduction{}, errors.New("ledger is full")
	}
	n := p.asked.Add(1)
	return feed.Introduction{Token: "introduction-" + upstream + strings.Repeat("!", int(n)), Expires: time.Now().Add(p.life)}, nil
}

// TestTold: an upstream that wants it is told who is behind a request, an agent gets its introduction,
// and neither believes a caller about it.
func TestTold(t *testing.T) {
	var seen atomic.Pointer[http.Header]
	source := &introducer{life: time.Minute}
	w := newWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { h := r.Header.Clone(); seen.Store(&h) }), func(c *Config) {
		source.plane = c.Source.(*plane)
		c.Source = source
	})
	w.apply(feed.Change{Owner: &identity.Owner{ID: "ben", Name: "Ben Ode", State: identity.OwnerActive}})
	mail := policy.Upstream{Name: "mail", URL: w.back.URL, Owner: "maya", Environment: "production", Family: "any", Consent: policy.Consent{Owners: []identity.OwnerID{"*"}}, Version: 2}
	c := w.claims("bot")
	c.Chain = append(c.Chain, identity.Link{ID: identity.MustID("spiffe://lanyard.local/person/ben")})
	raw := w.mint(c)
	send := func(raw string) (int, string, http.Header) {
		t.Helper()
		r := w.request("GET", "/mail/x", raw, nil)
		for _, name := range []string{"Lanyard-Chain", "Lanyard-On-Behalf-Of", "lanyard-anything", "X-Behind"} {
			r.Header.Set(name, `"spiffe://lanyard.local/agent/root"`)
		}
		seen.Store(&http.Header{})
		res, body := w.do(r)
		return res.StatusCode, body, *seen.Load()
	}
	w.applyUpstream(&mail)
	if status, body, h := send(raw); status != 200 || h["Lanyard-Chain"] != nil || h["Lanyard-On-Behalf-Of"] != nil || h["Lanyard-Anything"] != nil || h["X-Behind"] == nil {
		t.Errorf("one that is told nothing: %d %s %v", status, body, h)
	}
	const both = `"spiffe://lanyard.local/agent/bot", "spiffe://lanyard.local/person/ben"`
	mail.ChainHeader, mail.Version = "Lanyard-Chain", 3
	w.applyUpstream(&mail)
	if _, _, h := send(raw); strings.Join(h["Lanyard-Chain"], "|") != both || h["Lanyard-On-Behalf-Of"] != nil {
		t.Errorf("%v", h)
	}
	if _, _, h := send(w.mint(w.claims("bot"))); strings.Join(h["Lanyard-Chain"], "|") != `"spiffe://lanyard.local/agent/bot"` {
		t.Errorf("alone: %v", h)
	}
	other := mail
	other.ChainHeader, other.Version = "X-Behind", 4
	w.applyUpstream(&other)
	if _, _, h := send(raw); strings.Join(h["X-Behind"], "|") != both || h["Lanyard-Chain"] != nil {
		t.Errorf("%v", h)
	}
	agent := mail
	agent.Agent, agent.Version = id("helper"), 5
	w.enrol("helper")
	w.applyUpstream(&agent)
	for range 3 {
		if status, body, h := send(raw); status != 200 || strings.Join(h["Lanyard-On-Behalf-Of"], "|") != "introduction-mail!" || strings.Contains(strings.Join(h["Authorization"], ""), raw) {
			t.Errorf("%d %s %v", status, body, h)
		}
	}
	if source.asked.Load() != 1 || source.access.Load() != raw {
		t.Errorf("asked %d times, with %v", source.asked.Load(), source.access.Load())
	}
	if _, _, h := send(w.mint(w.claims("bot"))); strings.Join(h["Lanyard-On-Behalf-Of"], "|") != "introduction-mail!!" {
		t.Errorf("with another token: %v", h)
	}
	source.life = time.Second // about to end, and the token is not
	again := w.claims("bot")
	for range 2 {
		send(w.mint(again))
	}
	if n := source.asked.Load(); n != 4 {
		t.Errorf("asked %d times", n)
	}
	w.apply(feed.Change{Kill: &feed.Kill{ID: "kill_1", Identities: ids("helper"), At: time.Now()}})
	if status, body, h := send(raw); status != 403 || !strings.Contains(body, "helper, was stopped") || len(h) != 0 {
		t.Errorf("an agent that was killed: %d %s", status, body)
	}
	w.enrol("helper")
	source.fails.Store(true)
	if status, body, h := send(w.mint(w.claims("bot"))); status != 503 || len(h) != 0 {
		t.Errorf("when the control plane cannot: %d %s", status, body)
	}
	source.fails.Store(false)
	// Calls of which nothing could come.
	loop := w.claims("bot")
	loop.Chain = append(loop.Chain, identity.Link{ID: id("helper")})
	if status, body, h := send(w.mint(loop)); status != 403 || !strings.Contains(body, "problem:loop") || len(h) != 0 {
		t.Errorf("a circle: %d %s", status, body)
	}
	long := w.claims("bot")
	for _, name := range []string{"b", "c", "d", "e", "f", "g", "h"} {
		w.enrol(name)
		long.Chain = append(long.Chain, identity.Link{ID: id(name)})
	}
	if status, body, h := send(w.mint(long)); status != 403 || !strings.Contains(body, "problem:loop") || len(h) != 0 {
		t.Errorf("too many: %d %s", status, body)
	}
	eventually(t, "the circle is on record", func() bool {
		for _, e := range w.plane.recorded() {
			if e.Outcome == ledger.Refused && len(e.Chain) == 2 && e.Chain[1] == id("helper").String() {
				return true
			}
		}
		return false
	})
	// A control plane that introduces nobody.
	w = newWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	agent.URL = w.back.URL
	w.enrol("helper")
	w.applyUpstream(&agent)
	if status, _, _ := send(w.mint(w.claims("bot"))); status != 503 {
		t.Error("nobody introduces: ", status)
	}
}
