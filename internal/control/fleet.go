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
	links map[string]*link // by the address of the other end
	down  bool
}

// link is one connection of a gateway, or of who wants to be one.
type link struct {
	conn    net.Conn
	name    string // of the gateway, once a request has said it
	print   string
	running map[*running]bool
}

// running is one request.
type running struct {
	cancel context.CancelCauseFunc
	watch  bool
}

// errReplaced ends a watch: a gateway has one.
var errReplaced = errors.New("another watch of this gateway began; does another process use its folder?")

var errStopping = errors.New("the control plane is stopping")

func newFleet(ctx context.Context, p *Plane) (*fleet, error) {
	f := &fleet{p: p, alive: 3 * time.Second, slow: 30 * time.Second, whole: make(chan struct{}, snapshots), links: map[string]*link{}}
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
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(p.Log.Handler(), slog.LevelDebug), ConnState: f.state}
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

func (f *fleet) state(c net.Conn, s http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch s {
	case http.StateNew:
		f.links[c.RemoteAddr().String()] = &link{conn: c, running: map[*running]bool{}}
	case http.StateClosed, http.StateHijacked:
		delete(f.links, c.RemoteAddr().String())
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

// evicted ends all connections of a gateway but those with a certificate of that thumbprint: what runs is told so, and then there is no more.
func (f *fleet) evicted(name, but string) {
	theirs := func(l *link) bool { return l.name == name && l.print != but }
	f.cut(feed.ErrEvicted, func(l *link, _ *running) bool { return theirs(l) })
	f.p.evict(context.Background(), name)
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

// enter says which gateway asks, and has its request end when it may ask no more. end is to be called in any case.
func (f *fleet) enter(r *http.Request, watch bool) (ctx context.Context, g store.Gateway, end func(), err error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	end = func() { cancel(nil) }
	name, print, leaf, err := f.shown(r)
	if err != nil {
		return ctx, g, end, err
	}
	run := &running{cancel, watch}
	f.mu.Lock()
	l := f.links[r.RemoteAddr]
	if f.down && watch || l == nil {
		f.mu.Unlock()
		return ctx, g, end, errStopping
	}
	l.name, l.print, l.running[run] = name, print, true
	f.mu.Unlock()
	end = func() {
		cancel(nil)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(l.running, run)
	}
	// It is known by now: whoever evicts it from here on ends it, and who did before is seen in the store.
	if g, err = f.member(ctx, name, print, leaf); err == nil && watch {
		f.cut(errReplaced, func(l *link, r *running) bool { return r.watch && l.name == name && r != run })
	}
	return ctx, g, end, err
}

// shown is what the certificate of the connection says, which the handshake has verified.
func (f *fleet) shown(r *http.Request) (name, print string, leaf *x509.Certificate, err error) {
	if v, err := strconv.Atoi(r.Header.Get(feed.VersionHeader)); err != nil || v < 1 || v > feed.Version {
		return "", "", nil, fmt.Errorf("%w: this control plane speaks version %d of the feed; update it before its gateways", feed.ErrVersion, feed.Version)
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return "", "", nil, fmt.Errorf("%w: it shows none; a gateway joins first, with what lanyard gateway token prints", feed.ErrCertificate)
	}
	leaf = r.TLS.PeerCertificates[0]
	if len(leaf.URIs) == 1 {
		name, _ = strings.CutPrefix(leaf.URIs[0].String(), feed.GatewayName(f.p.Domain, ""))
	}
	if name == "" || name == leaf.URIs[0].String() {
		return "", "", nil, fmt.Errorf("%w: it is of something else", feed.ErrCertificate)
	}
	return name, token.CertThumbprint(leaf.Raw), leaf, nil
}

// member asks the store about a gateway that shows that certificate.
func (f *fleet) member(ctx context.Context, name, print string, leaf *x509.Certificate) (store.Gateway, error) {
	g, err := read(ctx, f.p, func(tx *store.Tx) (store.Gateway, error) { return tx.Gateway(name) })
	now := f.p.Now()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return g, fmt.Errorf("%w: this control plane knows of no gateway %s", feed.ErrCertificate, name)
	case err != nil:
		return g, err
	case now.After(leaf.NotAfter):
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
		ctx, g, end, err := f.enter(r, false)
		defer end()
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
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(out) // the gateway may be gone
	}
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
	case errors.Is(err, errBody):
		return &feed.Fault{Code: feed.FaultInvalid, Text: err.Error()}, http.StatusBadRequest
	case errors.As(err, &invalid), errors.As(err, &conflict), errors.Is(err, store.ErrNotFound), errors.Is(err, registry.ErrToken):
		return &feed.Fault{Code: feed.FaultRefused, Text: err.Error()}, http.StatusForbidden
	case errors.Is(err, errReplaced):
		return &feed.Fault{Code: feed.FaultUnavailable, Text: err.Error()}, http.StatusServiceUnavailable
	case errors.Is(err, errStopping), errors.Is(err, store.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &feed.Fault{Code: feed.FaultUnavailable, Text: errStopping.Error()}, http.StatusServiceUnavailable
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
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(told) // the gateway may be gone
}
