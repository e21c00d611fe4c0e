package gateway

import (
	"context"
	"errors"
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
	pins := pinner.Covers(r.call)
	if pin := pinner.Pin(r.call); pin != "" {
		pins = append(pins, pin)
	}
	if len(pins) == 0 {
		return nil
	}
	p := &r.account.pins
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked.IsZero() || !r.start.Before(p.asked.Add(g.Limits.Survey)) {
		if err := g.survey(r, pinner); err != nil {
			return err
		}
	}
	for _, pin := range pins {
		if differs := p.held[pin]; differs != "" {
			return &problem{status: http.StatusForbidden, kind: "changed", detail: heldBack(r.backend.upstream, pin, differs)}
		}
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
	if r.start.Before(r.account.pins.failed) { // it did not answer while this caller waited
		return silent
	}
	if _, err := g.obtain(r, feed.Secret{}); err != nil {
		return err
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
		Transport: &surveyor{r}, Timeout: surveyTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	offers, err := pinner.Survey(ctx, client, strings.TrimSuffix(b.upstream.URL, "/"))
	var p *problem
	if errors.As(err, &p) { // the account is not good
		return p
	}
	if err != nil {
		g.Log.Warn("asking an upstream what it offers", "upstream", r.name, "request", r.id, "error", err)
		r.account.pins.failed = g.Now()
		return silent
	}
	r.account.pins.asked = r.start
	g.offered(r, offers, true)
	return nil
}

// see takes in what a list that was sent to a caller offers. It can only hold back.
func (g *Gateway) see(r *request, offers connector.Offers) {
	r.account.pins.mu.Lock()
	defer r.account.pins.mu.Unlock()
	g.offered(r, offers, false)
}

// offered notes what differs, and puts each new difference on record. With whole, what
// is as it was approved is no longer held back.
func (g *Gateway) offered(r *request, offers connector.Offers, whole bool) {
	p := &r.account.pins
	if p.held == nil {
		p.held = connector.Offers{}
	}
	for _, action := range slices.Sorted(maps.Keys(offers)) {
		differs := offers[action]
		switch {
		case differs == "" && whole:
			delete(p.held, action)
		case differs != "" && p.held[action] != differs:
			p.held[action] = differs
			g.changed(r.backend, action, differs)
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

// surveyor carries our own requests to an upstream, with what r goes with.
type surveyor struct{ r *request }

func (s *surveyor) RoundTrip(in *http.Request) (*http.Response, error) {
	secret := feed.Secret{}
	for {
		now, err := s.r.g.obtain(s.r, secret)
		if err != nil {
			return nil, err
		}
		out := in.Clone(in.Context())
		if in.GetBody != nil {
			if out.Body, err = in.GetBody(); err != nil {
				return nil, err
			}
		}
		setSecret(out.Header, *now)
		res, err := s.r.backend.transport.RoundTrip(out)
		if err == nil && now.Owner != "" && spent(res) {
			res.Body.Close()
			if secret.Value != "" {
				return nil, s.r.refusedBy(nil)
			}
			secret = *now
			continue
		}
		if err == nil {
			res.Body = &bounded{res.Body, maxList}
		}
		return res, err
	}
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
