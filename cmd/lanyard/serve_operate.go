package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/lanyard-dev/lanyard/internal/gateway"
	"github.com/lanyard-dev/lanyard/internal/trace"
)

// operate is what who runs it sets: what seals, how it ends, who watches.
type operate struct {
	sealing
	drain, notice time.Duration
	health        string
	otlp          string
	healthL       net.Listener
}

func (o *operate) flags(f *pflag.FlagSet) {
	o.sealing.flags(f)
	f.DurationVar(&o.drain, "drain", 30*time.Second, "how long running requests have to end after SIGTERM")
	f.DurationVar(&o.notice, "drain-notice", 0, "how long after SIGTERM new requests are still served while /readyz says 503, so that who balances load can hear of it")
	f.StringVar(&o.health, "health-listen", "", "address that serves /healthz, /readyz and /metrics alone, over http, until the very end")
	f.StringVar(&o.otlp, "otlp-endpoint", "", "collector that is told how long the steps of requests took (OTLP over HTTP), as http://127.0.0.1:4318")
}

func (o *operate) check() error {
	if o.drain < 0 || o.drain > time.Hour || o.notice < 0 || o.notice > 10*time.Minute {
		return usage("--drain %s, --drain-notice %s: at most 1h and 10m", o.drain, o.notice)
	}
	if o.health != "" {
		if _, _, err := net.SplitHostPort(o.health); err != nil {
			return usage("--health-listen %q: want host:port", o.health)
		}
	}
	return nil
}

func (o *operate) open() (err error) {
	if o.health != "" {
		if o.healthL, err = net.Listen("tcp", o.health); err != nil {
			return fmt.Errorf("%w; is something else there? --health-listen takes another address", err)
		}
	}
	return nil
}

// traces makes the exporter of traces, nil without an endpoint.
func (s *server) traces(metrics *prometheus.Registry, gateway string) (*trace.Exporter, error) {
	if s.otlp == "" {
		return nil, nil
	}
	e, err := trace.New(s.otlp, s.log, trace.Text("service.name", "lanyard-gateway"), trace.Text("service.version", version), trace.Text("service.instance.id", gateway))
	if err != nil {
		return nil, usage("--otlp-endpoint: %w", err)
	}
	count := func(name, help string, of func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(of()) })
	}
	return e, errors.Join(
		metrics.Register(count("lanyard_trace_spans_total", "Spans that the collector took.", func() int64 { n, _ := e.Counts(); return n })),
		metrics.Register(count("lanyard_trace_spans_dropped_total", "Spans that were dropped because the collector was too slow or away.", func() int64 { _, n := e.Counts(); return n })))
}

// flush hands over what an exporter holds; nil: there is none.
func flush(spans *trace.Exporter) {
	if spans != nil {
		late, stop := context.WithTimeout(context.Background(), 2*time.Second)
		defer stop()
		spans.Close(late)
	}
}

// serving is a server and where it listens; nil: nowhere.
type serving struct {
	s *http.Server
	l net.Listener
}

// servings are those that end at first, and those that stay until the very end.
type servings struct{ front, last []serving }

func (s *server) plain(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
}

// secured listens with TLS, if there is a certificate.
func secured(l net.Listener, config *tls.Config) net.Listener {
	if config == nil {
		return l
	}
	return tls.NewListener(l, config.Clone())
}

// front is where agents come.
func (s *server) front(config *tls.Config) net.Listener {
	if config == nil {
		return gateway.Strict(s.gatewayL)
	}
	return secured(s.gatewayL, config)
}

// until serves until ctx ends, or one of the servers fails, and then ends it all: drain has /readyz refuse, and stopping
// ends what would not end by itself.
func (s *server) until(ctx context.Context, all servings, drain, stopping func(), where ...any) (err error) {
	both := slices.Concat(all.front, all.last)
	failed := make(chan error, len(both))
	for _, l := range both {
		if l.l == nil {
			continue
		}
		go func() {
			if err := l.s.Serve(l.l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	s.log.Info("lanyard is ready", where...)
	s.tell("READY=1")
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.end(all, err != nil, drain, stopping)
	return err
}

// closing asks whoever comes while we drain to use another connection the next time: this one will close.
func closing(draining func() bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && draining() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// end stops serving: /readyz refuses at once; for the notice all goes on; then nothing new is taken, and what runs has until
// the drain is over. The sockets of operators and of health are the last to go. A second signal ends it now.
func (s *server) end(all servings, failed bool, drain, stopping func()) {
	again, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	drain()
	s.tell("STOPPING=1")
	s.log.Info("lanyard is stopping", "notice", s.notice, "drain", s.operate.drain)
	if !failed && s.notice > 0 {
		select {
		case <-again.Done():
		case <-time.After(s.notice):
		}
	}
	stopping()
	quiet, cancel := context.WithTimeout(again, s.operate.drain)
	defer cancel()
	var over sync.WaitGroup
	for _, one := range all.front {
		over.Go(func() {
			if one.s.Shutdown(quiet) != nil {
				one.s.Close()
			}
		})
	}
	over.Wait()
	short, cancelShort := context.WithTimeout(context.Background(), time.Second)
	defer cancelShort()
	for _, one := range all.last {
		if one.s.Shutdown(short) != nil {
			one.s.Close()
		}
	}
}

// tell tells systemd how it stands (sd_notify), if it asked to be told.
func (s *server) tell(state string) {
	at := os.Getenv("NOTIFY_SOCKET")
	if at == "" {
		return
	}
	if at[0] == '@' { // an abstract socket
		at = "\x00" + at[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: at, Net: "unixgram"})
	if err == nil {
		_, err = c.Write([]byte(state))
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		s.log.Warn("telling systemd", "state", state, "error", err)
	}
}
