package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"

	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/gateway"
)

// member is a gateway's place in the fleet, and the file that keeps it.
type member struct {
	path string
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
	f, err := os.OpenFile(m.path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keeping the gateway's certificate: %w", err)
	}
	if err := os.Rename(m.path+".new", m.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(m.path))
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return err
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
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) // until the process ends
	}
	if err != nil {
		return nil, fmt.Errorf("another gateway uses the folder %s (%w)", s.data, err)
	}
	m := &member{path: filepath.Join(s.data, "gateway.json")}
	b, err := os.ReadFile(m.path)
	var kept feed.Member
	switch {
	case err == nil:
		if json.Unmarshal(b, &kept) != nil || kept.Check() != nil {
			return nil, fmt.Errorf("%s is damaged; move it away and join again: lanyard gateway token NAME --replace", m.path)
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	case s.fleet.joinToken == "":
		return nil, fmt.Errorf("this gateway has not joined yet: lanyard gateway token NAME, where the control plane is, prints what to start it with in LANYARD_JOIN_TOKEN")
	}
	if s.fleet.joinToken == "" {
		m.now.Store(&kept)
		return m, nil
	}
	t, err := feed.ParseJoinToken(s.fleet.joinToken)
	if err != nil {
		return nil, exit{exitUsage, err}
	}
	if kept.Name == t.Name && s.good(ctx, &kept) {
		s.log.Info("this gateway has joined already; the join token is not used", "gateway", kept.Name)
		m.now.Store(&kept)
		return m, nil
	}
	joined, err := feed.Join(ctx, s.fleet.controls, t, time.Now, rand.Reader)
	if err != nil {
		return nil, err
	}
	s.log.Info("joined", "gateway", joined.Name)
	return m, m.put(joined)
}

// good asks whether the control plane still takes a certificate that was kept. Where it cannot be asked, it may.
func (s *server) good(ctx context.Context, kept *feed.Member) bool {
	c, err := feed.NewClient(s.fleet.controls, feed.MemberTLS(func() *feed.Member { return kept }, time.Now))
	if err != nil {
		return true
	}
	defer c.Forget()
	err = c.Ack(ctx, feed.Cursor{}) // of no history: whoever may ask is told so
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

// runGateway is lanyard serve --role gateway.
func (s *server) runGateway(ctx context.Context) (err error) {
	m, err := s.openMember(ctx)
	if err != nil {
		return err
	}
	me := m.current()
	client, err := feed.NewClient(s.fleet.controls, feed.MemberTLS(m.current, time.Now))
	if err != nil {
		return err
	}
	client.OnTrust = m.trust
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	view := feed.NewView()
	g, err := gateway.New(gateway.Config{Name: me.Name, URL: me.URL, Issuer: me.Issuer, Domain: s.gatewayDomain, Source: client, Desk: client, View: view,
		Families: families(), Now: time.Now, Rand: rand.Reader, Log: s.log, Metrics: metrics})
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
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go feed.Follow(background, client, view, func(err error) { s.log.Warn("the view fell behind", "error", err) })
	go s.renew(background, m, client)
	ready := func() error {
		if ctx.Err() != nil {
			return errors.New("it is stopping")
		}
		return view.Live(time.Now())
	}
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_ready", Help: "1 when requests are served."}, func() float64 {
		if ready() != nil {
			return 0
		}
		return 1
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_gateway_certificate_expires", Help: "When the gateway's certificate ends, in seconds since 1970."}, func() float64 {
		return float64(expires(m.current()).Unix())
	}))
	front, gatewayL := g.Server(), gateway.Strict(s.gatewayL)
	healthS, healthL := s.plain(health(ready, metrics)), s.controlL
	if config != nil {
		gatewayL, healthL = tls.NewListener(s.gatewayL, config), tls.NewListener(s.controlL, config.Clone())
	}
	s.log.Info("lanyard is ready", "version", version, "role", s.fleet.role, "gateway", me.Name, "url", me.URL, "control", s.fleet.controls, "data", s.data)
	return s.until(ctx, g, nil, serving{front, gatewayL}, serving{healthS, healthL})
}

// health serves /healthz, /readyz and /metrics of a gateway.
func health(ready func() error, metrics *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, "not ready: the view is not complete, or it is stopping", http.StatusServiceUnavailable) // why, is for the log
			return
		}
		io.WriteString(w, "ready\n")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// serving is a server and where it listens.
type serving struct {
	s *http.Server
	l net.Listener
}

func (s *server) plain(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
}

// until serves until ctx ends, then lets what runs end by itself for a while, in the order of all. g is nil where there is no gateway; stopping is called first.
func (s *server) until(ctx context.Context, g *gateway.Gateway, stopping func(), all ...serving) (err error) {
	failed := make(chan error, len(all))
	for _, l := range all {
		go func() {
			if err := l.s.Serve(l.l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.log.Info("lanyard is stopping")
	if stopping != nil {
		stopping()
	}
	quiet, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, l := range all {
		if l.s.Shutdown(quiet) != nil {
			l.s.Close()
		}
	}
	if g == nil {
		return err
	}
	return errors.Join(err, g.Close())
}
