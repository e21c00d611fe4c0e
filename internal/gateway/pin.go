package gateway

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// pins is what a backend is known to offer, against what was approved. What differs is
// held back from the moment it is seen, in a survey of our own or in a list that a
// caller was sent, until a survey finds it as it was, or a new description is approved.
type pins struct {
	mu     sync.Mutex
	asked  time.Time        // of the last survey that had an answer
	held   connector.Offers // that differ
	failed time.Time        // the last survey had no answer, at that time
}

// surveyTime is how long a survey may take.
const surveyTime = 10 * time.Second

// unchanged refuses a call of what is no longer what was approved. What an upstream
// offers is asked for before the first such call, and again after Limits.Survey; one
// caller asks for all.
func (g *Gateway) unchanged(r *request) error {
	pinner, ok := r.backend.connector.(connector.Pinner)
	if !ok {
		return nil
	}
	pin := pinner.Pin(r.call)
	if pin == "" {
		return nil
	}
	p := &r.backend.pins
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked.IsZero() || !r.start.Before(p.asked.Add(g.Limits.Survey)) {
		if err := g.survey(r, pinner); err != nil {
			return err
		}
	}
	if differs := p.held[pin]; differs != "" {
		return &problem{status: http.StatusForbidden, kind: "changed", detail: heldBack(r.backend.upstream, pin, differs)}
	}
	return nil
}

func heldBack(u *policy.Upstream, action, differs string) string {
	owner := u.OwnerName
	if owner == "" {
		owner = string(u.Owner)
	}
	return fmt.Sprintf("%s of %s is no longer what was approved (%s changed), so it is held back: %s, owner of %s, can look at what it is now (lanyard mcp diff %s) and approve it (lanyard mcp approve %s).",
		action, u.Name, differs, owner, u.Name, u.Name, u.Name)
}

// survey asks the upstream what it offers. The caller holds the pins.
func (g *Gateway) survey(r *request, pinner connector.Pinner) error {
	b := r.backend
	silent := &problem{status: http.StatusBadGateway, kind: "upstream-down", detail: r.name + " did not say what it offers, so whether that is what was approved is not known."}
	if r.start.Before(b.pins.failed) { // it did not answer while this caller waited
		return silent
	}
	secret, err := b.credential(g, r.start, r.chain())
	if err != nil {
		g.Log.Warn("upstream credential", "upstream", r.name, "request", r.id, "error", err)
		return unavailable("The credential for " + r.name + " is not to be had right now.")
	}
	ctx, cancel := context.WithTimeout(context.Background(), surveyTime)
	defer cancel()
	go func() {
		select {
		case <-g.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	client := &http.Client{
		Transport: &surveyor{b.transport, *secret}, Timeout: surveyTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	offers, err := pinner.Survey(ctx, client, strings.TrimSuffix(b.upstream.URL, "/"))
	if err != nil {
		g.Log.Warn("asking an upstream what it offers", "upstream", r.name, "request", r.id, "error", err)
		b.pins.failed = g.Now()
		return silent
	}
	b.pins.asked = r.start
	g.offered(b, offers, true)
	return nil
}

// see takes in what a list that was sent to a caller offers. It can only hold back.
func (g *Gateway) see(b *backend, offers connector.Offers) {
	b.pins.mu.Lock()
	defer b.pins.mu.Unlock()
	g.offered(b, offers, false)
}

// offered notes what differs, and puts each new difference on record. With whole, what
// is as it was approved is no longer held back.
func (g *Gateway) offered(b *backend, offers connector.Offers, whole bool) {
	if b.pins.held == nil {
		b.pins.held = connector.Offers{}
	}
	for _, action := range slices.Sorted(maps.Keys(offers)) {
		differs := offers[action]
		switch {
		case differs == "" && whole:
			delete(b.pins.held, action)
		case differs != "" && b.pins.held[action] != differs:
			b.pins.held[action] = differs
			g.changed(b, action, differs)
		}
	}
}

// changed puts a difference on record.
func (g *Gateway) changed(b *backend, action, differs string) {
	now := g.Now()
	id, err := g.fresh(now)
	if err != nil || !g.recorder.reserve() {
		g.Log.Error("a changed definition could not be recorded", "upstream", b.upstream.Name, "action", action, "error", err)
		return
	}
	g.recorder.queue(ledger.Event{
		ID: "evt_" + id, Time: now.UTC().Truncate(time.Microsecond), Type: "upstream.differ", Outcome: ledger.Refused,
		Owner: string(b.upstream.Owner), Action: action, Upstream: b.upstream.Name, Resource: b.upstream.Name,
		Reason: heldBack(b.upstream, action, differs), Gateway: g.Name, Detail: map[string]string{"differs": differs},
	})
}

// surveyor carries our own requests to an upstream.
type surveyor struct {
	transport *http.Transport
	secret    feed.Secret
}

func (s *surveyor) RoundTrip(in *http.Request) (*http.Response, error) {
	out := in.Clone(in.Context())
	setSecret(out.Header, s.secret)
	res, err := s.transport.RoundTrip(out)
	if err == nil {
		res.Body = &bounded{res.Body, maxList}
	}
	return res, err
}

// bounded is a body that ends with an error when it has more bytes than left.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the reply has more than %d bytes", int64(maxList))
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
