package control

import (
	"errors"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
)

// ErrDraining means that this process ends: it does all it does, and new work should go elsewhere.
var ErrDraining = errors.New("it is stopping")

// Ready returns why this control plane cannot do its work, or nil.
func (p *Plane) Ready() error {
	if p.draining.Load() {
		return ErrDraining
	}
	if err := p.Store.Ready(); err != nil {
		return err
	}
	return p.View.Live()
}

// Drain has Ready refuse from now on. Everything else goes on.
func (p *Plane) Drain() { p.draining.Store(true) }

// Health serves /healthz, /readyz and /metrics alone, for an address of their own; ready is what is asked beside the control plane.
func (p *Plane) Health(ready func() error) http.Handler {
	return Health(func() error {
		if err := p.Ready(); err != nil {
			return err
		}
		return ready()
	}, p.Metrics)
}

// Health serves /healthz, /readyz and /metrics alone, of whatever is ready when ready says so.
func Health(ready func() error, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	health(mux, ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// health serves /healthz and /readyz.
func health(mux *http.ServeMux, ready func() error) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		err := ready()
		if err == nil {
			io.WriteString(w, "ready\n")
			return
		}
		why := "the view is not complete, or events cannot be kept" // by what, is for the log
		if errors.Is(err, store.ErrUnavailable) {
			why = store.ErrUnavailable.Error() // and not what the driver says
		} else if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrNewer) || errors.Is(err, store.ErrClosed) || errors.Is(err, ErrDraining) || errors.Is(err, feed.ErrLapsed) {
			why = err.Error()
		}
		http.Error(w, "not ready: "+why, http.StatusServiceUnavailable)
	})
}
