package trace

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func one() Span {
	at := time.Unix(1700000000, 5)
	return Span{Trace: strings.Repeat("a", 32), ID: strings.Repeat("b", 16), Name: "decide", Kind: Internal, Start: at, End: at.Add(time.Millisecond), Attributes: []Attribute{Text("x", "y"), Int("n", 7)}, Failed: "why"}
}

// TestEncode: the JSON encoding of OTLP, whose integers of 64 bits are texts.
func TestEncode(t *testing.T) {
	b, err := Encode([]Span{one()}, []Attribute{Text("service.name", "lanyard")})
	const want = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"lanyard"}}]},"scopeSpans":[{"scope":{"name":"lanyard"},"spans":[` +
		`{"traceId":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","spanId":"bbbbbbbbbbbbbbbb","name":"decide","kind":1,"startTimeUnixNano":"1700000000000000005","endTimeUnixNano":"1700000000001000005",` +
		`"attributes":[{"key":"x","value":{"stringValue":"y"}},{"key":"n","value":{"intValue":"7"}}],"status":{"code":2,"message":"why"}}]}]}]}`
	if err != nil || string(b) != want {
		t.Errorf("%v\n%s\n%s", err, b, want)
	}
}

// TestExport: spans arrive; a collector that hangs makes nobody wait, and what it does not take is counted.
func TestExport(t *testing.T) {
	var got atomic.Int64
	hang := make(chan struct{})
	var hung atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hung.Load() {
			<-hang
			w.WriteHeader(503)
			return
		}
		var in struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []any } }
		}
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" || json.Unmarshal(b, &in) != nil {
			t.Errorf("%s %s", r.URL, b)
		}
		got.Add(int64(len(in.ResourceSpans[0].ScopeSpans[0].Spans)))
	}))
	defer s.Close()
	e, err := New(s.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * batch {
		e.Add(one())
	}
	end := time.Now().Add(20 * time.Second)
	for sent, _ := e.Counts(); sent < 3*batch; sent, _ = e.Counts() {
		if time.Now().After(end) {
			t.Fatalf("only %d were sent", sent)
		}
		time.Sleep(5 * time.Millisecond)
	}
	hung.Store(true)
	for range 2 * held {
		e.Add(one())
	}
	if _, dropped := e.Counts(); dropped == 0 {
		t.Error("nothing was dropped")
	}
	close(hang)
	e.Close(context.Background())
	sent, dropped := e.Counts()
	if sent+dropped != 3*batch+2*held || got.Load() != 3*batch {
		t.Errorf("%d sent, %d dropped, %d arrived", sent, dropped, got.Load())
	}
	e.Add(one())
	for _, bad := range []string{"", "collector:4318", "ftp://x", "http://u:p@x", "http://x?y"} {
		if _, err := New(bad, nil); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
}

// TestClose: what is held when it ends is sent for as long as there is time, one batch after the other; what was on its way
// is not given up, and what there was no time for is counted.
func TestClose(t *testing.T) {
	for name, c := range map[string]struct {
		time time.Duration
		all  bool
	}{"time for all": {time.Minute, true}, "for some": {250 * time.Millisecond, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := make(chan struct{}, 16)
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				began <- struct{}{}
				time.Sleep(100 * time.Millisecond)
			}))
			defer s.Close()
			e, err := New(s.URL, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			for range 6 * batch {
				e.Add(one())
			}
			<-began
			ctx, cancel := context.WithTimeout(t.Context(), c.time)
			defer cancel()
			e.Close(ctx)
			sent, dropped := e.Counts()
			if sent+dropped != 6*batch || sent < batch || (dropped == 0) != c.all {
				t.Errorf("%d sent, %d dropped", sent, dropped)
			}
			e.Close(ctx)
		})
	}
}
