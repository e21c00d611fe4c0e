package gateway

import (
	"fmt"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// metrics has few labels, none of them chosen by a caller.
type metrics struct {
	requests     *prometheus.CounterVec
	refusals     *prometheus.CounterVec
	allowed      prometheus.Counter
	denied       prometheus.Counter
	failed       prometheus.Counter
	seconds      prometheus.Histogram
	recordFailed prometheus.Counter
	cut          prometheus.Counter
}

func (m *metrics) register(g *Gateway) error {
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lanyard_gateway_requests_total", Help: "Requests by outcome."}, []string{"outcome"})
	m.refusals = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lanyard_gateway_refusals_total", Help: "Refused requests by kind of problem."}, []string{"kind"})
	m.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "lanyard_gateway_request_seconds", Help: "Time of a request, upstream included.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9)})
	m.recordFailed = prometheus.NewCounter(prometheus.CounterOpts{Name: "lanyard_gateway_record_failures_total", Help: "Writes to the ledger that failed."})
	m.cut = prometheus.NewCounter(prometheus.CounterOpts{Name: "lanyard_gateway_cut_total", Help: "Running requests that were cut."})
	m.allowed = m.requests.WithLabelValues(string(ledger.Allowed))
	m.denied = m.requests.WithLabelValues(string(ledger.Refused))
	m.failed = m.requests.WithLabelValues(string(ledger.Failed))
	if g.Metrics == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.refusals, m.seconds, m.recordFailed, m.cut,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_gateway_events_held", Help: "Events not yet durable, and requests that will make one."}, func() float64 { return float64(g.recorder.held.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_gateway_events_limit", Help: "Events that may be held before everything is refused."}, func() float64 { return float64(g.Limits.Events) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_gateway_ledger_failing", Help: "1 when the last write to the ledger failed: what must be recorded first is refused, or, with a spool, waits there."}, func() float64 {
			if g.recorder.failing.Load() {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_gateway_ready", Help: "1 when requests are served."}, func() float64 {
			if g.Ready() != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_gateway_spooled_bytes", Help: "Events on disk that are not in the ledger yet."}, func() float64 {
			if g.Spool == nil {
				return 0
			}
			return float64(g.Spool.held.Load())
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_gateway_lease_seconds", Help: "For how long this gateway may go on without word from its control plane; 0 when it has stopped."}, func() float64 {
			if g.View.Lease == nil {
				return math.Inf(1)
			}
			return max(0, g.View.Lease.Left().Seconds())
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_gateway_running", Help: "Requests being forwarded."}, func() float64 { return float64(g.streams.running()) }),
	} {
		if err := g.Metrics.Register(c); err != nil {
			return fmt.Errorf("registering the gateway's metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) refused(kind string) { m.refusals.WithLabelValues(kind).Inc() }

func (m *metrics) ended(r *request, e ledger.Event) {
	switch e.Outcome {
	case ledger.Allowed:
		m.allowed.Inc()
	case ledger.Failed:
		m.failed.Inc()
	default:
		m.denied.Inc()
	}
	m.seconds.Observe(e.Duration.Seconds())
}
