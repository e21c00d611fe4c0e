// Package gateway enforces. It is an http.Handler that stands between agents and
// the systems they use. Every request passes seven steps, one file each, in the
// order of [Gateway.pass], with no going back; before them stands clean.go, which
// refuses what two parsers could read differently. Each step fills its own
// fields of one request value.
//
// A gateway decides from its own memory, a [feed.View]: no network hop. It asks
// for an upstream's credential once and keeps it until the upstream changes (or, for
// the account of an owner, until its token ends or the account does), and an
// MCP server every few minutes whether its tools are still those that were approved. Its
// events go up in batches; where the decision says so, a durable intent is
// written before anything is sent. Running requests are known by whom they
// serve, so that the cord cuts them.
package gateway

import (
	"context"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/token"
	"github.com/lanyard-dev/lanyard/internal/trace"
)

// Config is what a gateway needs. Name, URL, Issuer, Source, View and Families are required.
type Config struct {
	Name     string             // of this gateway, in events
	URL      string             // public base: http://127.0.0.1:8441; audiences and proofs are built from it
	Issuer   string             // whose tokens are accepted
	Domain   string             // host-based routing: <upstream>.<Domain>; empty for none
	Source   feed.Source        // control plane
	Desk     feed.Desk          // where people are asked; nil: nobody can be
	View     *feed.View         // memory, applied by the caller
	Spool    *Spool             // where events wait while Source cannot record them; nil: in memory alone. Close closes it
	Families []connector.Family // how upstreams describe what they can do
	Now      func() time.Time
	Rand     io.Reader // safe for concurrent use, as crypto/rand.Reader is
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Trace    *trace.Exporter // who is told how long the steps took; nil: nobody
	Limits   Limits

	// SessionKey is what names of upstreams' sessions and of uploads are bound to identities with, 32 bytes.
	// With the same one after a restart, they go on; nil draws one, and they end.
	SessionKey []byte
}

// Limits bounds what a gateway holds and how long it waits. Zero fields get the value in brackets.
type Limits struct {
	Events   int           // events not yet durable, and requests that will make one [16384]
	Tokens   int           // verified tokens remembered [65536]
	Proofs   int           // DPoP proofs remembered [1048576]
	Record   time.Duration // wait for one durable write [5s]
	Upstream time.Duration // wait for an upstream's response header [60s]
	Holds    int           // requests that wait for people's answer at one time [256]
	Memories int           // pieces of work of which it is remembered what was read [1024]
	Known    int           // bytes of what is remembered of all of them [256 MiB]
	Held     int           // bytes of bodies that must be whole, of all requests together [512 MiB]
	Survey   time.Duration // for how long an upstream is believed to offer what it said it does [5m]
	Part     time.Duration // that a part of an upload may take, besides a second for each 16 KiB of it [1m]
	Told     time.Duration // that who is cut off has to read why [50ms]
	Drain    time.Duration // how long Close tries to deliver the events it holds [10s]
}

func (l Limits) filled() Limits {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	orInt := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	orInt(&l.Events, 16384)
	orInt(&l.Tokens, 65536)
	orInt(&l.Proofs, 1<<20)
	orInt(&l.Holds, 256)
	orInt(&l.Memories, 1024)
	orInt(&l.Held, 512<<20)
	orInt(&l.Known, 256<<20)
	or(&l.Record, 5*time.Second)
	or(&l.Upstream, 60*time.Second)
	or(&l.Survey, 5*time.Minute)
	or(&l.Part, time.Minute)
	or(&l.Told, 50*time.Millisecond)
	or(&l.Drain, 10*time.Second)
	return l
}

// Gateway is the boundary.
type Gateway struct {
	Config
	scheme    string // of URL
	domain    string // "." + Domain, or empty
	nonces    *token.Nonces
	sessions  [32]byte    // key under which names of sessions are bound to identities
	uploads   cipher.AEAD // what seals the names of uploads
	replay    *token.Replay
	verified  *verified
	recorder  *recorder
	strangers ledger.Strangers
	streams   streams
	purses    purses
	memories  memories
	held      held
	began     time.Time
	holds     chan struct{} // has a value for each request that waits for people
	metrics   metrics
	buffers   buffers
	requests  sync.Pool
	closed    atomic.Bool
	done      chan struct{} // closed by Close: the recorder drains and ends

	overseen sync.Once // doors, from the first one on

	mu       sync.RWMutex
	backends map[string]*backend
}

var _ http.Handler = (*Gateway)(nil)

// New makes a gateway. It serves nothing until its View is live.
func New(c Config) (*Gateway, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("gateway URL %q: want scheme://host[:port] without a path", c.URL)
	}
	if c.Source == nil || c.View == nil || c.Issuer == "" {
		return nil, errors.New("gateway: Source, View and Issuer are required")
	}
	g := &Gateway{Config: c, scheme: u.Scheme, backends: map[string]*backend{}, done: make(chan struct{})}
	g.Limits = c.Limits.filled()
	g.memories.most, g.memories.bytes, g.began = g.Limits.Memories, g.Limits.Known, time.Now()
	if g.Now != nil {
		g.began = g.Now()
	}
	g.held.most.Store(int64(g.Limits.Held))
	g.holds = make(chan struct{}, g.Limits.Holds)
	if g.Log == nil {
		g.Log = slog.New(slog.DiscardHandler)
	}
	if c.Domain != "" {
		g.domain = "." + strings.ToLower(c.Domain)
	}
	if g.nonces, err = token.NewNonces(c.Rand); err != nil {
		return nil, err
	}
	switch len(c.SessionKey) {
	case len(g.sessions):
		copy(g.sessions[:], c.SessionKey)
	case 0:
		if _, err := io.ReadFull(c.Rand, g.sessions[:]); err != nil {
			return nil, fmt.Errorf("reading randomness: %w", err)
		}
	default:
		return nil, fmt.Errorf("gateway: SessionKey has %d bytes, not %d", len(c.SessionKey), len(g.sessions))
	}
	if g.uploads, err = newUploads(g.sessions); err != nil {
		return nil, err
	}
	g.replay = token.NewReplay(token.ReplayWindow, g.Limits.Proofs)
	g.verified = newVerified(g.Limits.Tokens)
	g.recorder = newRecorder(g)
	if err := g.metrics.register(g); err != nil {
		return nil, err
	}
	g.purses.source, g.purses.patience, g.purses.log = c.Source, g.Limits.Record, g.Log
	g.requests.New = func() any { return newRequest(g) }
	c.View.OnStop(g.stop)
	go g.recorder.run()
	go g.recorder.drain()
	go g.note()
	return g, nil
}

// Server returns an http.Server for the gateway: HTTP/1.1, and HTTP/2 over TLS
// only. Give its plain listener to [Strict] first.
func (g *Gateway) Server() *http.Server {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	return &http.Server{
		Handler: g, Protocols: &p, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(g.Log.Handler(), slog.LevelDebug),
	}
}

// Close refuses new requests, cuts the running ones and returns when every event
// is durable, or with how many are not after Limits.Drain. Shut the server down
// first to let requests end by themselves.
func (g *Gateway) Close() error {
	if g.closed.Swap(true) {
		return nil
	}
	g.streams.cut(func(*request) error { return errClosing })
	g.purses.shut()
	ctx, cancel := context.WithTimeout(context.Background(), g.Limits.Drain)
	defer cancel()
	close(g.done)
	err := g.recorder.wait(ctx)
	if g.Spool != nil {
		err = errors.Join(err, g.Spool.close())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range g.backends {
		b.shut()
	}
	return err
}

// ServeHTTP takes one request through the boundary.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	if g.metadata(w, in) {
		return
	}
	g.serve(w, in, nil)
}

// serve takes a request on its way; from is who is known to ask, nil for a stranger.
func (g *Gateway) serve(w http.ResponseWriter, in *http.Request, from *caller) {
	r := g.requests.Get().(*request)
	r.begin(w, in)
	defer r.end()
	if g.closed.Load() || !g.recorder.reserve() {
		r.refuse(unavailable("The ledger cannot be written and its buffer is full, so nothing may pass."))
		return
	}
	r.reserved = true
	defer g.record(r)
	if err := g.pass(r, from); err != nil {
		r.refuse(err)
	}
}

// pass is the way of a request through the boundary. A step that returns an
// error ends it. The response meets inspect on its way back, within forward.
func (g *Gateway) pass(r *request, from *caller) error {
	if err := g.clean(r); err != nil {
		return err
	}
	r.mark()
	if err := g.authenticate(r, from); err != nil {
		return err
	}
	r.mark()
	if err := g.recognise(r); err != nil {
		return err
	}
	r.mark()
	if err := g.decide(r); err != nil {
		return err
	}
	r.mark()
	if err := g.inject(r); err != nil {
		return err
	}
	r.mark()
	return g.forward(r)
}

// fresh fills id with a new UUIDv7 (RFC 9562 section 5.7) and returns its text.
func (g *Gateway) fresh(now time.Time) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(g.Rand, b[6:]); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return uuid(b, now), nil
}

func uuid(b [16]byte, now time.Time) string {
	ms := now.UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	var s [36]byte
	hex.Encode(s[:8], b[:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:], b[10:])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// audience is what a token for the upstream must be for (RFC 8707).
func (g *Gateway) audience(upstream string) string { return g.URL + "/" + upstream }

const wellKnown = "/.well-known/oauth-protected-resource"

// metadataURL is where the metadata of an upstream is, or of a path within it.
func (g *Gateway) metadataURL(upstream, within string) string {
	if !identity.ValidName(upstream) {
		return g.URL + wellKnown
	}
	return g.URL + wellKnown + "/" + upstream + within
}
