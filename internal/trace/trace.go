// Package trace tells a collector how long each part of a request took.
//
// A [Span] is one part, in OpenTelemetry's terms; an [Exporter] sends spans over
// OTLP/HTTP in its JSON encoding. It never makes a request wait: what a
// collector does not take in time is dropped and counted. Nothing is sent that
// is not put into a span here: no header, no body, no query, no token.
package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The kinds of span (OTLP, Span.SpanKind).
const (
	Internal = 1
	Server   = 2
	Client   = 3
)

// Span is one part of a request.
type Span struct {
	Trace      string // 32 hexadecimal digits
	ID, Parent string // 16; Parent may be empty
	Name       string
	Kind       int
	Start, End time.Time
	Attributes []Attribute
	Failed     string // why, when it did
}

// Attribute is a name and a text or a number.
type Attribute struct {
	Name string
	Text string
	Int  int64
	Num  bool // Int counts
}

// Text is an attribute with a text.
func Text(name, value string) Attribute { return Attribute{Name: name, Text: value} }

// Int is an attribute with a number.
func Int(name string, value int64) Attribute { return Attribute{Name: name, Int: value, Num: true} }

// MarshalJSON writes it as OTLP's KeyValue.
func (a Attribute) MarshalJSON() ([]byte, error) {
	value := map[string]string{"stringValue": a.Text}
	if a.Num {
		value = map[string]string{"intValue": strconv.FormatInt(a.Int, 10)}
	}
	return json.Marshal(map[string]any{"key": a.Name, "value": value})
}

const (
	held   = 8192 // spans that wait
	batch  = 512
	gather = time.Second
)

// Exporter sends spans to a collector.
type Exporter struct {
	url      string
	resource []Attribute
	log      *slog.Logger
	client   *http.Client
	sent     atomic.Int64
	dropped  atomic.Int64

	mu     sync.Mutex
	spans  []Span
	wake   chan struct{}
	ended  chan struct{}
	stop   context.CancelFunc
	quiet  bool // the last attempt failed and was told
	closed bool
}

// New makes an exporter to a collector's address, http://127.0.0.1:4318, which resource describes this process to.
func New(endpoint string, log *slog.Logger, resource ...Attribute) (*Exporter, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%q is no address of a collector, as http://127.0.0.1:4318 is", endpoint)
	}
	if !strings.HasSuffix(u.Path, "/v1/traces") {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/v1/traces"
	}
	e := &Exporter{url: u.String(), resource: resource, log: log, client: &http.Client{Timeout: 10 * time.Second}, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	go e.run(ctx)
	return e, nil
}

// Add takes spans to be sent. It does not wait and may drop them.
func (e *Exporter) Add(spans ...Span) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || len(e.spans)+len(spans) > held {
		e.dropped.Add(int64(len(spans)))
		return
	}
	e.spans = append(e.spans, spans...)
	if len(e.spans) >= batch {
		e.ring()
	}
}

func (e *Exporter) ring() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Sent and dropped: how many spans a collector took, and how many were not sent.
func (e *Exporter) Counts() (sent, dropped int64) { return e.sent.Load(), e.dropped.Load() }

// Close sends what is held, for as long as ctx lasts, and drops the rest.
func (e *Exporter) Close(ctx context.Context) {
	e.mu.Lock()
	e.closed = true
	e.ring()
	e.mu.Unlock()
	defer e.stop()
	defer context.AfterFunc(ctx, e.stop)()
	<-e.ended
}

func (e *Exporter) run(ctx context.Context) {
	defer close(e.ended)
	t := time.NewTicker(gather)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-e.wake:
		}
		e.mu.Lock()
		last := e.closed
		e.mu.Unlock()
		e.flush(ctx)
		if last {
			return
		}
	}
}

// flush sends all there is. Once ctx has ended, nothing is sent any more, and it is dropped.
func (e *Exporter) flush(ctx context.Context) {
	for {
		e.mu.Lock()
		n := min(len(e.spans), batch)
		spans := append([]Span(nil), e.spans[:n]...)
		e.spans = append(e.spans[:0], e.spans[n:]...)
		e.mu.Unlock()
		if n == 0 {
			return
		}
		if err := e.send(ctx, spans); err != nil {
			e.dropped.Add(int64(n))
			if !e.quiet {
				e.log.Warn("the collector of traces does not take them; requests go on without", "error", err)
			}
			e.quiet = true
			continue
		}
		e.quiet = false
		e.sent.Add(int64(n))
	}
}

func (e *Exporter) send(ctx context.Context, spans []Span) error {
	body, err := Encode(spans, e.resource)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	if res.StatusCode != http.StatusOK {
		return errors.New("it answered " + res.Status)
	}
	return nil
}

// Encode is an ExportTraceServiceRequest in the JSON encoding of OTLP: numbers of 64 bits are texts, ids hexadecimal.
func Encode(spans []Span, resource []Attribute) ([]byte, error) {
	type status struct {
		Code    int    `json:"code,omitempty"`
		Message string `json:"message,omitempty"`
	}
	type span struct {
		Trace      string      `json:"traceId"`
		ID         string      `json:"spanId"`
		Parent     string      `json:"parentSpanId,omitempty"`
		Name       string      `json:"name"`
		Kind       int         `json:"kind"`
		Start      string      `json:"startTimeUnixNano"`
		End        string      `json:"endTimeUnixNano"`
		Attributes []Attribute `json:"attributes,omitempty"`
		Status     status      `json:"status"`
	}
	list := make([]span, len(spans))
	for i, s := range spans {
		list[i] = span{s.Trace, s.ID, s.Parent, s.Name, s.Kind, strconv.FormatInt(s.Start.UnixNano(), 10), strconv.FormatInt(s.End.UnixNano(), 10), s.Attributes, status{}}
		if s.Failed != "" {
			list[i].Status = status{2, s.Failed}
		}
	}
	return json.Marshal(map[string]any{"resourceSpans": []any{map[string]any{
		"resource":   map[string]any{"attributes": resource},
		"scopeSpans": []any{map[string]any{"scope": map[string]string{"name": "lanyard"}, "spans": list}},
	}}})
}
