package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/lanyard-dev/lanyard/internal/connector"
	"github.com/lanyard-dev/lanyard/internal/connector/google"
	"github.com/lanyard-dev/lanyard/internal/connector/graph"
	"github.com/lanyard-dev/lanyard/internal/connector/mcp"
	"github.com/lanyard-dev/lanyard/internal/connector/openapi"
	"github.com/lanyard-dev/lanyard/internal/connector/patterns"
	"github.com/lanyard-dev/lanyard/internal/control"
	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/fetch"
	"github.com/lanyard-dev/lanyard/internal/gateway"
	"github.com/lanyard-dev/lanyard/internal/identity"
)

// families are how upstreams can describe themselves.
func families() []connector.Family {
	return []connector.Family{google.Family(), graph.Family(), openapi.Family(), patterns.Family(), mcp.Family(), mcp.JoinFamily()}
}

// server is the configuration of lanyard serve.
type server struct {
	listen, gatewayListen  string
	url, gatewayURL        string
	domain, gatewayDomain  string
	cert, key              string
	insecure, bearer       bool
	register, localClients bool
	maxExpiry, defaultEnd  string
	tokenTTL, lease        time.Duration
	logFormat, logLevel    string
	notify                 doors
	operate
	questions               int
	fleet                   fleet
	data                    string
	database                database
	databaseURL             string
	log                     *slog.Logger
	controlL, gatewayL, unx net.Listener
}

func (a *app) serve() *cobra.Command {
	s := &server{}
	c := &cobra.Command{
		Use: "serve", Short: "Run the control plane and the gateway, or one of them", Args: cobra.NoArgs,
		Long: `Run the control plane (registry, token issuer, ledger) and the gateway (the
boundary that agents call through) in one process, on SQLite in the data folder
or on PostgreSQL (--database), which several control planes may share.

The first start makes the folder, the keys, an admin token and a link that signs the
administrator in at the console once; both are printed this once. Operators on
this machine need no token: they use the Unix socket in the folder. A second
serve on the same SQLite is refused.

With --feed-listen, gateways in other places join: lanyard gateway token NAME
makes what they are started with, once, with --role gateway. Such a gateway keeps
its certificate in its folder, and sealed what it knows and what it could not have
recorded yet; --listen is where it serves /healthz, /readyz and /metrics. Agents
reach all gateways by the one --gateway-url that the control plane has.`,
		Example: `  lanyard serve
  lanyard serve --data /var/lib/lanyard --trust-domain example.com
  lanyard serve --role control --feed-listen 0.0.0.0:8443
  LANYARD_JOIN_TOKEN=lyd_join_... lanyard serve --role gateway --control https://control.example.com:8443
  lanyard serve --listen 0.0.0.0:8440 --gateway-listen 0.0.0.0:8441 --tls-cert tls.crt --tls-key tls.key \
      --url https://lanyard.example.com:8440 --gateway-url https://lanyard.example.com:8441`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.data = a.data
			if err := errors.Join(s.check(), s.logger(a.errs)); err != nil {
				return err
			}
			if s.fleet.role == roleGateway {
				return s.runGateway(cmd.Context())
			}
			return s.run(cmd.Context(), a.errs)
		},
	}
	f := c.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:8440", "address of the control plane")
	f.StringVar(&s.gatewayListen, "gateway-listen", "127.0.0.1:8441", "address of the gateway")
	f.StringVar(&s.url, "url", "", "public URL of the control plane, the issuer of tokens (default from --listen); with a path, as in https://example.com/lanyard, it is served below that")
	f.StringVar(&s.gatewayURL, "gateway-url", "", "public URL of the gateway (default from --gateway-listen)")
	f.StringVar(&s.domain, "trust-domain", "lanyard.local", "trust domain of the SPIFFE IDs; it cannot change later")
	f.StringVar(&s.gatewayDomain, "gateway-domain", "", "also route <upstream>.<this domain> to upstreams")
	f.StringVar(&s.cert, "tls-cert", "", "certificate chain (PEM); with it both listen with TLS, and clients may use certificates")
	f.StringVar(&s.key, "tls-key", "", "its private key (PEM)")
	f.BoolVar(&s.insecure, "insecure-http", false, "listen without TLS beyond loopback: only behind a proxy that has it")
	f.BoolVar(&s.bearer, "allow-bearer", false, "give tokens that are bound to no key to clients that could bind them")
	f.BoolVar(&s.register, "client-registration", false, "let clients that people connect register themselves (RFC 7591), for those that publish no metadata document")
	f.BoolVar(&s.localClients, "local-clients", false, "fetch clients' metadata documents and identity providers' keys from this machine, too, over http: for development")
	f.StringVar(&s.maxExpiry, "max-expiry", "365d", "the longest that an identity may run without being renewed")
	f.StringVar(&s.defaultEnd, "default-expiry", "90d", "how long an identity runs when nothing is said")
	f.DurationVar(&s.tokenTTL, "token-ttl", 5*time.Minute, "life of an access token, 15m at most")
	f.DurationVar(&s.lease, "lease", feed.DefaultLease, "how long a gateway serves without word from the control plane, 1s to 5m: what is revoked is refused after that time even by one that cannot be reached")
	f.IntVar(&s.questions, "open-questions", 20, "how many questions to people may wait for one identity, and as many tasks")
	s.database.flags(f)
	s.notify.flags(f)
	s.fleet.flags(f)
	s.operate.flags(f)
	f.StringVar(&s.logFormat, "log-format", "text", "text or json")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	return c
}

// plainPath is what a public URL may have for a path: what every proxy and browser writes alike.
var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)

// check fills what follows from other fields and refuses what cannot be.
func (s *server) check() error {
	if err := s.fleet.check(s.operate.seal != ""); err != nil {
		return err
	}
	scheme := "http"
	if (s.cert == "") != (s.key == "") {
		return usage("--tls-cert and --tls-key belong together")
	}
	if s.cert != "" {
		scheme = "https"
	}
	for _, l := range []struct {
		address, flag string
		to            *string
	}{{s.listen, "listen", &s.url}, {s.gatewayListen, "gateway-listen", &s.gatewayURL}} {
		host, port, err := net.SplitHostPort(l.address)
		if err != nil {
			return usage("--%s %q: want host:port", l.flag, l.address)
		}
		ip := net.ParseIP(host)
		if !fetch.Loopback(host) && scheme == "http" && !s.insecure {
			return usage("--%s %s is reachable from other machines, without TLS: give --tls-cert and --tls-key, or --insecure-http behind a proxy that has them", l.flag, l.address)
		}
		if *l.to == "" && s.fleet.role == roleGateway {
			continue // it is told
		}
		if *l.to == "" {
			if host == "" || ip != nil && ip.IsUnspecified() {
				return usage("--%s %s: say under which URL others reach it, with --%s", l.flag, l.address, map[string]string{"listen": "url", "gateway-listen": "gateway-url"}[l.flag])
			}
			*l.to = scheme + "://" + net.JoinHostPort(host, port)
		}
		*l.to = strings.TrimSuffix(*l.to, "/")
		u, err := url.Parse(*l.to)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !plainPath.MatchString(u.EscapedPath()) || path.Clean("/"+u.Path) != "/"+strings.TrimPrefix(u.Path, "/") {
			return usage("%q is no URL like https://lanyard.example.com:8440", *l.to)
		}
		if l.to == &s.gatewayURL && u.Path != "" {
			return usage("--gateway-url %q has a path: the gateway is at the root of a host or of a port of its own, where the first part of a path names an upstream", *l.to)
		}
	}
	if _, err := identity.NewID(s.domain, identity.Agent, "x"); err != nil {
		return exit{exitUsage, err}
	}
	if s.questions < 1 || s.questions > 1000 {
		return usage("--open-questions %d: from 1 to 1000", s.questions)
	}
	if s.tokenTTL < 10*time.Second || s.tokenTTL > 15*time.Minute {
		return usage("--token-ttl %s: from 10s to 15m", s.tokenTTL)
	}
	if s.lease < feed.MinLease || s.lease > feed.MaxLease {
		return usage("--lease %s: from %s to %s", s.lease, feed.MinLease, feed.MaxLease)
	}
	return s.operate.check()
}

func life(flag, s string) (time.Duration, error) {
	e, err := registry.ParseEnd(s)
	if d := e.From(time.Unix(0, 0)).Sub(time.Unix(0, 0)); err == nil && d > 0 && d < 200*365*24*time.Hour {
		return d, nil
	}
	return 0, usage("--%s %q: write 90d (or h, w, y)", flag, s)
}

func (s *server) logger(w io.Writer) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		return usage("--log-level %q: use debug, info, warn or error", s.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch s.logFormat {
	case "text":
		s.log = slog.New(slog.NewTextHandler(w, options))
	case "json":
		s.log = slog.New(slog.NewJSONHandler(w, options))
	default:
		return usage("--log-format %q: use text or json", s.logFormat)
	}
	return nil
}

// run starts everything from the ground up and stops it in the opposite order.
func (s *server) run(ctx context.Context, errs io.Writer) (err error) {
	longest, err := life("max-expiry", s.maxExpiry)
	if err != nil {
		return err
	}
	usual, err := life("default-expiry", s.defaultEnd)
	if err != nil {
		return err
	}
	doors, err := s.notify.open()
	if err != nil {
		return err
	}
	if s.databaseURL, err = s.database.open(); err != nil {
		return err
	}
	box, err := s.sealBox(ctx)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{Dir: s.data, Database: s.databaseURL, Now: time.Now, Rand: rand.Reader, Seal: box, Origin: s.domain + "/ledger", Fatal: func(err error) {
		s.log.Error("the disk failed: what it holds is not certain, so this process ends; the next start reads what is there", "error", err)
		os.Exit(exitError)
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := s.sameDomain(ctx, db); err != nil {
		return err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	view := feed.NewView()
	view.Lease = feed.NewLease(feed.BootClock)
	host, _ := os.Hostname()
	plane, err := control.Open(ctx, control.Config{Store: db, View: view, Domain: s.domain, URL: s.url, GatewayURL: s.gatewayURL, Families: families(), Version: version,
		Now: time.Now, Rand: rand.Reader, Log: s.log, Metrics: metrics, DefaultExpiry: min(usual, longest), MaxExpiry: longest, TokenTTL: s.tokenTTL, Lease: s.lease, AllowBearer: s.bearer, Register: s.register, LocalClients: s.localClients, Questions: s.questions, Notify: doors, KEK: s.kek,
		Fleet: s.fleet.listen != "", CertificateTTL: s.fleet.ttl, Local: []string{s.fleet.local()}, Node: host})
	if err != nil {
		return err
	}
	defer plane.Close()
	name, g := s.fleet.local(), (*gateway.Gateway)(nil)
	spans, err := s.traces(metrics, name)
	if err != nil {
		return err
	}
	if s.fleet.role == roleAll {
		sessions, err := s.sessionKey(box)
		if err != nil {
			return err
		}
		g, err = gateway.New(gateway.Config{Name: name, URL: s.gatewayURL, Issuer: s.url, Domain: s.gatewayDomain, Source: plane.Source(name), Desk: plane.Desk(), View: view,
			Families: families(), Now: time.Now, Rand: rand.Reader, Log: s.log, Metrics: metrics, SessionKey: sessions, Trace: spans})
		if err != nil {
			return err
		}
	}
	handler, err := plane.Handler()
	if err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go feed.Follow(background, plane.Source(name), view, func(err error) { s.log.Warn("the view fell behind", "error", err) })
	go plane.Run(background)
	for view.Live() != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Millisecond):
		}
	}
	time.Sleep(time.Until(plane.Start()))
	if err := firstToken(ctx, plane, errs); err != nil {
		return err
	}
	err = s.answer(ctx, plane, g, handler)
	flush(spans)
	return err
}

// sameDomain keeps the trust domain as it was at the first start: it is part of every identity's name.
func (s *server) sameDomain(ctx context.Context, db *store.DB) error {
	return db.Read(ctx, func(tx *store.Tx) error {
		list, err := tx.Identities(store.Filter{Limit: 1})
		if err == nil && len(list) == 1 && list[0].ID.TrustDomain() != s.domain {
			return fmt.Errorf("the identities in %s are of trust domain %s; start with --trust-domain %s", s.data, list[0].ID.TrustDomain(), list[0].ID.TrustDomain())
		}
		return err
	})
}

func (s *server) open() (err error) {
	if s.controlL, err = net.Listen("tcp", s.listen); err != nil {
		return fmt.Errorf("%w; is something else there? --listen takes another address", err)
	}
	if s.fleet.role == roleAll {
		if s.gatewayL, err = net.Listen("tcp", s.gatewayListen); err != nil {
			return fmt.Errorf("%w; is something else there? --gateway-listen takes another address", err)
		}
	}
	if err := errors.Join(s.fleet.open(), s.operate.open()); err != nil {
		return err
	}
	if err := os.MkdirAll(s.data, 0o700); err != nil { // nobody has made it where the store and the seal's key are elsewhere
		return err
	}
	s.unx, err = control.LocalListener(filepath.Join(s.data, "lanyard.sock"))
	return err
}

// firstToken makes the admin token and a link to the console on the first start, and prints them this once.
func firstToken(ctx context.Context, plane *control.Plane, w io.Writer) error {
	has, err := plane.HasAdminToken(ctx)
	if has || err != nil {
		return err
	}
	secret, err := plane.NewAdminToken(ctx, registry.Self)
	if err != nil {
		return err
	}
	link, err := plane.SignInLink(ctx, registry.Self, true)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nThe admin token, for operators on other machines. It is shown this once:\n\n  %s\n\n", secret)
	fmt.Fprintf(w, "The console, for the administrator. This link signs in once, within a day (lanyard console makes another):\n\n  %s\n\n", link.URL)
	return nil
}

// answer serves until ctx ends, then lets what runs end by itself for a while.
func (s *server) answer(ctx context.Context, plane *control.Plane, g *gateway.Gateway, handler http.Handler) error {
	config, err := s.pair()
	if err != nil {
		return err
	}
	draining := func() bool { return errors.Is(plane.Ready(), control.ErrDraining) }
	ready := func() error { return nil }
	var all servings
	if g != nil {
		server := g.Server()
		server.Handler = closing(draining, server.Handler)
		all.front, ready = append(all.front, serving{server, s.front(config)}), g.Ready
	}
	all.front = append(all.front, serving{s.plain(closing(draining, handler)), secured(s.controlL, config)})
	where := []any{"version", version, "role", s.fleet.role, "control", s.url, "gateway", s.gatewayURL, "data", s.data}
	if server := plane.FleetServer(); server != nil {
		all.front = append(all.front, serving{server, tls.NewListener(s.fleet.feedL, server.TLSConfig)})
		where = append(where, "feed", s.fleet.feedL.Addr().String())
	}
	all.last = []serving{{s.plain(plane.LocalHandler()), s.unx}, {s.plain(plane.Health(ready)), s.healthL}}
	err = s.until(ctx, all, plane.Drain, plane.StopFleet, where...)
	if g != nil {
		err = errors.Join(err, g.Close())
	}
	return err
}
