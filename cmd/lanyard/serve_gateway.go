package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sys/unix"

	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/control/seal"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/gateway"
	"github.com/lanyard-dev/lanyard/internal/journal"
)

// member is a gateway's place in the fleet, and the file that keeps it.
type member struct {
	path string
	lock *os.File   // of the folder: no other process uses it while this is open
	mu   sync.Mutex // held while it changes
	now  atomic.Pointer[feed.Member]
}

func (m *member) current() *feed.Member { return m.now.Load() }

// put keeps next on disk, and then uses it: what the control plane takes for the current one must not be lost.
func (m *member) put(next *feed.Member) error {
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := journal.Put(m.path, b); err != nil {
		return fmt.Errorf("keeping the gateway's certificate: %w", err)
	}
	m.now.Store(next)
	return nil
}

// trust takes the authorities that the control plane says there are.
func (m *member) trust(ders [][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := *m.current()
	if slices.EqualFunc(next.Trust, ders, slices.Equal) {
		return nil
	}
	next.Trust = ders
	if err := next.Check(); err != nil {
		return err
	}
	return m.put(&next)
}

// openMember reads the gateway's place from its folder, or joins with the token.
func (s *server) openMember(ctx context.Context) (*member, error) {
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(s.data, "gateway.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		return nil, fmt.Errorf("another gateway uses the folder %s (%w)", s.data, err)
	}
	m := &member{path: filepath.Join(s.data, "gateway.json"), lock: lock}
	b, err := os.ReadFile(m.path)
	var kept feed.Member
	switch {
	case err == nil:
		if json.Unmarshal(b, &kept) != nil || kept.Check() != nil {
			return nil, fmt.Errorf("%s is damaged; move it away and join again: lanyard gateway token NAME --replace", m.path)
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	case s.fleet.joinToken == "" && s.fleet.attest == "":
		return nil, fmt.Errorf("this gateway has not joined yet: lanyard gateway token NAME, where the control plane is, prints what to start it with in LANYARD_JOIN_TOKEN")
	}
	name, join, err := s.joining()
	if err != nil {
		return nil, err
	}
	if join == nil {
		m.now.Store(&kept)
		return m, nil
	}
	if kept.Name == name && s.good(ctx, &kept) {
		s.log.Info("this gateway has joined already, and need not do so again", "gateway", kept.Name)
		m.now.Store(&kept)
		return m, nil
	}
	joined, err := join(ctx)
	if err != nil {
		return nil, err
	}
	s.log.Info("joined", "gateway", joined.Name)
	return m, m.put(joined)
}

// joining is by which name the gateway joins, and how; nil: it does not.
func (s *server) joining() (name string, join func(context.Context) (*feed.Member, error), err error) {
	switch f := s.fleet; {
	case f.attest != "":
		return f.name, func(ctx context.Context) (*feed.Member, error) {
			b, err := os.ReadFile(f.attest)
			if err != nil {
				return nil, fmt.Errorf("--attested-by: %w", err)
			}
			return feed.JoinAttested(ctx, f.controls, f.authority, f.name, strings.TrimSpace(string(b)), time.Now, rand.Reader)
		}, nil
	case f.joinToken != "":
		t, err := feed.ParseJoinToken(f.joinToken)
		if err != nil {
			return "", nil, exit{exitUsage, err}
		}
		return t.Name, func(ctx context.Context) (*feed.Member, error) {
			return feed.Join(ctx, f.controls, t, time.Now, rand.Reader)
		}, nil
	}
	return "", nil, nil
}

// good asks whether the control plane still takes a certificate that was kept. Where it cannot be asked, it may.
func (s *server) good(ctx context.Context, kept *feed.Member) bool {
	c, err := feed.NewClient(s.fleet.controls, feed.MemberTLS(func() *feed.Member { return kept }, time.Now))
	if err != nil {
		return true
	}
	defer c.Forget()
	_, err = c.Ack(ctx, feed.Cursor{}) // of no history: whoever may ask is told so
	return !errors.Is(err, feed.ErrEvicted) && !errors.Is(err, feed.ErrCertificate) && time.Now().Before(expires(kept))
}

func expires(m *feed.Member) time.Time {
	leaf, err := m.Leaf()
	if err != nil {
		return time.Time{}
	}
	return leaf.NotAfter
}

// renew keeps the gateway's certificate good until ctx ends.
func (s *server) renew(ctx context.Context, m *member, c *feed.Client) {
	const least, most = time.Second, time.Minute
	wait := least
	for {
		pause := max(time.Until(m.current().Due()), wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(pause, time.Minute)): // now and then it is looked at the clock, which may have been set
		}
		if time.Now().Before(m.current().Due()) {
			continue
		}
		next, err := c.Rotate(ctx, m.current(), rand.Reader)
		if err == nil {
			m.mu.Lock()
			err = m.put(next)
			m.mu.Unlock()
		}
		if err != nil {
			hint := "it is tried again"
			if !time.Now().Before(expires(m.current())) {
				hint = "it has ended: this gateway has to join again, with what lanyard gateway token " + m.current().Name + " --replace prints"
			}
			s.log.Warn("renewing the gateway's certificate", "error", err, "ends", expires(m.current()), "what", hint)
			wait = min(2*wait, most)
			continue
		}
		wait = least
		c.Forget()
		s.log.Info("the gateway's certificate was renewed", "ends", expires(next))
	}
}

// spoolSize bounds the events that wait on disk for the control plane.
const spoolSize = 256 << 20

// gatewayBox seals what a gateway keeps, with a key file in its folder.
func (s *server) gatewayBox(ctx context.Context) (*seal.Box, error) {
	path := filepath.Join(s.data, "seal.key")
	box, err := seal.Open(path)
	if errors.Is(err, seal.ErrMissing) {
		box, err = seal.Create(path)
	}
	if err != nil {
		return nil, err
	}
	own, err := box.Begin(ctx, true, time.Now()) // the file's key itself: there is no store for others
	if err == nil {
		box.Apply(own)
	}
	return box, err
}

// kept gives a view its lease, and both what is on disk of them.
func (s *server) kept(name string, sealer journal.Sealer) (*feed.View, error) {
	view := feed.NewView()
	view.Lease = feed.NewLease(feed.BootClock)
	boot, err := feed.BootID()
	if err != nil {
		s.log.Warn("after a restart this gateway serves only once it has heard from its control plane", "error", err)
	}
	if view.Keep, err = feed.NewKeep(filepath.Join(s.data, "view"), name, boot, sealer); err != nil {
		return nil, err
	}
	if err := view.Keep.Load(view); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("the view on disk is of no use; it is taken anew from the control plane", "error", err)
	}
	return view, nil
}

// runGateway is lanyard serve --role gateway.
func (s *server) runGateway(ctx context.Context) (err error) {
	m, err := s.openMember(ctx)
	if err != nil {
		return err
	}
	defer m.lock.Close() // until then it is referred to: the file would be closed with it
	me := m.current()
	client, err := feed.NewClient(s.fleet.controls, feed.MemberTLS(m.current, time.Now))
	if err != nil {
		return err
	}
	client.OnTrust = m.trust
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	box, err := s.gatewayBox(ctx)
	if err != nil {
		return err
	}
	sealer := journal.Sealer{Seal: box.Seal, Unseal: box.Unseal}
	view, err := s.kept(me.Name, sealer)
	if err != nil {
		return err
	}
	sessions, err := s.sessionKey(box)
	if err != nil {
		return err
	}
	spool, err := gateway.OpenSpool(filepath.Join(s.data, "spool"), me.Name, spoolSize, sealer)
	if err != nil {
		return err
	}
	spans, err := s.traces(metrics, me.Name)
	if err != nil {
		return err
	}
	g, err := gateway.New(gateway.Config{Name: me.Name, URL: me.URL, Issuer: me.Issuer, Domain: s.gatewayDomain, Source: client, Desk: client, View: view, Spool: spool,
		Families: families(), Now: time.Now, Rand: rand.Reader, Log: s.log, Metrics: metrics, SessionKey: sessions, Trace: spans})
	if err != nil {
		return err
	}
	config, err := s.pair()
	if err != nil {
		return err
	}
	if s.controlL, err = net.Listen("tcp", s.listen); err != nil {
		return fmt.Errorf("%w; is something else there? --listen takes another address for health and metrics", err)
	}
	if s.gatewayL, err = net.Listen("tcp", s.gatewayListen); err != nil {
		return fmt.Errorf("%w; is something else there? --gateway-listen takes another address", err)
	}
	if err := s.operate.open(); err != nil {
		return err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go feed.Follow(background, client, view, func(err error) { s.log.Warn("the view fell behind", "error", err) })
	go s.renew(background, m, client)
	var draining atomic.Bool
	ready := func() error {
		if draining.Load() {
			return control.ErrDraining
		}
		return g.Ready()
	}
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_ready", Help: "1 when requests are served."}, func() float64 {
		if ready() != nil {
			return 0
		}
		return 1
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_draining", Help: "1 from the signal to stop on."}, func() float64 {
		if draining.Load() {
			return 1
		}
		return 0
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_gateway_certificate_expires", Help: "When the gateway's certificate ends, in seconds since 1970."}, func() float64 {
		return float64(expires(m.current()).Unix())
	}))
	front := g.Server()
	front.Handler = closing(draining.Load, front.Handler)
	probes := control.Health(ready, metrics)
	all := servings{front: []serving{{front, s.front(config)}}, last: []serving{{s.plain(probes), secured(s.controlL, config)}, {s.plain(probes), s.healthL}}}
	err = s.until(ctx, all, func() { draining.Store(true) }, func() {}, "version", version, "role", s.fleet.role, "gateway", me.Name, "url", me.URL, "control", s.fleet.controls, "data", s.data)
	err = errors.Join(err, g.Close())
	flush(spans)
	return err
}
