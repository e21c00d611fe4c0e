package control

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-dev/lanyard/internal/control/ca"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
	"github.com/lanyard-dev/lanyard/internal/token"
)

// fleet is the door for gateways elsewhere. Whoever they are is asked on every request:
// by the certificate of the connection, of the store as it is then.
type fleet struct {
	p     *Plane
	ca    *ca.Authority
	alive time.Duration // between two signs of life on a watch
	slow  time.Duration // for which a gateway may take in nothing of what is sent
	whole chan struct{} // has a value for each gateway that reads all there is: it holds a state of the store

	mu    sync.Mutex
	links map[net.Conn]*link
	down  bool
}

// link is one connection of a gateway, or of who wants to be one. Its requests have it in their context.
type link struct {
	conn    net.Conn
	papers  // once a request has shown it
	running map[*running]bool
}

type linkKey struct{}

// papers are what the certificate of a connection says, which the handshake has verified.
type papers struct {
	name, print string // of the gateway, and the certificate's thumbprint
	leaf        *x509.Certificate
}

// running is one request.
type running struct {
	papers
	link   *link // nil: it was not let in
	cancel context.CancelCauseFunc
	watch  bool
}

// errReplaced ends a watch: a gateway has one.
var errReplaced = errors.New("another watch of this gateway began; does another process use its folder?")

var errStopping = errors.New("the control plane is stopping")

func newFleet(ctx context.Context, p *Plane) (*fleet, error) {
	f := &fleet{p: p, alive: 3 * time.Second, slow: 30 * time.Second, whole: make(chan struct{}, snapshots), links: map[net.Conn]*link{}}
	f.ca = &ca.Authority{Vault: p.caVault(), Domain: p.Domain, Now: p.Now, Rand: p.Rand, TTL: p.CertificateTTL}
	if err := f.ca.Open(ctx); err != nil {
		return nil, err
	}
	return f, errors.Join(
		p.Metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_fleet_watching", Help: "Gateways elsewhere that follow the feed now."}, func() float64 {
			return float64(len(f.watching()))
		})))
}

// caVault keeps the keys of the fleet's authority sealed in the store.
func (p *Plane) caVault() ca.Vault {
	const prefix = "ca/"
	return ca.Vault{
		Load: func(ctx context.Context) (map[string][]byte, error) {
			keys := map[string][]byte{}
			return keys, p.Store.Read(ctx, func(tx *store.Tx) error {
				return loadSecrets(tx, prefix, keys)
			})
		},
		Save: func(ctx context.Context, put map[string][]byte, drop []string, e ledger.Event) error {
			_, err := p.Store.Write(ctx, func(tx *store.Tx) error {
				if err := unlessOthers(tx, prefix, put, drop, ca.ErrOtherKeys); err != nil {
					return err
				}
				jwks, err := tx.Meta("jwks")
				if err != nil {
					return err
				}
				tx.Record(e)
				return errors.Join(tx.PutKeys(feed.Keys{JWKS: jwks}), saveSecrets(tx, prefix, put, drop)) // the keys again: every node looks then
			})
			return err
		},
	}
}

// FleetServer is where gateways elsewhere are served. Its listener is to speak TLS by its TLSConfig. Call StopFleet before
// it is shut down. nil: there is no fleet.
func (p *Plane) FleetServer() *http.Server {
	if p.fleet == nil {
		return nil
	}
	f := p.fleet
	var plain http.Protocols
	plain.SetHTTP1(true)
	return &http.Server{Handler: hardened(f.handler(), p.bodyTime), TLSConfig: f.ca.Server(), Protocols: &plain, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(p.Log.Handler(), slog.LevelDebug), ConnContext: f.opened, ConnState: f.closed}
}

// StopFleet ends what gateways follow: they turn to another control plane, or come back.
func (p *Plane) StopFleet() {
	if p.fleet != nil {
		p.fleet.mu.Lock()
		p.fleet.down = true
		p.fleet.mu.Unlock()
		p.fleet.cut(errStopping, func(_ *link, r *running) bool { return r.watch })
	}
}

func (f *fleet) opened(ctx context.Context, c net.Conn) context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &link{conn: c, running: map[*running]bool{}}
	f.links[c] = l
	return context.WithValue(ctx, linkKey{}, l)
}

func (f *fleet) closed(c net.Conn, s http.ConnState) {
	if s == http.StateClosed || s == http.StateHijacked {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.links, c)
	}
}

// cut ends the requests that which says.
func (f *fleet) cut(why error, which func(*link, *running) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.links {
		for r := range l.running {
			if which(l, r) {
				r.cancel(why)
			}
		}
	}
}

// evicted ends a gateway, but who has a certificate of that thumbprint and joined then, here and at other control nodes.
func (f *fleet) evicted(name, but string, joined time.Time) {
	f.gone(name, but)
	f.p.evict(context.Background(), name)
	f.p.tellNodes(context.Background(), word{Evicted: &evictedWord{name, but, joined}})
}

// gone ends all connections of a gateway but those with a certificate of that thumbprint: what runs is told so, and then there is no more.
func (f *fleet) gone(name, but string) {
	theirs := func(l *link) bool { return l.name == name && l.print != but }
	f.cut(feed.ErrEvicted, func(l *link, _ *running) bool { return theirs(l) })
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.links {
		if theirs(l) {
			time.AfterFunc(200*time.Millisecond, func() { l.conn.Close() })
		}
	}
}

// watching is who follows the feed now.
func (f *fleet) watching() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := map[string]bool{}
	for _, l := range f.links {
		for r := range l.running {
			if r.watch {
				names[l.name] = true
			}
		}
	}
	return names
}

// enter says which gateway asks, and has its request end when it may ask no more. leave is to be called in any case.
func (f *fleet) enter(r *http.Request, watch bool) (ctx context.Context, g store.Gateway, run *running, err error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	run = &running{cancel: cancel, watch: watch}
	if run.papers, err = f.shows(r); err != nil {
		return ctx, g, run, err
	}
	l, _ := r.Context().Value(linkKey{}).(*link)
	f.mu.Lock()
	if f.down && watch || l == nil {
		f.mu.Unlock()
		return ctx, g, run, errStopping
	}
	l.papers, l.running[run], run.link = run.papers, true, l
	f.mu.Unlock()
	// It is known by now: whoever evicts it from here on ends it, and who did before is seen in the store.
	if g, err = f.member(ctx, run.papers); err == nil && watch {
		f.cut(errReplaced, func(l *link, r *running) bool { return r.watch && l.name == run.name && r != run })
	}
	return ctx, g, run, err
}

func (f *fleet) leave(run *running) {
	run.cancel(nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	if run.link != nil {
		delete(run.link.running, run)
	}
}

// spoken refuses a version of the feed that is not understood here.
func spoken(r *http.Request) error {
	if v, err := strconv.Atoi(r.Header.Get(feed.VersionHeader)); err != nil || v < 1 || v > feed.Version {
		return fmt.Errorf("%w: this control plane speaks version %d of the feed; update it before its gateways", feed.ErrVersion, feed.Version)
	}
	return nil
}

// shows is what the other end of r's connection shows.
func (f *fleet) shows(r *http.Request) (s papers, err error) {
	if err := spoken(r); err != nil {
		return s, err
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return s, fmt.Errorf("%w: it shows none; a gateway joins first, with what lanyard gateway token prints", feed.ErrCertificate)
	}
	s.leaf = r.TLS.PeerCertificates[0]
	if len(s.leaf.URIs) == 1 {
		s.name, _ = strings.CutPrefix(s.leaf.URIs[0].String(), feed.GatewayName(f.p.Domain, ""))
	}
	if s.name == "" || s.name == s.leaf.URIs[0].String() {
		return s, fmt.Errorf("%w: it is of something else", feed.ErrCertificate)
	}
	s.print = token.CertThumbprint(s.leaf.Raw)
	return s, nil
}

// member asks the store about a gateway that shows that certificate.
func (f *fleet) member(ctx context.Context, by papers) (store.Gateway, error) {
	name, print := by.name, by.print
	g, err := f.p.Store.Gateway(ctx, name)
	now := f.p.Now()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return g, fmt.Errorf("%w: this control plane knows of no gateway %s", feed.ErrCertificate, name)
	case err != nil:
		return g, err
	case now.After(by.leaf.NotAfter):
		return g, fmt.Errorf("%w: it ended; an operator can let it join again: lanyard gateway token %s --replace", feed.ErrCertificate, name)
	case g.State != store.GatewayJoined:
		return g, feed.ErrEvicted
	case print == g.Current.Print:
	case print == g.Next.Print:
		if _, err = f.p.registry.Do(ctx, registry.Actor{Name: "gateway:" + name}, func(c *registry.Change) (err error) {
			g, err = c.ShownGateway(name, print)
			return err
		}); err == nil && g.Current.Print != print { // evicted, or replaced, in between
			err = feed.ErrEvicted
		}
		if err == nil {
			f.cut(feed.ErrCertificate, func(l *link, r *running) bool { return l.name == name && l.print != print && r.watch })
		}
	case print == g.Previous.Print:
		return g, fmt.Errorf("%w: the gateway has shown a newer one", feed.ErrCertificate)
	default:
		return g, feed.ErrEvicted // another has its name
	}
	return g, err
}

// guarded is a door for gateways alone. What f returns is answered; an error is told as far as it is theirs to know.
func guarded[I, O any](f *fleet, most int64, do func(context.Context, store.Gateway, I) (O, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, g, run, err := f.enter(r, false)
		defer f.leave(run)
		var in I
		var out O
		if err == nil {
			err = body1(w, r, most, &in)
		}
		if err == nil {
			out, err = do(ctx, g, in)
			if cause := context.Cause(ctx); cause != nil && err != nil {
				err = cause
			}
		}
		if err != nil {
			f.fail(w, r, err)
			return
		}
		f.p.Store.TouchGateway(g.Name, f.p.Now())
		deliver(w, http.StatusOK, out)
	}
}

// deliver answers a gateway, which may be gone.
func deliver(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

var errBody = errors.New("this is not what the feed takes here: no JSON, a member that is unknown or of another type, or too much")

// body1 reads the one JSON value of a request, strictly.
func body1(w http.ResponseWriter, r *http.Request, most int64, in any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	if d.Decode(in) != nil {
		return errBody
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errBody
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return nil
}

// fault is the one place where errors become what a gateway is told.
func (f *fleet) fault(err error) (*feed.Fault, int) {
	var invalid *registry.Invalid
	var conflict *registry.Conflict
	if told := feed.FaultOf(err); told != nil {
		status := http.StatusConflict
		switch {
		case errors.Is(err, feed.ErrEvicted), errors.Is(err, feed.ErrRefused):
			status = http.StatusForbidden
		case errors.Is(err, feed.ErrCertificate):
			status = http.StatusUnauthorized
		case errors.Is(err, feed.ErrCompacted):
			status = http.StatusGone
		}
		return told, status
	}
	switch {
	case errors.Is(err, registry.ErrAttestation): // why is for the log alone
		f.p.Log.Warn("a gateway was not let in", "why", err)
		return &feed.Fault{Code: feed.FaultRefused, Text: registry.ErrAttestation.Error()}, http.StatusForbidden
	case errors.Is(err, errBody):
		return &feed.Fault{Code: feed.FaultInvalid, Text: err.Error()}, http.StatusBadRequest
	case errors.As(err, &invalid), errors.As(err, &conflict), errors.Is(err, store.ErrNotFound), errors.Is(err, registry.ErrToken):
		return &feed.Fault{Code: feed.FaultRefused, Text: err.Error()}, http.StatusForbidden
	case errors.Is(err, errReplaced):
		return &feed.Fault{Code: feed.FaultUnavailable, Text: err.Error()}, http.StatusServiceUnavailable
	case errors.Is(err, errStopping), errors.Is(err, store.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &feed.Fault{Code: feed.FaultUnavailable, Text: errStopping.Error()}, http.StatusServiceUnavailable
	case errors.Is(err, store.ErrNewer):
		return &feed.Fault{Code: feed.FaultUnavailable, Text: "this control node is older than its database"}, http.StatusServiceUnavailable
	case errors.Is(err, store.ErrFull):
		return &feed.Fault{Code: feed.FaultUnavailable, Text: "the control plane's disk is full"}, http.StatusServiceUnavailable
	}
	f.p.Log.Error("a gateway's request", "error", err)
	return &feed.Fault{Code: feed.FaultUnavailable, Text: "it did not work at the control plane, whose log says why"}, http.StatusInternalServerError
}

func (f *fleet) fail(w http.ResponseWriter, r *http.Request, err error) {
	told, status := f.fault(err)
	if status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusBadRequest {
		f.p.Log.Warn("refused at the feed", "path", r.URL.Path, "source", r.RemoteAddr, "why", told.Text)
	}
	if errors.Is(err, feed.ErrEvicted) || errors.Is(err, feed.ErrCertificate) {
		w.Header().Set("Connection", "close")
	}
	deliver(w, status, told)
}
