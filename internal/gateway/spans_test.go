package gateway

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/lanyard-dev/lanyard/internal/trace"
)

// span is one as a collector reads it.
type span struct {
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int
	Start                               string `json:"startTimeUnixNano"`
	End                                 string `json:"endTimeUnixNano"`
	Attributes                          []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
	Status struct{ Code int }
}

func (s span) attribute(name string) string {
	for _, a := range s.Attributes {
		if a.Key == name {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

// TestSpans: a collector sees each step of a request in the caller's trace, the upstream is a child of ours, and nothing secret is told.
func TestSpans(t *testing.T) {
	var mu sync.Mutex
	var all []span
	var bodies strings.Builder
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var in struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []span } }
		}
		if err := json.Unmarshal(b, &in); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		bodies.Write(b)
		all = append(all, in.ResourceSpans[0].ScopeSpans[0].Spans...)
	}))
	defer collector.Close()
	e, err := trace.New(collector.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]bool{}
	w := newWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		sent[r.Header.Get("Traceparent")] = true
	}), func(c *Config) { c.Trace = e })
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	raw := w.mint(w.claims("bot"))
	r := w.request("GET", "/mail/m/1?q=canary-query", raw, nil)
	r.Header.Set("Traceparent", "00-"+id+"-"+parent+"-01")
	if res, body := w.do(r); res.StatusCode != 200 {
		t.Fatal(res.StatusCode, body)
	}
	r = w.request("GET", "/mail/m/2", raw, nil)
	r.Header.Set("Traceparent", "00-"+strings.Repeat("1", 32)+"-"+parent+"-00") // its caller does not sample it
	w.do(r)
	w.do(w.request("GET", "/mail/unknown", raw, nil))
	w.do(w.request("GET", "/mail/m/3", "canary-token", nil))
	e.Close(context.Background())
	byTrace := map[string][]span{}
	for _, s := range all {
		byTrace[s.TraceID] = append(byTrace[s.TraceID], s)
	}
	if len(byTrace) != 3 || len(byTrace[strings.Repeat("1", 32)]) != 0 {
		t.Errorf("%d traces", len(byTrace))
	}
	var names []string
	for i, s := range byTrace[id] {
		names = append(names, s.Name)
		switch {
		case i == 0 && (s.ParentSpanID != parent || s.Kind != trace.Server || s.attribute("lanyard.identity") != "spiffe://lanyard.local/agent/bot" || s.attribute("http.response.status_code") != "200" || s.attribute("lanyard.upstream") != "mail"):
			t.Errorf("%+v", s)
		case i > 0 && (s.ParentSpanID != byTrace[id][0].SpanID || s.Start > s.End || s.Start < byTrace[id][i-1].Start):
			t.Errorf("%+v", s)
		case s.Name == "forward" && (s.Kind != trace.Client || !sent["00-"+id+"-"+s.SpanID+"-01"]):
			t.Errorf("the upstream was told %v, this is %s", sent, s.SpanID)
		}
	}
	if got := strings.Join(names, " "); got != "things.read clean authenticate recognise decide inject forward" {
		t.Error(got)
	}
	for trace, list := range byTrace {
		if trace == id {
			continue
		}
		last, kind := list[len(list)-1].Name, list[0].attribute("error.type")
		if !(last == "recognise" && kind == "unrecognised" || last == "authenticate" && kind == "unauthorized") || list[0].Status.Code != 0 {
			t.Errorf("it ended at %s with %s: %+v", last, kind, list[0])
		}
	}
	for _, secret := range []string{"canary", raw, canary} {
		if i := strings.Index(bodies.String(), secret); i >= 0 {
			t.Errorf("%q was told", secret)
		}
	}
}
