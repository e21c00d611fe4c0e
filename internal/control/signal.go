package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// This file tells resource servers elsewhere what ended: it is a transmitter of the Shared Signals Framework 1.0
// that pushes (RFC 8935) events of CAEP 1.0 as signed tokens (RFC 8417), each until it was taken.

const (
	caep         = "https://schemas.openid.net/secevent/caep/event-type/"
	verification = "https://schemas.openid.net/secevent/ssf/event-type/verification"

	pushTime  = 10 * time.Second
	pushes    = 16                 // of one signal, at one time
	pushUntil = 7 * 24 * time.Hour // after that a receiver is not told any more
)

// subject is who or what an event is about (RFC 9493).
type subject struct {
	Format  string `json:"format"` // iss_sub or opaque
	Issuer  string `json:"iss,omitempty"`
	Subject string `json:"sub,omitempty"`
	ID      string `json:"id,omitempty"`
}

// set is the claims of a security event token (RFC 8417 section 2.2). There is one event in each.
type set struct {
	Issuer   string         `json:"iss"`
	ID       string         `json:"jti"`
	Issued   int64          `json:"iat"`
	Audience string         `json:"aud"`
	Cause    string         `json:"txn,omitempty"`
	Subject  subject        `json:"sub_id"`
	Events   map[string]any `json:"events"`
}

// caepEvent is what an event says (CAEP sections 2 and 3).
type caepEvent struct {
	Time   int64             `json:"event_timestamp"`
	By     string            `json:"initiating_entity"`
	Why    map[string]string `json:"reason_admin"`
	Type   string            `json:"credential_type,omitempty"`
	Change string            `json:"change_type,omitempty"`
	Name   string            `json:"friendly_name,omitempty"`
	Claims map[string]any    `json:"claims,omitempty"`
}

// sets are the events of a signal for a receiver. The same note makes the same ids each time, by which what
// comes twice is known.
func (p *Plane) sets(note string, s registry.Signal, r identity.Receiver) (list []set) {
	e := caepEvent{Time: s.Time.Unix(), By: s.By, Why: map[string]string{"en": s.Why}, Change: s.Change, Name: s.Credential, Type: string(s.Kind)}
	if s.Kind == identity.Certificate {
		e.Type = "x509"
	}
	if s.Grants {
		aud := make([]string, 0, len(s.Upstreams))
		for _, u := range s.Upstreams {
			aud = append(aud, p.GatewayURL+"/"+u)
		}
		e.Claims = map[string]any{"aud": aud}
	}
	if s.Owner != "" {
		e.Claims = map[string]any{"owner": s.Owner}
	}
	add := func(about subject) {
		list = append(list, set{Issuer: p.URL, ID: fmt.Sprintf("%s.%d", note, len(list)), Audience: r.Audience, Cause: s.Cause, Subject: about, Events: map[string]any{caep + s.Event: e}})
	}
	for _, id := range s.Identities {
		add(subject{Format: "iss_sub", Issuer: p.URL, Subject: id.String()})
	}
	switch {
	case s.Token != "":
		add(subject{Format: "opaque", ID: s.Token})
	case s.Task != "":
		add(subject{Format: "opaque", ID: s.Task})
	case s.Upstream != "":
		add(subject{Format: "opaque", ID: p.GatewayURL + "/" + s.Upstream})
	}
	return list
}

// tellReceivers tells every receiver what is in the outbox for it, each at its own pace, until ctx ends.
func (p *Plane) tellReceivers(ctx context.Context) {
	running := map[string]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	for ctx.Err() == nil {
		noted, changed := p.Store.NextNote(), p.View.Changed() // before the look, so that nothing falls between
		var list []identity.Receiver
		err := p.Store.Read(ctx, func(tx *store.Tx) (err error) { list, err = tx.Receivers(); return err })
		there := map[string]bool{}
		for _, r := range list {
			if there[r.Name] = true; running[r.Name] == nil {
				its, stop := context.WithCancel(ctx)
				running[r.Name] = stop
				all.Go(func() { p.tellReceiver(its, r.Name) })
			}
		}
		for name, stop := range running {
			if err == nil && !there[name] {
				stop()
				delete(running, name)
			}
		}
		if err != nil && ctx.Err() == nil {
			p.Log.Warn("looking for receivers", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-noted:
		case <-changed: // a receiver is of no concern before there is something to tell it
		case <-time.After(time.Minute):
		}
	}
	for _, stop := range running {
		stop()
	}
}

func (p *Plane) tellReceiver(ctx context.Context, name string) {
	var to *pushing
	// What takes something away comes through the feed, whichever node wrote it; what it left in the outbox is there by then.
	p.tellThrough(ctx, store.ReceiverDoor(name), p.View.Changed, func(ctx context.Context, n store.Note) (over bool, err error) {
		var s registry.Signal
		now, gone := p.Now(), false
		err = p.Store.Read(ctx, func(tx *store.Tx) error {
			to, err = p.receiver(tx, name, to)
			if errors.Is(err, store.ErrNotFound) {
				gone = true // and its notes with it
				return nil
			}
			return errors.Join(err, tx.Signal(n.Approval, &s))
		})
		if err != nil || gone {
			return gone, err
		}
		why := ""
		if err := p.push(ctx, to, p.sets(n.ID, s, to.Receiver)); err != nil {
			if now.Sub(n.Made) < pushUntil {
				return false, err
			}
			why = "It did not take this for a week."
		}
		_, err = p.registry.Do(ctx, registry.Self, func(c *registry.Change) error { return c.Signalled(name, n, s, why) })
		return err == nil, err
	})
}

// pushing is a receiver, and how it is reached.
type pushing struct {
	identity.Receiver
	authorization string
	http          *http.Client
}

// receiver reads a receiver; old is what was read of it before, whose connections are used on when it is still there.
func (p *Plane) receiver(tx *store.Tx, name string, old *pushing) (*pushing, error) {
	r, err := tx.Receiver(name)
	if err != nil || old != nil && old.Version == r.Version && old.URL == r.URL {
		return old, err
	}
	to := &pushing{Receiver: r}
	if r.Secret {
		secret, err := tx.Secret(store.ReceiverSecret(name))
		if err != nil {
			return old, err
		}
		to.authorization = string(secret)
	}
	to.http = fetch.Guarded(pushTime, r.URL)
	to.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return to, nil
}

// push sends events, and returns nil when the receiver has taken all of them.
func (p *Plane) push(ctx context.Context, to *pushing, list []set) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	turn := make(chan struct{}, pushes)
	for _, e := range list {
		turn <- struct{}{}
		mu.Lock()
		over := failed != nil || ctx.Err() != nil
		mu.Unlock()
		if over { // all of it comes again
			break
		}
		all.Go(func() {
			defer func() { <-turn }()
			if err := p.pushOne(ctx, to, e); err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return errors.Join(failed, ctx.Err())
}

func (p *Plane) pushOne(ctx context.Context, to *pushing, e set) error {
	now := p.Now()
	e.Issued = now.Unix()
	raw, err := p.ring.Signer().Sign(token.TypEvent, e, now)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader([]byte(raw)))
	if err != nil {
		return errors.New("its URL is none")
	}
	r.Header.Set("Content-Type", "application/"+token.TypEvent)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "lanyard")
	if to.authorization != "" {
		r.Header.Set("Authorization", to.authorization)
	}
	res, err := to.http.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address, which may hold a secret
		}
		return fmt.Errorf("it could not be reached: %w", err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // so that the connection can be used again, too
	if res.StatusCode == http.StatusAccepted || res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNoContent {
		return nil // RFC 8935 section 2.2 has 202
	}
	var said struct {
		Code string `json:"err"` // section 2.4
	}
	if json.Unmarshal(body, &said) == nil && identity.ValidName(said.Code) {
		return fmt.Errorf("it answered %d, %s", res.StatusCode, said.Code)
	}
	return fmt.Errorf("it answered %d", res.StatusCode)
}

// verify pushes a verification event (SSF section 8.1.4), and says how long the receiver took to take it.
func (p *Plane) verify(ctx context.Context, name string) (time.Duration, error) {
	to, err := read(ctx, p, func(tx *store.Tx) (*pushing, error) { return p.receiver(tx, name, nil) })
	if err != nil {
		return 0, missing(err, "receiver", name)
	}
	defer to.http.CloseIdleConnections()
	var state [16]byte
	if _, err := io.ReadFull(p.Rand, state[:]); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = p.pushOne(ctx, to, set{Issuer: p.URL, ID: fmt.Sprintf("verify_%x", state), Audience: to.Audience, Subject: subject{Format: "opaque", ID: to.Stream},
		Events: map[string]any{verification: map[string]string{"state": fmt.Sprintf("%x", state)}}})
	if err != nil {
		return 0, refusal(http.StatusBadGateway, "The receiver "+name+" did not take the verification event: "+err.Error()+".")
	}
	return time.Since(begin), nil
}

// ssfConfiguration is SSF section 7.1, and only what works: streams are made by operators, not by receivers.
func (p *Plane) ssfConfiguration(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the reader may be gone
		"spec_version": "1_0", "issuer": p.URL, "jwks_uri": p.URL + "/oauth/jwks",
		"delivery_methods_supported": []string{"urn:ietf:rfc:8935"}, "default_subjects": "ALL",
	})
}
