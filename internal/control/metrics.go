package control

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-dev/lanyard/internal/control/store"
	"github.com/lanyard-dev/lanyard/internal/feed"
	"github.com/lanyard-dev/lanyard/internal/ledger"
)

// counters has few labels, none of them chosen by a caller.
type counters struct {
	tokens      *prometheus.CounterVec
	kills       prometheus.Histogram
	unconfirmed prometheus.Counter
}

// killed notes how long a pulled cord took to be in force at every gateway that confirmed it.
func (c *counters) killed(r feed.Receipt) {
	if len(r.Waiting) > 0 {
		c.unconfirmed.Inc()
	}
	last := r.Committed
	for _, at := range r.Confirmed {
		if at.After(last) {
			last = at
		}
	}
	if len(r.Confirmed) > 0 {
		c.kills.Observe(last.Sub(r.Committed).Seconds())
	}
}

// recordIssued is Store.Record for the issuer, counted.
func (p *Plane) recordIssued(ctx context.Context, events []ledger.Event) error {
	err := p.Store.Record(ctx, events)
	for _, e := range events {
		p.issued(e, err)
	}
	return err
}

// recordStatus is Store.RecordStatus for the issuer, counted.
func (p *Plane) recordStatus(ctx context.Context, e ledger.Event, s store.Status) error {
	err := p.Store.RecordStatus(ctx, e, s)
	p.issued(e, err)
	return err
}

func (p *Plane) issued(e ledger.Event, err error) {
	if e.Type != "token.issue" {
		return
	}
	outcome := e.Outcome
	if err != nil {
		outcome = ledger.Failed
	}
	p.counters.tokens.WithLabelValues(string(outcome)).Inc()
}

// metrics registers what who runs this wants to see.
func (p *Plane) metrics() error {
	c := &p.counters
	c.tokens = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lanyard_tokens_total", Help: "Requests for tokens, by outcome."}, []string{"outcome"})
	for _, o := range []ledger.Outcome{ledger.Allowed, ledger.Refused, ledger.Failed} {
		c.tokens.WithLabelValues(string(o))
	}
	c.kills = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "lanyard_kill_seconds", Help: "Time from the commit of a kill until the last gateway that confirmed it did.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)})
	c.unconfirmed = prometheus.NewCounter(prometheus.CounterOpts{Name: "lanyard_kills_unconfirmed_total", Help: "Kills that some gateway had not confirmed when they were answered."})
	look := &counted{of: p.Store, now: p.Now}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	flag := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	for _, m := range []prometheus.Collector{c.tokens, c.kills, c.unconfirmed,
		gauge("lanyard_ledger_events", "Events in the ledger.", func() float64 { return float64(p.Store.Size()) }),
		gauge("lanyard_feed_sequence", "Number of the last change.", func() float64 { return float64(p.Store.Head().Seq) }),
		gauge("lanyard_ready", "1 when tokens are given out and changes are taken.", func() float64 { return flag(p.Ready() == nil) }),
		gauge("lanyard_approvals_waiting", "Questions to people that wait for an answer.", func() float64 { return float64(look.at().Waiting) }),
		gauge("lanyard_tasks_open", "Tasks that are open.", func() float64 { return float64(look.at().Tasks) }),
		gauge("lanyard_notes_waiting", "What people are still to be told, over all doors.", func() float64 { return float64(look.at().Notes) }),
		gauge("lanyard_signals_waiting", "What receivers are still to be told of what ended, over all receivers.", func() float64 { return float64(look.at().Signals) }),
		gauge("lanyard_seal_secrets_waiting", "Secrets still sealed with an older data key.", func() float64 { return float64(look.at().Sealed) }),
		gauge("lanyard_seal_data_keys", "Data keys that secrets may be sealed with; more than one during a rotation.", func() float64 { return float64(p.Store.Seal.Info().Keys) }),
		gauge("lanyard_seal_usable", "1 when the key-encryption key opened the data keys within the last minute or so; at 0 the next start will fail.", func() float64 { return flag(*p.sealed.why.Load() == "") }),
		gauge("lanyard_gateways", "Gateways that are known, heard of within a day or so.", func() float64 { n, _ := p.acks.behind(p.Store.Head(), p.Clock()); return float64(n) }),
		gauge("lanyard_feed_behind_changes", "Changes that the slowest gateway has not confirmed.", func() float64 { _, most := p.acks.behind(p.Store.Head(), p.Clock()); return float64(most) }),
		gauge("lanyard_disk_free_bytes", "Space left for the data folder.", func() float64 { free, _ := p.Store.Space(); return float64(free) }),
		gauge("lanyard_disk_size_bytes", "Size of the disk of the data folder.", func() float64 { _, size := p.Store.Space(); return float64(size) }),
		gauge("lanyard_draining", "1 from the signal to stop on.", func() float64 { return flag(p.draining.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lanyard_build_info", Help: "1, with the version.", ConstLabels: prometheus.Labels{"version": p.Version}}, func() float64 { return 1 }),
	} {
		if err := p.Metrics.Register(m); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// behind is how many gateways there are, and how many changes the slowest has not confirmed.
func (a *acks) behind(head feed.Cursor, now feed.Instant) (gateways int, most uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, k := range a.of {
		if strings.HasSuffix(name, evicted) || k.row.none {
			continue
		}
		gateways++
		most = max(most, a.lag(k, head, now))
	}
	return gateways, most
}

// lag is how many changes a gateway has not confirmed: where it follows another epoch, all that there are; where another node hears it, none, as
// far as is known.
func (a *acks) lag(k *ack, head feed.Cursor, now feed.Instant) uint64 {
	switch {
	case a.nodes.shared && left(k.row.right, now) <= 0 && surely(k.row.stopped(k.lease), now) > 0:
		return 0
	case k.cursor.Epoch != head.Epoch:
		return head.Seq
	}
	return head.Seq - min(k.cursor.Seq, head.Seq)
}

// counted is what the store counts, looked up once for all that are asked at one time.
type counted struct {
	of  *store.DB
	now func() time.Time

	mu   sync.Mutex
	when time.Time
	last store.Counts
}

func (c *counted) at() store.Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.when).Abs() >= 2*time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var got store.Counts
		if c.of.Read(ctx, func(tx *store.Tx) (err error) { got, err = tx.Counts(); return err }) == nil {
			c.last = got
		}
		c.when = now
	}
	return c.last
}
