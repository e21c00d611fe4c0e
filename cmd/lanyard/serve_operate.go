package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/lanyard-dev/lanyard/internal/control"
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

// closing asks whoever comes while we drain to use another connection the next time: this one will close.
func closing(plane *control.Plane, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && errors.Is(plane.Ready(), control.ErrDraining) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// end stops serving: /readyz refuses at once; for the notice all goes on; then nothing new is taken, and what runs has until
// the drain is over. The sockets of operators and of health are the last to go. A second signal ends it now.
func (s *server) end(plane *control.Plane, failed bool, front, last []*http.Server) {
	again, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	plane.Drain()
	s.tell("STOPPING=1")
	s.log.Info("lanyard is stopping", "notice", s.notice, "drain", s.operate.drain)
	if !failed && s.notice > 0 {
		select {
		case <-again.Done():
		case <-time.After(s.notice):
		}
	}
	quiet, cancel := context.WithTimeout(again, s.operate.drain)
	defer cancel()
	var over sync.WaitGroup
	for _, server := range front {
		over.Go(func() {
			if server.Shutdown(quiet) != nil {
				server.Close()
			}
		})
	}
	over.Wait()
	short, cancelShort := context.WithTimeout(context.Background(), time.Second)
	defer cancelShort()
	for _, server := range last {
		if server.Shutdown(short) != nil {
			server.Close()
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
